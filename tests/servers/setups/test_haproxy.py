"""HAProxy: one alias leads to two replicas, as a reader endpoint or a Kubernetes service does."""

import time

import pytest
from django.db import connections

from django_rwrouter import Reason, process, routing_scope
from django_rwrouter.monitor import lifecycle
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import server_of
from launcher.poolers import HAProxy
from tests.app.models import Book
from tests.servers.product import on
from tests.servers.products.conftest import attach, lead_to
from tests.servers.setups.conftest import ROUNDS, new_cluster, prepare, stale_reads, started


@pytest.fixture(scope="module", params=on("mariadb", "postgresql"))
def running(request, django_db_setup, django_db_blocker):
    with (
        new_cluster(request.param) as cluster,
        started(HAProxy(cluster.replicas)) as haproxy,
        django_db_blocker.unblock(),
    ):
        prepare(cluster)
        yield cluster, haproxy
        connections.close_all()


@pytest.fixture
def endpoint(running, django_db_blocker, rwrouter):
    """The cluster, healthy and level, its replicas behind one alias."""
    cluster, haproxy = running
    with django_db_blocker.unblock():
        attach(cluster)
        lead_to("replica1", haproxy)
        cluster.heal()
        Book.objects.all().delete()
        cluster.wait_all()
        process.reset()
        rwrouter(REPLICAS=["replica1"], MONITOR={"MODE": "off"})
        yield cluster
        connections.close_all()
        process.reset()


@pytest.mark.parametrize("level", ["causal", "strong"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept connections", "new connections"])
def test_nothing_is_stale_with_one_replica_late(endpoint, rwrouter, routed, level, kept):
    rwrouter(CONSISTENCY=level, WAIT_TIMEOUT=0.05)
    endpoint.pause(endpoint.replicas[0])
    # Each of two connections leads to another server.
    assert stale_reads(kept=kept) == 0
    connections["replica1"].close()
    assert stale_reads(kept=kept) == 0
    answered = [decision.alias for decision in routed if decision.operation == "read"]
    assert answered.count("replica1") >= ROUNDS / 2


def test_kept_connections_to_a_server_that_the_monitor_does_not_know_go_on_reading_there(
    endpoint, rwrouter, routed
):
    """Both servers are level, and the monitor's one connection leads to one of them."""
    rwrouter(CONSISTENCY="window", MAX_LAG=2.5, MONITOR={"INTERVAL": 0.2, "TIMEOUT": 1.0})
    lifecycle._monitor.in_tests = True
    try:
        read_for(5.0, lambda: health.watched and knowledge.last_server("replica1"))
        for _ in range(4):
            read_for(1.0)  # The monitor has made rounds since this connection was opened.
            if knowledge.last_server("replica1") != server_of(connections["replica1"]):
                break
            connections["replica1"].close()
        assert knowledge.last_server("replica1") != server_of(connections["replica1"])
        with routing_scope():
            Book.objects.create(title="new")  # Else what is known of the servers would hold on.
        endpoint.wait_all()
        before = len(routed)
        # Three times as long as what was learnt when it was opened is new enough.
        read_for(3 * 2.5)
    finally:
        lifecycle._monitor.in_tests = False
    reads = routed[before:]
    assert len(reads) >= 10
    assert {(decision.alias, decision.reason) for decision in reads} == {("replica1", Reason.WINDOW)}


def read():
    with routing_scope(safe=True):
        Book.objects.exists()


def read_for(seconds, condition=lambda: False):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        read()
        time.sleep(0.02)
