"""pgpool-II as the primary: what it does with load balancing, its default, and without."""

from contextlib import contextmanager

import pytest
from django.core.checks import run_checks
from django.db import connections

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examination import examine
from launcher.poolers import PgPool
from tests.servers.products.conftest import lead_to
from tests.servers.products.settings import REPLICAS
from tests.servers.setups.conftest import ROUNDS, stale_reads, started


@contextmanager
def pgpool(servers, **settings):
    """Start a pgpool-II in front of servers, and let the primary's alias lead to it."""
    with started(PgPool(servers, **settings)) as pooler:
        lead_to("default", pooler)
        try:
            yield
        finally:
            connections.close_all()


def pooler_findings():
    """Return what the doctor says of poolers."""
    findings = examine(get_topology().clusters["default"], timeout=5.0)
    return {
        (finding.alias, finding.severity.value, finding.message)
        for finding in findings
        if finding.topic == "pooler"
    }


def test_load_balancing_is_found(cluster, rwrouter, monkeypatch):
    """All reads of the primary's alias go to a standby, as a weight of 0 for the primary has it."""
    rwrouter(CONSISTENCY="causal")
    with pgpool(cluster.servers[:2], backend_weight0="0"):
        cluster.pause(cluster.replicas[0])
        cluster.pause(cluster.replicas[1])
        assert stale_reads() == ROUNDS
        [(alias, severity, message)] = pooler_findings()
        assert (alias, severity) == ("default", "error")
        assert "load_balance_mode is on" in message
        monkeypatch.setattr("django_rwrouter.process.in_test_environment", lambda: False)
        [message] = [
            message
            for message in run_checks(tags=["django_rwrouter"], databases=["default"])
            if message.id == "django_rwrouter.E029"
        ]
        assert "DATABASES['default']" in message.msg
        assert "load_balance_mode = off" in message.hint


@pytest.mark.parametrize("level", ["causal", "strong"])
def test_without_load_balancing_nothing_is_stale(cluster, rwrouter, routed, level):
    rwrouter(CONSISTENCY=level, WAIT_TIMEOUT=0.05)
    with pgpool(cluster.servers[:2], load_balance_mode="off"):
        cluster.pause(cluster.replicas[0])
        assert stale_reads() == 0
        assert set(REPLICAS) & {decision.alias for decision in routed if decision.operation == "read"}
        assert pooler_findings() == set()


def test_in_front_of_the_primary_alone_no_replica_is_missed(cluster, rwrouter, routed):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.05)
    with pgpool(cluster.servers[:1], load_balance_mode="off"):
        assert stale_reads() == 0
        cluster.replicas[0].kill()
        assert stale_reads() == 0
        assert pooler_findings() == set()
