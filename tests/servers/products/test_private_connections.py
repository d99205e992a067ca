"""A private connection is made by the driver, whatever pool sits on the alias. No server is asked."""

import pytest
from django.db import connections
from django.db.backends.mysql.base import DatabaseWrapper as MySQL
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from django_rwrouter.databases.private_connections import own_connection

OPTIONS = {"pool": {"max_size": 4}, "MAX_CONNS": 4, "REUSE_CONNS": 2, "application_name": "site"}


class Pooled:
    """A backend that keeps one pool for an alias, as ``dj_db_conn_pool`` and ``django_db_geventpool`` do."""

    pools = {}

    def get_new_connection(self, conn_params):
        return self.pools.setdefault(self.alias, super().get_new_connection(conn_params))

    def get_connection_params(self):
        return {**super().get_connection_params(), "password": "of this hour"}

    def close(self):
        self.connection = None


class PooledMySQL(Pooled, MySQL):
    pass


class PooledPostgreSQL(Pooled, PostgreSQL):
    pass


class PooledSQLite(Pooled, SQLite):
    def get_connection_params(self):
        return {"database": ":memory:", "uri": True}


@pytest.fixture
def made_of(monkeypatch):
    def make(backend, **options):
        settings = {**connections.settings["default"], "NAME": "site", "OPTIONS": options, "CONN_MAX_AGE": 60}
        monkeypatch.setattr(connections, "create_connection", lambda alias: backend(settings, alias))
        return settings

    return make


def test_a_pool_is_neither_asked_nor_filled(made_of):
    made_of(PooledSQLite)
    connection = own_connection("default", 1)
    raw = connection.get_new_connection(connection.get_connection_params())
    assert Pooled.pools == {}
    connection.connection = raw
    connection._close()
    with pytest.raises(Exception, match="closed"):
        raw.execute("SELECT 1")


@pytest.mark.parametrize("backend", [PooledMySQL, PooledPostgreSQL])
def test_the_outer_backend_still_says_what_to_connect_with(made_of, backend):
    made_of(backend)
    connection = own_connection("default", 1)
    assert type(connection) in (MySQL, PostgreSQL)
    assert connection.get_connection_params()["password"] == "of this hour"


@pytest.mark.parametrize(
    ("backend", "bounded"),
    [
        (MySQL, {"connect_timeout", "read_timeout", "write_timeout"}),
        (PostgreSQL, {"connect_timeout"}),
        (SQLite, set()),
    ],
)
def test_what_the_driver_can_bound_is_bounded(made_of, backend, bounded):
    settings = made_of(backend, **OPTIONS)
    connection = own_connection("default", 1.2)
    options = dict(connection.settings_dict["OPTIONS"])
    assert options.pop("application_name") == "site"
    assert options == dict.fromkeys(bounded, 2)
    assert settings["OPTIONS"] == OPTIONS, "the site's own settings were changed"
    assert own_connection("default").settings_dict["OPTIONS"] == {"application_name": "site"}
