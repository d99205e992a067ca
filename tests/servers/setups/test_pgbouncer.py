"""PgBouncer, with each pool_mode: each server has an entry, or all aliases share that of the primary."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.db import OperationalError, connections

from django_rwrouter import Reason, current_token, process, routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor import lifecycle
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.servers.health import health
from launcher.poolers import HAProxy, PgBouncer
from launcher.ports import LOOPBACK
from tests.app.models import Book
from tests.patience import until
from tests.servers.products.conftest import lead_to
from tests.servers.products.settings import ALIASES, REPLICAS
from tests.servers.setups.conftest import ROUNDS, stale_reads, started

MODES = ["session", "transaction", "statement"]
MONITOR = {"INTERVAL": 0.2, "TIMEOUT": 1.0}
QUERY_TIMEOUT = 5
"""Seconds, the writes' as well, which a busy machine may keep waiting."""
PATIENCE = 20.0
"""Seconds; whoever waits for longer waits for ever."""


@contextmanager
def pgbouncer(servers, entries, **settings):
    """Start a PgBouncer in front of servers, and let each alias lead to the entry of one of them."""
    with started(PgBouncer(servers, **settings)) as pooler:
        for alias, server in zip(ALIASES, entries, strict=False):
            lead_to(alias, pooler)
            connections.settings[alias]["NAME"] = server.name
        try:
            yield pooler
        finally:
            connections.close_all()


@contextmanager
def watched(rwrouter, **changes):
    rwrouter(MONITOR=MONITOR, **changes)
    lifecycle._monitor.in_tests = True
    try:
        with routing_scope():
            pass
        until(lambda: health.watched)
        yield
    finally:
        lifecycle._monitor.in_tests = False
        process.reset()


def reads_on(routed):
    return [decision.alias for decision in routed if decision.operation == "read"]


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "not read-only"])
@pytest.mark.parametrize("level", ["causal", "strong"])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_stale_with_one_replica_late(cluster, rwrouter, routed, mode, level, read_only):
    rwrouter(CONSISTENCY=level, READ_ONLY_SESSIONS=read_only, WAIT_TIMEOUT=0.05)
    with pgbouncer(cluster.servers, cluster.servers, pool_mode=mode):
        cluster.pause(cluster.replicas[0])
        assert stale_reads() == 0
        assert "replica2" in reads_on(routed)
        rwrouter(CONSISTENCY="eventual")
        assert stale_reads() >= ROUNDS / 4


@pytest.mark.parametrize("mode", MODES)
def test_replicas_that_are_level_answer_all_reads(cluster, rwrouter, routed, mode):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=10.0)
    with pgbouncer(cluster.servers, cluster.servers, pool_mode=mode):
        assert stale_reads() == 0
        assert set(reads_on(routed)) == set(REPLICAS)
        until(lambda: not wrong())


def wrong():
    """What the doctor finds; on a busy machine a replica is behind for longer than it waits."""
    findings = examine(get_topology().clusters["default"], timeout=5.0)
    return [finding for finding in findings if finding.severity in ("error", "warning")]


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "not read-only"])
@pytest.mark.parametrize("mode", MODES)
def test_aliases_that_share_the_primarys_entry(cluster, rwrouter, monkeypatch, mode, read_only):
    """Whoever writes next may be handed the session of what is called a replica."""
    rwrouter(READ_ONLY_SESSIONS=read_only)
    for alias in REPLICAS:  # A test's mirror is known by that.
        monkeypatch.setitem(connections.settings[alias]["TEST"], "MIRROR", None)
    with pgbouncer(cluster.servers, [cluster.primary] * 3, pool_mode=mode):
        for kept in (True, False):
            assert stale_reads(30, kept=kept) == 0
            for alias in ALIASES:
                Book.objects.using(alias).create(title=alias)
            connections.close_all()
        for alias in ALIASES:  # Each is handed a session that was used before.
            with connections[alias].cursor() as cursor:
                cursor.execute("SHOW default_transaction_read_only")
                assert cursor.fetchone() == ("off",)


@pytest.mark.parametrize("level", ["causal", "strong"])
def test_an_entry_for_several_servers_with_session_pooling(cluster, rwrouter, routed, level):
    """Two connections of a client may lead to two servers, and each stays where it is."""
    rwrouter(CONSISTENCY=level, REPLICAS=["replica1"], WAIT_TIMEOUT=0.05)
    with started(HAProxy(cluster.replicas)) as haproxy:
        account = cluster.primary.account
        several = SimpleNamespace(name="several", host=LOOPBACK, port=haproxy.port, account=account)
        with pgbouncer([cluster.primary, several], [cluster.primary, several], pool_mode="session"):
            cluster.pause(cluster.replicas[0])
            with Clients() as clients:
                until(lambda: clients.reads >= 2 * ROUNDS)
    assert (clients.stale, clients.errors) == (0, [])
    assert "replica1" in reads_on(routed)


