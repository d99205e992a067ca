"""The one table: written with upserts, on the primary, unseen by everybody else."""

import time

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, models, transaction
from django.test.utils import CaptureQueriesContext

from django_rwrouter import stats
from django_rwrouter.signals import statement_routed
from django_rwrouter.stats import backends, recorder
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.table import PRUNE_AT_ONCE, RoutingStatistics
from tests.app.models import Author

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

DAY = 86_400


def row(start=1_000_000_020, hits=1, process="a" * 32):
    return Row(
        process=process,
        resolution=60,
        start=start,
        data={"statements": [], "events": [("hit", "", hits)]},
    )


def merged(start):
    return row(start, process="")


def stored(alias="default"):
    table = RoutingStatistics.objects.using(alias).order_by("process", "start")
    return [
        (entry.process[:1], entry.start, {name: times for name, _, times in entry.data["events"]})
        for entry in table
    ]


@pytest.fixture(params=["upsert", "row by row"])
def table(request, databases, monkeypatch):
    """The table, on a database with and on one without an upsert (such as Oracle)."""
    if request.param == "row by row":
        monkeypatch.setattr(connection.features, "supports_update_conflicts", False)
    return RoutingStatistics.objects.on_primary()


def test_a_row_replaces_the_one_before(table):
    table.put([row(hits=1), row(start=1_000_000_080, hits=2)])
    table.put([row(hits=5)])
    assert stored() == [("a", 1_000_000_020, {"hit": 5}), ("a", 1_000_000_080, {"hit": 2})]


def test_processes_do_not_touch_each_others_rows(table):
    table.put([row(hits=1, process="a" * 32)])
    table.put([row(hits=2, process="b" * 32)])
    assert stored() == [("a", 1_000_000_020, {"hit": 1}), ("b", 1_000_000_020, {"hit": 2})]


def test_all_rows_are_written_with_one_statement(databases):
    with CaptureQueriesContext(connection) as queries:
        RoutingStatistics.objects.on_primary().put([row(start=60 * n) for n in range(120)])
    verbs = [query["sql"].split()[0] for query in queries]
    assert [verb for verb in verbs if verb not in {"BEGIN", "COMMIT"}] == ["INSERT"]
    assert len(stored()) == 120


def test_what_was_counted_is_in_the_table_after_a_flush(databases):
    stats.count_statement("default", "replica1", "read", "window", "", 0.0015)
    stats.count_statement("default", "replica1", "read", "window", "", 0.001)
    stats.count_event("pin_set")
    stats.flush()
    stats.flush()
    entry = RoutingStatistics.objects.using("default").get()
    assert entry.resolution == 60
    assert entry.start % 60 == 0
    assert abs(entry.start - time.time()) < 120
    assert entry.data == {
        "statements": [["default", "replica1", "read", "window", "", 2, 2500]],
        "events": [["pin_set", "", 1]],
        # Between 0.63 and 1 ms, and up to 1.6 ms.
        "latency": [["default", "replica1", "read", [0, 0, 0, 0, 0, 1, 1]]],
    }
    assert not entry.final
    assert abs(entry.written - time.time()) < 120


def test_only_the_primary_is_written_to(databases):
    stats.count_event("hit")
    stats.flush()
    assert len(stored()) == 1
    assert not stored("replica1")
    assert not stored("replica2")


def test_the_table_is_on_the_primary_of_the_cluster_that_takes_this_app(databases, settings):
    settings.RWROUTER = {
        "CLUSTERS": {
            "main": {"REPLICAS": ["replica1", "replica2"]},
            "apart": {"PRIMARY": "other", "MODELS": ["django_rwrouter"]},
        }
    }
    stats.count_event("hit")
    stats.flush()
    assert not stored("default")
    assert len(stored("other")) == 1


def test_without_a_cluster_that_takes_this_app_the_table_is_on_the_default_database(settings):
    settings.RWROUTER = {"CLUSTERS": {"apart": {"PRIMARY": "other", "MODELS": ["auth"]}}}
    assert RoutingStatistics.objects.on_primary().db == "default"


