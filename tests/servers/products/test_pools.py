"""Replicas' connections from a pool in the process: it may be full, or have none to give."""

import threading
import time
from contextlib import contextmanager

import pytest
from django.db import OperationalError, connections

from django_rwrouter import Reason, current_token, monitor, process, routing_scope, use_replica
from django_rwrouter.monitor import lifecycle
from django_rwrouter.monitor.rounds import cut_off
from django_rwrouter.routing import decide
from django_rwrouter.routing.opening import Opening, open_replica
from django_rwrouter.servers import pools
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import registered
from tests.app.models import Book
from tests.busy_clock import busy_clock
from tests.servers.product import on
from tests.servers.products.settings import REPLICAS

pytestmark = pytest.mark.parametrize("product", on("postgresql"), indirect=True)
POOL = {"min_size": 0, "max_size": 1, "timeout": 30, "reconnect_timeout": 60}
"""As Django's users get it, but small: the pool waits for half a minute."""
PATIENCE = 1.0
"""What a connection of a replica is waited for (the monitor's TIMEOUT)."""


@pytest.fixture
def pooled(cluster, monkeypatch, rwrouter):
    """Replicas with a pool of one connection each; no monitor looks after them."""
    pytest.importorskip("psycopg_pool")
    connections.close_all()
    for alias in REPLICAS:
        options = {**connections.settings[alias]["OPTIONS"], "pool": POOL}
        monkeypatch.setitem(connections.settings[alias], "OPTIONS", options)
        monkeypatch.setitem(connections.settings[alias], "CONN_HEALTH_CHECKS", True)
    rwrouter(MONITOR={"MODE": "off", "TIMEOUT": PATIENCE}, CONSISTENCY="eventual")
    yield cluster
    for alias in REPLICAS:
        connections[alias].close()
        connections[alias].close_pool()


@contextmanager
def all_in_use(*aliases):
    """Let another thread hold all connections of the pools."""
    taken, done = threading.Event(), threading.Event()

    def hold():
        for alias in aliases:
            connections[alias].ensure_connection()
        taken.set()
        done.wait(60)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()


def titles():
    return list(Book.objects.values_list("title", flat=True))


def test_a_full_pool_is_passed_over_for_the_other_replica(pooled, routed):
    with all_in_use("replica1"):
        for _ in range(10):
            with routing_scope(safe=True):
                assert titles() == ["old"]
            connections.close_all()
        assert {decision.alias for decision in routed} == {"replica2"}
        assert not health.unusable()
    assert health.begin_trial("replica1")


@pytest.fixture
def waits(monkeypatch):
    """For how many seconds a read was ready to wait for a pool, each time, with the alias."""
    waits = []
    getconn = pools._Bounded.getconn

    def noted(pool):
        waits.append((pool._alias, pool._seconds))
        return getconn(pool)

    monkeypatch.setattr(pools._Bounded, "getconn", noted)
    return waits


def test_with_all_pools_full_the_primary_answers(pooled, routed, waits, monkeypatch):
    monkeypatch.setattr(pools, "REST", 600.0)
    with all_in_use(*REPLICAS):
        for _ in range(10):
            with routing_scope(safe=True):
                assert titles() == ["old"]
        assert not health.unusable()
    assert {(decision.alias, decision.reason) for decision in routed} == {("default", Reason.NO_REPLICA)}
    # One has waited for each pool; the others knew.
    assert sorted(wait for wait in waits if wait[1] != pools.GLANCE) == [
        (alias, PATIENCE) for alias in REPLICAS
    ]


def test_what_is_handed_back_is_used_again(pooled, routed):
    with all_in_use(*REPLICAS), routing_scope(safe=True):
        titles()
    for _ in range(10):
        with routing_scope(safe=True):
            titles()
        connections.close_all()
    assert {decision.alias for decision in routed[1:]} <= set(REPLICAS)


def test_others_wait_for_a_pool_as_long_as_it_says(pooled, monkeypatch):
    monkeypatch.setitem(POOL, "timeout", 2 * PATIENCE)
    with all_in_use("replica1"):
        with use_replica(), routing_scope(safe=True):
            titles()
        connections["replica1"].close()
        began = time.monotonic()
        with pytest.raises(OperationalError, match="after 2"):
            connections["replica1"].ensure_connection()
        assert time.monotonic() - began >= 2 * PATIENCE


@pytest.mark.parametrize("way", ["kill", "freeze"])
def test_a_dead_server_is_left_alone_though_its_pool_has_no_connection_to_give(
    pooled, rwrouter, routed, waits, way
):
    """Without a monitor, which would see it."""
    rwrouter(BALANCER="round_robin")
    getattr(pooled.replicas[0], way)()
    try:
        for _ in range(10):
            with routing_scope(safe=True):
                assert titles() == ["old"]
            connections.close_all()
        assert health.is_ejected("replica1")
    finally:
        if way == "freeze":
            pooled.replicas[0].thaw()
    assert [wait for wait in waits if wait[0] == "replica1"] == [("replica1", PATIENCE)]
    assert {decision.alias for decision in routed} == {"replica2"}


# --- what a pool holds of a server that froze ----------------------------------------------------


@pytest.fixture
def filled(pooled, monkeypatch):
    """Pools with three idle connections each."""
    monkeypatch.setitem(POOL, "min_size", 3)
    monkeypatch.setitem(POOL, "max_size", 3)
    for alias in REPLICAS:
        connections[alias].ensure_connection()
        connections[alias].close()
        connections[alias].pool.wait(10)
    return pooled


