"""Whether a table of this package has been made; tests/sqlite asks databases that lack one."""

from types import SimpleNamespace

import pytest
from django.db import OperationalError, ProgrammingError

from django_rwrouter.stats.table import RoutingStatistics


class Connection(SimpleNamespace):
    """A connection to MySQL, to which nothing can be said but which tables there are."""

    def cursor(self):
        self.asked = True
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass


@pytest.mark.parametrize(
    ("error", "tables", "is_missing"),
    [
        pytest.param(ProgrammingError(1146, "no such table"), [], True, id="missing"),
        pytest.param(
            ProgrammingError(1146, "no such table"), [RoutingStatistics._meta.db_table], False, id="another"
        ),
    ],
)
def test_it_is_missing_if_the_database_does_not_list_it(error, tables, is_missing):
    connection = Connection(vendor="mysql", introspection=SimpleNamespace(table_names=lambda _cursor: tables))
    assert RoutingStatistics.objects.is_missing(error, connection) is is_missing


def test_a_server_that_failed_is_not_asked_a_second_time():
    connection = Connection(vendor="mysql", asked=False)
    assert not RoutingStatistics.objects.is_missing(OperationalError(2013, "lost"), connection)
    assert not connection.asked
