"""A replica that cannot be reached costs nobody an error, and little time."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import MySQLdb
import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, connections
from django.test import Client

from django_rwrouter import NoReplicaAvailable, Reason, consistency, routing_scope, stats, use_replica
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.stats.table import RoutingStatistics
from tests.app.models import Book
from tests.busy_clock import busy_clock
from tests.servers.mariadb import settings as ours

PATIENCE = ours.TIMEOUT + 2.0
"""Seconds in which a request must be answered that meets a server which says nothing: the timeout of one
connection attempt, and what a busy machine adds."""


@pytest.fixture
def book(cluster, administration):
    """One book, everywhere."""
    Book.objects.create(title="old")
    administration.level()
    connections.close_all()


@pytest.fixture
def persistent(monkeypatch):
    """Connections that are kept for the next request, and pinged then."""
    for alias in ours.ALIASES:
        monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", None)
        monkeypatch.setitem(connections.settings[alias], "CONN_HEALTH_CHECKS", True)


def visit(path="/orm/"):
    """A request by somebody who has not written; returns how long it took."""
    close_old_connections()  # What Django does between requests, though not for its test client.
    started = busy_clock()
    assert Client().get(path).content == b"old"
    return busy_clock() - started


def used(routed, path="/orm/"):
    """The databases that are used for visits: 40, so that any of two will be drawn."""
    routed.clear()
    for _ in range(40):
        visit(path)
    return {decision.alias for decision in routed}


# --- one replica --------------------------------------------------------------------------------


@pytest.mark.parametrize("opened_before", [False, True], ids=["new", "persistent"])
@pytest.mark.parametrize("path", ["/orm/", "/async-orm/"], ids=["sync", "async"])
def test_a_dead_replica_is_passed_over_and_used_again(
    cluster, replica, book, persistent, routed, health_clock, opened_before, path
):
    if opened_before:
        assert used(routed, path) == {"replica1", "replica2"}
    replica.kill()
    assert used(routed, path) == {"replica2"}
    assert {decision.reason for decision in routed} == {Reason.WINDOW}
    assert passed_over() == {"replica1": 1}
    # It comes back, and is still left alone for a while.
    replica.start()
    cluster.wait(replica)
    assert used(routed, path) == {"replica2"}
    health_clock.advance(2 * POLICY.longest_pause)
    assert used(routed, path) == {"replica1", "replica2"}


def passed_over():
    """How often the statistics say that each replica was."""
    stats.flush()
    found = Counter()
    for counts in RoutingStatistics.objects.values_list("data", flat=True):
        for name, subject, count in counts["events"]:
            if name == "replica_ejected":
                found[subject] += count
    return found


@pytest.mark.parametrize("opened_before", [False, True], ids=["new", "persistent"])
def test_a_frozen_replica_costs_one_request_its_timeout(
    cluster, replica, book, persistent, routed, health_clock, opened_before
):
    if opened_before:
        assert used(routed) == {"replica1", "replica2"}
    routed.clear()
    replica.freeze()
    times = sorted(visit() for _ in range(40))
    assert {decision.alias for decision in routed} == {"replica2"}
    # A ping of an open connection waits for read_timeout, the attempt to open another for connect_timeout.
    assert times[-1] < PATIENCE + (ours.TIMEOUT if opened_before else 0)
    assert times[-2] < ours.TIMEOUT
    # Its pause over, one request tries it again, and no other.
    health_clock.advance(2 * POLICY.longest_pause)
    times = sorted(visit() for _ in range(40))
    assert times[-1] < PATIENCE
    assert times[-2] < ours.TIMEOUT
    replica.thaw()
    cluster.wait(replica)
    health_clock.advance(2 * POLICY.longest_pause)
    assert used(routed) == {"replica1", "replica2"}


def test_a_frozen_replica_holds_up_one_of_many_threads(cluster, replica, book, routed, health_clock):
    """While one thread tries the replica whose pause is over, the others leave it alone."""
    replica.kill()
    used(routed)
    replica.start()
    replica.freeze()
    health_clock.advance(2 * POLICY.longest_pause)

    def visitor(_number):
        try:
            return max(visit() for _ in range(20))
        finally:
            connections.close_all()

    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        times = sorted(pool.map(visitor, range(4)))
    assert time.monotonic() - began >= ours.TIMEOUT - 0.5
    assert times[-2] < ours.TIMEOUT - 0.5


# --- replicas that answer, and refuse -----------------------------------------------------------


def take_all(taken, address):
    while True:
        taken.enter_context(closing(MySQLdb.connect(**address)))


@contextmanager
def no_connection_left(replica, monkeypatch):
    """All connections of the server are taken: error 1040."""
    replica.sql("SET GLOBAL max_connections = 10")  # The least that MariaDB takes.
    address = {"host": "127.0.0.1", "port": replica.port, "user": ours.USER, "password": ours.PASSWORD}
    with ExitStack() as taken:
        try:
            with pytest.raises(MySQLdb.OperationalError, match="1040"):
                take_all(taken, address)
            yield
        finally:
            # For administrators, there is always one more.
            replica.sql("SET GLOBAL max_connections = DEFAULT")


@contextmanager
def wrong_password(replica, monkeypatch):
    """Error 1045."""
    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["replica1"], "PASSWORD", "wrong")
        yield


@contextmanager
def no_such_database(replica, monkeypatch):
    """Error 1044: nothing is granted on it."""
    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["replica1"], "NAME", "elsewhere")
        yield


@contextmanager
def unknown_host(replica, monkeypatch):
    """Error 2005. The name is one that must never exist (RFC 6761)."""
    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["replica1"], "HOST", "replica.invalid")
        yield


@pytest.mark.parametrize("trouble", [no_connection_left, wrong_password, no_such_database, unknown_host])
def test_a_replica_that_refuses_connections_is_passed_over(
    cluster, replica, book, routed, health_clock, monkeypatch, caplog, trouble
):
    with trouble(replica, monkeypatch):
        assert used(routed) == {"replica2"}
    assert passed_over() == {"replica1": 1}
    [record] = caplog.records
    assert "'replica1' is ejected: OperationalError" in record.getMessage()
    for private in [ours.USER, "127.0.0.1", str(replica.port)]:
        assert private not in record.getMessage()
    health_clock.advance(2 * POLICY.longest_pause)
    assert used(routed) == {"replica1", "replica2"}


# --- all of them --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["window", "eventual"])
@pytest.mark.parametrize("opened_before", [False, True], ids=["new", "persistent"])
def test_with_all_replicas_dead_the_primary_answers(
    cluster, book, persistent, routed, rwrouter, health_clock, opened_before, level
):
    rwrouter(CONSISTENCY=level)
    if opened_before:
        assert used(routed) == {"replica1", "replica2"}
    routed.clear()
    for server in cluster.replicas:
        server.kill()
    for _ in range(5):
        visit()
    assert {(decision.alias, decision.reason) for decision in routed} == {("default", Reason.NO_REPLICA)}
    # That pins nobody, and writing goes on.
    writer = Client()
    assert "rwrouter" not in writer.cookies
    assert writer.post("/orm/", {"title": "new"}).content == b"old,new"
    assert writer.get("/orm/").content == b"old,new"
    for server in cluster.replicas:
        server.start()
    cluster.wait_all()
    health_clock.advance(2 * POLICY.longest_pause)
    routed.clear()
    assert Client().get("/orm/").content == b"old,new"
    assert routed[-1].alias in ours.REPLICAS


def test_strict_blocks_say_so(cluster, book):
    for server in cluster.replicas:
        server.kill()
    with routing_scope(safe=True):
        with use_replica(strict=True), pytest.raises(NoReplicaAvailable):
            Book.objects.get()
        with consistency("eventual", strict=True), pytest.raises(NoReplicaAvailable):
            Book.objects.get()
        with use_replica():
            assert Book.objects.get().title == "old"


def test_logging_in_works_with_all_replicas_dead(cluster):
    User.objects.create_superuser("ines", password="secret")
    for server in cluster.replicas:
        server.kill()
    visitor = Client()
    visitor.post("/admin/login/", {"username": "ines", "password": "secret"})
    assert visitor.get("/admin/").status_code == 200


def test_without_the_primary_replicas_still_answer(cluster, book, routed):
    """Who has not written does not need it. There is no promise beyond that, and none to open it."""
    connections["default"].close()
    cluster.primary.kill()
    for _ in range(5):
        visit()
    assert {decision.alias for decision in routed} <= set(ours.REPLICAS)