def test_a_flush_is_neither_routed_nor_counted_nor_seen(routed):
    seen = []
    statement_routed.connect(lambda **kwargs: seen.append(kwargs), weak=False, dispatch_uid="seen")
    stats.count_event("hit")
    with CaptureQueriesContext(connection) as queries:
        stats.flush()
    statement_routed.disconnect(dispatch_uid="seen")
    assert (routed, seen, list(queries)) == ([], [], [])
    assert recorder._counters.take() == []


def test_a_flush_leaves_the_threads_own_connection_alone(databases):
    transaction.set_autocommit(False)
    try:
        before = connections["default"]
        assert not Author.objects.using("default").exists()
        stats.count_event("hit")
        stats.flush()
        assert connections["default"] is before
        assert not before.get_autocommit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert len(stored()) == 1


def test_a_flush_opens_a_connection_and_closes_it(databases, monkeypatch):
    made = []
    create = connections.create_connection

    def create_connection(alias):
        made.append(create(alias))
        return made[-1]

    monkeypatch.setattr(connections, "create_connection", create_connection)
    stats.count_event("hit")
    stats.flush()
    assert [each.connection for each in made] == [None]
    assert len(stored()) == 1


def test_a_flush_inside_a_transaction_is_part_of_it(databases):
    """So a test that flushes leaves nothing behind, and sees what it wrote."""
    stats.count_event("hit")
    with transaction.atomic():
        stats.flush()
        assert len(stored()) == 1
        transaction.set_rollback(True)
    assert stored() == []


def test_an_error_of_the_database_keeps_the_counts(databases, monkeypatch, caplog):
    def put(self, rows):
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(type(RoutingStatistics.objects.all()), "put", put)
        stats.count_event("hit")
        stats.flush()
    assert "could not be written: DatabaseError." in caplog.text
    assert "migrate" not in caplog.text
    stats.flush()
    assert stored()[0][2] == {"hit": 1}


def test_merged_rows_beyond_retention_are_deleted_now_and_then(databases, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "STATS": {"RETENTION_DAYS": 2}}
    now = int(time.time()) // 3600 * 3600
    RoutingStatistics.objects.on_primary().put(
        [merged(now - 3 * DAY), merged(now - 2 * DAY - 60), merged(now - DAY)]
    )
    backend = backends.DatabaseBackend()
    backend.write("b" * 32, [row(start=now, process="b" * 32)])
    assert len(stored()) == 4
    backend._roll_up_at = time.monotonic()
    backend.write("b" * 32, [row(start=now, process="b" * 32, hits=2)])
    assert [start for _process, start, _events in stored() if start] == [now - DAY, now]


def test_many_old_rows_are_deleted_a_bounded_number_at_a_time(databases):
    table = RoutingStatistics.objects.on_primary()
    table.put([merged(60 * n) for n in range(PRUNE_AT_ONCE + 5)])
    with CaptureQueriesContext(connection) as queries:
        assert table.prune(60 * (PRUNE_AT_ONCE + 2)) == PRUNE_AT_ONCE + 2
    verbs = [query["sql"].split()[0] for query in queries]
    assert [verb for verb in verbs if verb in {"SELECT", "DELETE"}] == [
        *("SELECT", "DELETE"),
        *("SELECT", "DELETE"),
        "SELECT",
    ]
    assert len(stored()) == 3


def test_nothing_is_deleted_that_is_not_old_or_not_merged(databases):
    table = RoutingStatistics.objects.on_primary()
    table.put([merged(1_000_000_020), row(start=60)])
    with CaptureQueriesContext(connection) as queries:
        assert table.prune(1_000_000_020) == 0
    assert len(queries) == 1


def test_the_migration_is_complete(databases):
    call_command("makemigrations", "django_rwrouter", check=True, dry_run=True, verbosity=0)


def test_the_primary_key_is_large_whatever_the_project_says():
    assert isinstance(RoutingStatistics._meta.pk, models.BigAutoField)
    assert "id" in vars(RoutingStatistics)
