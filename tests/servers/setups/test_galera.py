"""A Galera cluster: one node is written to, the others are replicas, and one of these is late."""

import pytest
from django.db import connections

from django_rwrouter import routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.servers import asking, waiting
from django_rwrouter.servers.health import health
from launcher.galera import GaleraCluster
from tests.app.models import Book
from tests.servers.products.conftest import prepare
from tests.servers.products.settings import REPLICAS
from tests.servers.setups.conftest import ROUNDS, stale_reads, started


@pytest.fixture(scope="module")
def running(django_db_setup, django_db_blocker):
    with started(GaleraCluster(replicas=2)) as cluster, django_db_blocker.unblock():
        prepare(cluster)
        yield cluster
        connections.close_all()


def read_on(routed):
    return {decision.alias for decision in routed if decision.operation == "read"}


@pytest.mark.parametrize("level", ["causal", "strong"])
def test_nothing_is_stale_with_one_node_late_and_the_other_one_reads(cluster, rwrouter, routed, level):
    rwrouter(CONSISTENCY=level, WAIT_TIMEOUT=1.0)
    cluster.pause(cluster.replicas[0])
    assert stale_reads() == 0
    # Its name for itself is no proof.
    assert cluster.replicas[0].sql("SHOW STATUS LIKE 'wsrep_local_state_comment'")[0][1] == "Synced"
    answered = [decision.alias for decision in routed if decision.operation == "read"]
    assert answered.count("replica2") > ROUNDS / 2


def test_at_eventual_the_same_is_stale(cluster, rwrouter):
    rwrouter(CONSISTENCY="eventual")
    cluster.pause(cluster.replicas[0])
    assert stale_reads() >= ROUNDS / 4


@pytest.mark.parametrize("level", ["causal", "strong"])
def test_nodes_that_are_level_answer_all_reads(cluster, rwrouter, routed, monkeypatch, level):
    for alias in REPLICAS:  # No wait is longer than half of the driver's own.
        monkeypatch.setitem(connections.settings[alias]["OPTIONS"], "read_timeout", 20)
    rwrouter(CONSISTENCY=level, WAIT_TIMEOUT=10.0)
    assert stale_reads() == 0
    assert read_on(routed) == set(REPLICAS)


def test_a_node_that_is_not_synced_is_out_of_rotation(cluster, rwrouter, routed):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=1.0)
    cluster.desync(cluster.replicas[0])
    assert stale_reads() == 0
    assert health.is_ejected("replica1")
    assert read_on(routed) == {"replica2"}
    findings = {
        (finding.alias, finding.topic, finding.severity.value)
        for finding in examine(get_topology().clusters["default"], timeout=5.0)
        if finding.severity != "ok" and finding.topic == "replication"
    }
    assert findings == {("replica1", "replication", "error")}


def test_synchronous_replicas_wait_until_nodes_have_applied(cluster, rwrouter):
    """Certification, which a commit waits for, is not that."""
    rwrouter(SYNC_REPLICAS="all", SYNC_TIMEOUT=20)
    configured = get_topology().clusters["default"]
    with routing_scope():
        Book.objects.create(title="level")
        assert waiting.wait_for_all(configured, _position(configured))
    cluster.pause(cluster.replicas[0])
    rwrouter(SYNC_REPLICAS="all", SYNC_TIMEOUT=0.2)
    configured = get_topology().clusters["default"]
    with routing_scope():
        Book.objects.create(title="late")
        assert not waiting.wait_for_all(configured, _position(configured))


def _position(cluster):
    return asking.ask_primary(cluster, connections["default"])


@pytest.mark.parametrize("level", ["causal", "strong"])
def test_a_killed_node_makes_no_read_stale_and_none_fail(cluster, rwrouter, routed, monkeypatch, level):
    # Until the cluster has given the node up, no commit ends.
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "read_timeout", 60)
    connections.close_all()
    rwrouter(CONSISTENCY=level, WAIT_TIMEOUT=1.0)
    stale_reads(4)
    cluster.replicas[0].kill()
    assert stale_reads() == 0
    assert read_on(routed) <= {"replica1", "replica2"}
    cluster.replicas[0].start()
    cluster.wait_all()
    assert stale_reads(4) == 0
