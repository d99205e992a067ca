"""Reads that fail on a replica only because it is one, or is late: the primary runs them."""

import pytest
from django.db import connection, connections
from django.db.utils import ProgrammingError

from django_rwrouter import Reason, read_connection, routing_scope, use_replica
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor import server_states
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.servers.health import health
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


@pytest.fixture(params=["OPTIONS", "the database"])
def serializable(request, cluster, monkeypatch):
    """Let sessions begin with an isolation level that no standby has."""
    setting = "default_transaction_isolation"
    if request.param == "OPTIONS":
        for alias in REPLICAS:
            options = connections[alias].settings_dict["OPTIONS"]
            monkeypatch.setitem(options, "options", f"-c {setting}=serializable")
    else:
        run(f"ALTER DATABASE {connection.settings_dict['NAME']} SET {setting} = 'serializable'")
        cluster.wait_all()
    connections.close_all()
    yield
    if request.param != "OPTIONS":
        run(f"ALTER DATABASE {connection.settings_dict['NAME']} RESET {setting}")
        cluster.wait_all()
    connections.close_all()


@pytest.mark.parametrize("product", on("postgresql"), indirect=True)
@pytest.mark.parametrize("read_only", [True, False])
def test_serializable_sessions(cluster, serializable, routed, settings, read_only):
    """A standby has its strongest level in their place, where the router may set anything in a session."""
    settings.RWROUTER = {**settings.RWROUTER, "READ_ONLY_SESSIONS": read_only}
    with routing_scope(safe=True):
        assert Book.objects.count() == 1
    (place,) = places(routed)
    assert (place[0] in REPLICAS) is read_only
    assert (place[1] is Reason.ONLY_ON_PRIMARY) is not read_only
    assert not any(map(health.is_ejected, REPLICAS))
    if read_only:
        topology = get_topology().clusters["default"]
        states = server_states(topology, 5.0)
        assert {(states[alias].role, states[alias].lag is None) for alias in REPLICAS} == {("replica", False)}
        assert "cannot be asked" not in str(examine(topology, 5.0))