class Clients:
    """Some clients, each of which writes, and reads what it wrote, again and again."""

    def __init__(self):
        self.errors = []
        self.stale = self.reads = 0
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(4)
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error):
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    @property
    def hang(self):
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, number):
        rounds = 0
        while not self._end.is_set():
            rounds += 1
            title = f"client {number}, book {rounds}"
            try:
                with routing_scope():
                    Book.objects.create(title=title)
                    token = current_token()
                with routing_scope(safe=True, token=token):
                    self.stale += not Book.objects.filter(title=title).exists()
            except Exception as error:  # noqa: BLE001  (whatever it is, a user would have met it)
                self.errors.append(error)
            self.reads += 1
            time.sleep(0.005)
        connections.close_all()


@pytest.mark.parametrize("fault", ["kill", "freeze"])
@pytest.mark.parametrize("mode", MODES)
def test_no_read_fails_or_is_stale_with_one_replica_gone(cluster, rwrouter, routed, mode, fault):
    settings = {"pool_mode": mode, "query_timeout": str(QUERY_TIMEOUT)}
    with (
        pgbouncer(cluster.servers, cluster.servers, **settings),
        watched(rwrouter, CONSISTENCY="causal"),
        Clients() as clients,
    ):
        until(lambda: set(reads_on(routed)) == set(REPLICAS))
        getattr(cluster.replicas[0], fault)()
        until(lambda: health.is_ejected("replica1"))
        before = len(routed), clients.reads
        until(lambda: clients.reads >= before[1] + ROUNDS)
        after = reads_on(routed[before[0] :])
    assert not clients.hang
    assert (clients.stale, clients.errors) == (0, [])
    assert "replica2" in after


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "not read-only"])
def test_what_the_router_asks_a_frozen_replica_is_ended(cluster, rwrouter, routed, read_only):
    """PgBouncer takes connections for a frozen server, and holds the statements."""
    with (
        pgbouncer(cluster.servers, cluster.servers, pool_mode="transaction"),
        watched(rwrouter, CONSISTENCY="causal", READ_ONLY_SESSIONS=read_only),
    ):
        stale_reads(4)  # PgBouncer has connections to both.
        connections.close_all()
        cluster.replicas[0].freeze()
        stale = []

        def read():
            stale.append(stale_reads(4))
            # The primary answers where the replica has not replayed the write yet.
            while reads_on(routed)[-1] != "replica2":
                stale.append(stale_reads(1))
            connections.close_all()

        client = threading.Thread(target=read, daemon=True)
        client.start()
        client.join(PATIENCE)
        assert not client.is_alive()
        assert not any(stale)


def test_query_timeout_ends_a_read_on_a_frozen_replica(cluster, rwrouter, routed):
    rwrouter(CONSISTENCY="eventual", REPLICAS=["replica1"])
    settings = {"pool_mode": "transaction", "query_timeout": str(QUERY_TIMEOUT)}
    with pgbouncer(cluster.servers, cluster.servers, **settings), routing_scope(safe=True):
        assert not Book.objects.exists()
        cluster.replicas[0].freeze()
        assert not Book.objects.exists()
    assert [(decision.alias, decision.reason) for decision in routed][-1] == ("default", Reason.FAILOVER)


def test_options_of_a_session(cluster):
    """Those that a client sends are refused or dropped; those of the role or of an entry are in force."""
    options = {"options": "-c statement_timeout=5000"}

    def statement_timeouts(sent=(), **settings):
        with pgbouncer(cluster.servers, cluster.servers, pool_mode="transaction", **settings):
            timeouts = set()
            for alias in ALIASES:
                connections.settings[alias]["OPTIONS"].update(sent)
                with connections[alias].cursor() as cursor:
                    cursor.execute("SHOW statement_timeout")
                    timeouts.update(cursor.fetchone())
            return timeouts

    try:
        with pytest.raises(OperationalError, match="unsupported startup parameter: options"):
            statement_timeouts(options)
        assert statement_timeouts(options, ignore_startup_parameters="options") == {"0"}
    finally:
        for alias in ALIASES:
            connections.settings[alias]["OPTIONS"].pop("options", None)
    assert statement_timeouts(entry="connect_query='SET statement_timeout = 4000'") == {"4s"}
    role = f"ALTER ROLE {cluster.primary.account.user}"
    cluster.primary.sql(f"{role} SET statement_timeout = '5s'")
    try:
        cluster.wait_all()
        assert statement_timeouts() == {"5s"}
    finally:
        cluster.primary.sql(f"{role} RESET statement_timeout")
