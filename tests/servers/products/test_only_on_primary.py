"""Reads that fail on a replica only because it is one, or is late: the primary runs them."""

import pytest
from django.db import connection, connections
from django.db.utils import ProgrammingError

from django_rwrouter import Reason, read_connection, routing_scope, use_replica
from django_rwrouter.servers.breaker import health
from tests.app.models import Book
from tests.servers.product import on
from tests.servers.products.settings import REPLICAS
from tests.servers.products.test_lost_reads import places


def read(sql):
    """Read as a request that does not mind late replicas."""
    with routing_scope(safe=True), use_replica(), read_connection().cursor() as cursor:
        assert cursor.db.alias in REPLICAS
        cursor.execute(sql)
        return list(cursor.fetchall())


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def table(cluster, routed):
    """A new table that no replica has replayed."""
    for server in cluster.replicas:
        cluster.pause(server)
    run("CREATE TABLE app_fresh (id integer)", "INSERT INTO app_fresh VALUES (3)")
    routed.clear()
    yield cluster
    run("DROP TABLE app_fresh")


def test_a_table_that_is_not_there_yet(table, routed):
    assert read("SELECT id FROM app_fresh") == [(3,)]
    assert places(routed) == [("default", Reason.ONLY_ON_PRIMARY)]
    assert not any(map(health.is_ejected, REPLICAS))


def test_a_column_that_is_not_there_yet(table, routed):
    for server in table.replicas:
        table.resume(server)
    table.wait_all()
    for server in table.replicas:
        table.pause(server)
    run("ALTER TABLE app_fresh ADD COLUMN pages integer NOT NULL DEFAULT 7")
    assert read("SELECT pages FROM app_fresh") == [(7,)]


def test_a_mistake_is_the_primarys_error(cluster, routed):
    with pytest.raises(ProgrammingError):
        read("SELECT id FROM app_nothing")
    assert not places(routed)
    assert not any(map(health.is_ejected, REPLICAS))


@pytest.mark.parametrize("product", on("postgresql"), indirect=True)
def test_an_unlogged_table(cluster, routed):
    run("CREATE UNLOGGED TABLE app_scratch (id integer)", "INSERT INTO app_scratch VALUES (4)")
    try:
        cluster.wait_all()
        assert read("SELECT id FROM app_scratch") == [(4,)]
    finally:
        run("DROP TABLE app_scratch")


@pytest.mark.parametrize("product", on("postgresql"), indirect=True)
def test_serializable_sessions(cluster, routed, monkeypatch):
    for alias in REPLICAS:
        connections[alias].close()
        options = connections[alias].settings_dict["OPTIONS"]
        monkeypatch.setitem(options, "options", "-c default_transaction_isolation=serializable")
    with routing_scope(safe=True):
        assert Book.objects.count() == 1
    assert places(routed) == [("default", Reason.ONLY_ON_PRIMARY)]
    assert not any(map(health.is_ejected, REPLICAS))
    for alias in REPLICAS:
        connections[alias].close()
