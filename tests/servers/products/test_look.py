"""One look at all servers, as commands take it, and what a process with a monitor says instead."""

import math

import pytest
from django.db import connections

from django_rwrouter import process, routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor import lifecycle, server_states
from django_rwrouter.operations import overrides
from django_rwrouter.operations.status import overview
from django_rwrouter.servers.server_state import Condition
from tests.app.models import Book
from tests.servers.products.conftest import lead_to
from tests.servers.products.settings import ALIASES
from tests.servers.products.test_monitor import lag, state, until
from tests.servers.products.test_monitor import seen as seen_by_the_monitor


@pytest.fixture
def seen(cluster):
    """Look, as ``rwrouter status`` does."""
    return lambda timeout=2.0: server_states(get_topology().clusters["default"], timeout)


def test_servers_that_are_well(cluster, seen):
    now = seen()
    assert {alias: (each.role, each.failure) for alias, each in now.items()} == {
        "default": ("primary", ""),
        "replica1": ("replica", ""),
        "replica2": ("replica", ""),
    }
    assert all(each.position for each in now.values())
    assert all(0 < now[alias].lag < 5 for alias in ("replica1", "replica2"))
    assert now["default"].lag is None


def test_a_replica_that_stands_still(cluster, seen):
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="new")
    cluster.wait(cluster.replicas[1])
    now = seen()
    assert now["replica1"].lag is None
    assert now["replica1"].lag_at_least >= 0.9
    assert now["replica2"].lag < 5


def test_a_replica_that_is_gone(cluster, seen):
    cluster.replicas[0].kill()
    now = seen()
    assert now["replica1"].failure.startswith("OperationalError")
    assert str(cluster.replicas[0].port) not in now["replica1"].failure
    assert now["replica2"].failure == ""


def test_a_replica_that_takes_writes(cluster, seen):
    lead_to("replica1", cluster.primary)
    connections.close_all()
    now = seen()
    assert now["replica1"].role == "primary"


def test_a_process_with_a_monitor_asks_nobody_again(cluster, rwrouter, monkeypatch):
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    rwrouter(MONITOR={"INTERVAL": 0.2})
    with routing_scope():
        pass
    until(
        lambda: all(math.isfinite(lag(alias)) and seen_by_the_monitor(alias).position for alias in ALIASES),
        10,
        "it is not known where all servers stand",
    )
    monkeypatch.setattr("django_rwrouter.monitor.server_states", None)
    try:
        overrides.drain("replica2", "a new disk")
        # A round that was under way may have found the row missing.
        until(lambda: state("replica2") is Condition.DRAINED, 10, "not drained")
        [now] = overview().clusters
    finally:
        overrides.undrain("replica2")
        process.reset()
    assert [server.state.condition for server in now.servers] == [
        Condition.HEALTHY,
        Condition.HEALTHY,
        Condition.DRAINED,
    ]
    assert [server.state.role for server in now.servers] == ["primary", "replica", "replica"]
    assert all(server.state.position for server in now.servers)
    assert all(server.state.lag < 5 for server in now.replicas)