def in_thread(act):
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def read_from_replica1():
    """Read in a scope whose first draw is replica1."""
    try:
        with routing_scope(safe=True):
            assert titles() == ["old"]
    finally:
        connections.close_all()


def test_who_hangs_in_the_check_of_a_pool_is_freed(filled, rwrouter, routed):
    rwrouter(BALANCER="round_robin")
    filled.replicas[0].freeze()
    readers = [in_thread(read_from_replica1) for _ in range(4)]
    try:
        time.sleep(0.3)
        assert any(reader.is_alive() for reader in readers), "Nobody drew the frozen replica."
        until = time.monotonic() + 20
        while any(reader.is_alive() for reader in readers):
            assert time.monotonic() < until, "A reader hangs."
            cut_off("replica1")  # As the monitor does in each round.
            time.sleep(0.2)
    finally:
        filled.replicas[0].thaw()
        for reader in readers:
            reader.join(30)
    assert len(routed) == 4
    assert health.is_ejected("replica1")


def test_a_statement_that_does_not_hang_goes_on(filled):
    with routing_scope(safe=True):
        connection = connections["replica1"]
        assert open_replica(connection) is Opening.OPENED
        with connection.cursor() as cursor, registered(connection):
            cut_off("replica1", hung_for=60)
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def test_a_pool_that_waits_before_it_connects_again_is_replaced(filled):
    """Psycopg's doubles its pause with each attempt in vain: the server would be back for long."""
    connection = connections["replica1"]
    pool = connection.pool
    filled.replicas[0].kill()
    with pytest.raises(OperationalError):
        pools.connect(connection, PATIENCE)
    cut_off("replica1")
    filled.replicas[0].start()
    connection.ensure_connection()
    assert connection.pool is not pool
    with pytest.raises(Exception, match="closed"):
        pool.getconn(timeout=PATIENCE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


# --- asked, and not used -------------------------------------------------------------------------


@pytest.fixture
def opened_beside(monkeypatch):
    """By replica that a read opens, the pooled connections that it holds at that moment."""
    held = []

    def open_watched(connection):
        held.append(
            (connection.alias, [other for other in REPLICAS if connections[other].connection is not None])
        )
        return open_replica(connection)

    monkeypatch.setattr(decide, "open_replica", open_watched)
    return held


def test_a_replica_that_was_asked_in_vain_is_handed_back_before_the_next_is_asked(
    pooled, rwrouter, routed, opened_beside
):
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01)
    for replica in pooled.replicas:
        pooled.pause(replica)
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    with routing_scope(safe=True, token=token):
        assert sorted(titles()) == ["new", "old"]
        assert [alias for alias in REPLICAS if connections[alias].connection is not None] == []
    assert routed[-1].alias == "default"
    # Each was asked, and one of them waited for.
    assert {alias for alias, _held in opened_beside} == set(REPLICAS)
    assert len(opened_beside) == 3
    assert [held for _alias, held in opened_beside] == [[], [], []]


def test_requests_that_ask_late_replicas_do_not_wait_for_each_other(pooled, rwrouter, routed):
    patience = 25.0
    rwrouter(CONSISTENCY="causal", WAIT_TIMEOUT=0.01, MONITOR={"MODE": "off", "TIMEOUT": patience})
    for replica in pooled.replicas:
        pooled.pause(replica)
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()

    def visit():
        try:
            for _ in range(5):
                with routing_scope(safe=True, token=token):
                    assert sorted(titles()) == ["new", "old"]
                connections.close_all()
        finally:
            connections.close_all()

    began = busy_clock()
    visitors = [in_thread(visit) for _ in range(12)]
    for visitor in visitors:
        visitor.join(250)
    assert busy_clock() - began < patience
    assert not health.unusable()


def test_a_replica_that_answers_is_not_handed_back(pooled, rwrouter, routed):
    rwrouter(CONSISTENCY="causal")
    with routing_scope():
        Book.objects.create(title="new")
        token = current_token()
    pooled.wait_all()
    with routing_scope(safe=True, token=token):
        titles()
        raw = connections[routed[-1].alias].connection
        titles()
        assert connections[routed[-1].alias].connection is raw is not None


# --- with a monitor ------------------------------------------------------------------------------


@pytest.fixture
def watched(filled, rwrouter):
    """A monitor looks after the servers."""
    rwrouter(MONITOR={"MODE": "thread", "INTERVAL": PATIENCE, "TIMEOUT": PATIENCE}, BALANCER="round_robin")
    lifecycle._monitor.in_tests = True
    began = time.time()
    with routing_scope():
        pass
    deadline = time.monotonic() + 10
    while any(alias not in monitor.snapshot() or monitor.snapshot()[alias].at < began for alias in REPLICAS):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield filled
    lifecycle._monitor.in_tests = False
    process.reset()


def test_a_frozen_replica_holds_no_read_for_long(watched):
    seconds = []

    def read_for_a_while():
        until = busy_clock() + 4
        while busy_clock() < until:
            began = busy_clock()
            read_from_replica1()
            seconds.append(busy_clock() - began)

    watched.replicas[0].freeze()
    try:
        readers = [in_thread(read_for_a_while) for _ in range(4)]
        for reader in readers:
            reader.join(60)
    finally:
        watched.replicas[0].thaw()
    # Two rounds and two timeouts until nobody reaches it, and then at most the wait for the pool.
    assert max(seconds) < 2 * PATIENCE + 2 * PATIENCE + PATIENCE + 2
    assert len(seconds) > 8
