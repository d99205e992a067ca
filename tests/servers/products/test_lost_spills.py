"""A read that is on the primary only because all replicas lag is not lost with the primary."""

import logging

import pytest
from django.db import OperationalError, connections
from django.test import Client

from django_rwrouter import Reason, read_connection, routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events import emit
from django_rwrouter.monitor.rounds import cut_off
from django_rwrouter.routing import pending_read
from django_rwrouter.servers import asking, spill_slots
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.testing import assert_no_stale_reads
from tests.app.models import Author, Book
from tests.servers.products.settings import REPLICAS
from tests.servers.products.test_lost_reads import (
    WAYS,
    disconnected,
    killed,
    meanwhile,
    places,
    restarted,
    server_of,
    slowly,
    titles,
)

# What the replicas have, and what the primary has.
PAST, NOW = ["old"], ["old", "new"]


@pytest.fixture
def lagging(cluster, rwrouter, routed, monkeypatch):
    """Replicas that lack the newest book, and nobody knows for how long they have."""
    monkeypatch.setattr(pending_read, "ASK_AGAIN_SECONDS", 600.0)
    monkeypatch.setattr(emit, "_logged", {})
    rwrouter(CONSISTENCY="window")
    for replica in cluster.replicas:
        cluster.pause(replica)
    Book.objects.create(title="new")
    knowledge.reset()
    routed.clear()
    with routing_scope(safe=True):
        assert titles() == NOW
        assert places(routed) == [("default", Reason.SPILLED)]
    routed.clear()
    yield cluster
    assert spill_slots.taken("default") == 0


@pytest.mark.parametrize("way", WAYS)
def test_the_connection_is_lost_between_two_reads(lagging, routed, caplog, way):
    way(server_of(lagging, "default"))
    caplog.clear()
    with routing_scope(safe=True), assert_no_stale_reads():
        assert titles() == PAST
    [(alias, reason)] = places(routed)
    assert (alias in REPLICAS, reason) == (True, Reason.FAILOVER)
    records = [record for record in caplog.records if record.name == "django_rwrouter"]
    assert [record.alias for record in records if "was run again on" in record.getMessage()] == ["default"]
    assert any(record.levelno == logging.ERROR and "lags least" in record.getMessage() for record in records)
    # Who comes next finds the primary, if it is there.
    routed.clear()
    with routing_scope(safe=True):
        assert titles() == (PAST if way is killed else NOW)
    [(alias, reason)] = places(routed)
    assert reason is (Reason.DEGRADED if way is killed else Reason.SPILLED)


@pytest.mark.parametrize("way", WAYS)
def test_it_is_lost_while_the_statement_runs(lagging, routed, way):
    found = server_of(lagging, "default")

    def strike():
        found.wait(lambda: found.sessions("sleep("))
        way(found)

    with routing_scope(safe=True), meanwhile(strike):
        assert slowly("default") == PAST
    [(alias, reason)] = places(routed)
    assert (alias in REPLICAS, reason) == (True, Reason.FAILOVER)


@pytest.mark.parametrize("pinged", [False, True], ids=["new", "CONN_HEALTH_CHECKS"])
def test_no_connection_to_the_primary_can_be_opened(lagging, routed, pinged):
    server_of(lagging, "default").server.kill()
    connection = connections["default"]
    if pinged:
        connection.health_check_enabled, connection.health_check_done = True, False
    else:
        connection.close()
    with routing_scope(safe=True):
        assert titles() == PAST
    [(alias, reason)] = places(routed)
    assert (alias in REPLICAS, reason) == (True, Reason.DEGRADED)
    # Where no monitor looks after it, others do not try it in vain.
    assert health.is_away("default")


def test_where_a_monitor_looks_after_the_primary_it_alone_takes_it_for_away(lagging, routed):
    health.watch(60.0)
    connections["default"].close()
    server_of(lagging, "default").server.kill()
    with routing_scope(safe=True):
        assert titles() == PAST
    assert not health.is_away("default")


@pytest.mark.parametrize("way", WAYS)
def test_a_question_of_the_routers_own_has_found_the_connection_lost(lagging, routed, way):
    """psycopg then gives no cursor any more, and nobody could catch that."""
    health.watch(60.0)
    way(server_of(lagging, "default"))
    cluster = get_topology().clusters["default"]
    assert asking.ask_primary(cluster, connections["default"]) is None
    with routing_scope(safe=True):
        assert titles() == (PAST if way is killed else NOW)


def test_objects_are_followed_where_they_were_read(lagging, routed):
    """Not on the primary, which the router chose, and where nothing was read."""
    author = Author.objects.create(name="Ines")
    Book.objects.update(author=author)
    for replica in lagging.replicas:
        lagging.resume(replica)
    lagging.wait_all()
    for replica in lagging.replicas:
        lagging.pause(replica)
    Book.objects.create(title="newer")
    knowledge.reset()
    with routing_scope(safe=True):
        assert titles() == [*NOW, "newer"]
    routed.clear()
    killed(server_of(lagging, "default"))
    with routing_scope(safe=True):
        [book, *_others] = Book.objects.order_by("pk")
        assert book.author.name == "Ines"
    assert [reason for _alias, reason in places(routed)] == [Reason.FAILOVER, Reason.DEGRADED]


def test_raw_sql(lagging, routed):
    with routing_scope(safe=True):
        cursor = read_connection().cursor()
        disconnected(server_of(lagging, "default"))
        cursor.execute("SELECT title FROM app_book ORDER BY id")
        assert [title for (title,) in cursor.fetchall()] == PAST
    [(_alias, reason)] = places(routed)
    assert reason is Reason.FAILOVER


def test_rows_that_are_fetched_bit_by_bit(lagging, routed):
    with routing_scope(safe=True):
        restarted(server_of(lagging, "default"))
        rows = Book.objects.order_by("pk").iterator(chunk_size=1)
        assert [book.title for book in rows] == PAST


def test_a_primary_that_freezes(lagging, routed):
    """The monitor ends what waits for it, where the site asks for that."""
    found = server_of(lagging, "default")
    found.server.freeze()

    def strike():
        found.wait(lambda: loads["default"].running)
        assert cut_off("default") == 1

    try:
        with routing_scope(safe=True), meanwhile(strike):
            assert titles() == PAST
    finally:
        found.server.thaw()
    [(_alias, reason)] = places(routed)
    assert reason is Reason.FAILOVER


def test_a_replica_is_lost_and_then_the_primary(lagging, routed):
    """The read comes from a replica that is fresh enough, and spills when it loses that."""
    fresh = lagging.replicas[0]
    lagging.resume(fresh)
    lagging.wait(fresh)
    knowledge.reset()
    with routing_scope(safe=True):
        assert titles() == NOW
        assert [alias for alias, _reason in places(routed)] == ["replica1"]
        routed.clear()
        killed(server_of(lagging, "replica1"))
        killed(server_of(lagging, "default"))
        assert titles() == PAST
    assert places(routed) == [("replica2", Reason.FAILOVER)]


def test_all_servers_are_lost(lagging, routed):
    for alias in ("default", *REPLICAS):
        killed(server_of(lagging, alias))
    with routing_scope(safe=True), pytest.raises(OperationalError):
        titles()
    assert not routed


def test_a_read_that_needs_the_primary_fails_with_it(lagging, routed):
    writer = Client()
    writer.post("/plain/", {"title": "newest"})
    killed(server_of(lagging, "default"))
    with pytest.raises(OperationalError):
        writer.get("/plain/")
    with pytest.raises(OperationalError), routing_scope(safe=False):
        titles()
