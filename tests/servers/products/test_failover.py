"""Another server becomes the primary: its numbers say nothing about the old history, nor the reverse."""

import pytest
from django.db import connections
from django.test import Client

from django_rwrouter import Reason
from tests.app.models import Book
from tests.busy_clock import busy_clock
from tests.servers.products.conftest import attach, lead_to
from tests.servers.products.test_levels import read_until, reasons

PATIENCE = 8
"""Seconds that a request may take while servers are away: one timeout of a connection, and a margin."""


def shown(client, **post):
    began = busy_clock()
    response = client.post("/plain/", post) if post else client.get("/plain/")
    assert busy_clock() - began < PATIENCE
    assert response.status_code == 200
    return response.content.decode().split(",")


@pytest.fixture
def lost(fresh, rwrouter):
    """A writer whose newest write is lost, as no replica received it before another primary was made.

    The first replica has become the primary, and the second follows it. Yields cluster and writer.
    """
    writer = Client()
    assert shown(writer, title="kept") == ["old", "kept"]
    fresh.wait_all()
    for replica in fresh.replicas:
        fresh.disconnect(replica)
    for number in range(5):
        shown(Client(), title=f"lost{number}")
    assert shown(writer, title="lost")[-1] == "lost"
    fresh.primary.kill()
    promote(fresh)
    rwrouter(REPLICAS=["replica2"])
    return fresh, writer


def promote(cluster):
    """Make the first replica the primary. The application reaches it under the old name."""
    follower = cluster.replicas[1]
    cluster.promote(cluster.replicas[0])
    cluster.follow(follower, cluster.primary)
    attach(cluster, ["default", "replica2"])


def fill(cluster):
    """Let the new history overtake the old one in numbers."""
    Book.objects.bulk_create([Book(title="filling" * 10) for _ in range(200)])
    for _ in range(60):
        Book.objects.create(title="more")
    cluster.wait_all()


def test_the_old_tokens_are_never_satisfied_by_new_numbers(lost, routed, clock):
    cluster, writer = lost
    fill(cluster)
    routed.clear()
    assert "lost" not in shown(writer)
    assert reasons(routed) == {("default", Reason.BEHIND)}
    # When the window has closed it says nothing more, and pins nobody.
    clock(6)

    def read():
        routed.clear()
        assert "kept" in shown(writer)
        return reasons(routed)

    read_until(read, {("replica2", Reason.WINDOW)})


def test_whoever_writes_in_the_new_history_sees_it(lost, routed, clock):
    """However far ahead the lost position was in numbers."""
    cluster, writer = lost
    cluster.pause(cluster.replicas[0])
    assert shown(writer, title="new")[-1] == "new"
    for seconds in (0, 6, 60):
        clock(seconds)
        routed.clear()
        assert shown(writer)[-1] == "new"
        # What is left of the lost position is its time, which pins like any other.
        assert reasons(routed) == {("default", Reason.BEHIND if seconds else Reason.PINNED)}
    cluster.resume(cluster.replicas[0])
    cluster.wait_all()
    routed.clear()
    assert shown(writer)[-1] == "new"
    assert reasons(routed) == {("replica2", Reason.CAUSAL)}


def test_what_survived_is_seen(fresh, rwrouter, routed):
    """A failover without loss: the position is one of both histories' past, or it binds to the primary."""
    writer = Client()
    shown(writer, title="new")
    fresh.wait_all()
    fresh.primary.kill()
    promote(fresh)
    rwrouter(REPLICAS=["replica2"])
    for _ in range(5):
        assert shown(writer) == ["old", "new"]
    fill(fresh)
    for _ in range(5):
        assert shown(writer)[:2] == ["old", "new"]


def test_a_former_primary_that_lives_on_satisfies_nobody(fresh, rwrouter, routed, clock):
    """It is a name among the replicas, ahead in numbers, and not what the application writes to."""
    former = fresh.primary
    for replica in fresh.replicas:
        fresh.disconnect(replica)
    for _ in range(100):
        Book.objects.create(title="lost" * 10)
    promote(fresh)
    lead_to("replica1", former)
    writer = Client()
    assert shown(writer, title="new") == ["old", "new"]
    fresh.wait_all()
    for seconds in (0, 6):
        clock(seconds)
        for _ in range(10):
            assert shown(writer) == ["old", "new"]
    assert not {decision for decision in routed if decision.alias == "replica1"}


def test_strong_follows_the_new_primary(lost, rwrouter, routed):
    cluster, _writer = lost
    rwrouter(CONSISTENCY="strong")
    cluster.pause(cluster.replicas[0])
    shown(Client(), title="new")
    for _ in range(5):
        assert shown(Client())[-1] == "new"
    cluster.resume(cluster.replicas[0])
    cluster.wait_all()

    def read():
        routed.clear()
        assert shown(Client())[-1] == "new"
        return reasons(routed)

    read_until(read, {("replica2", Reason.STRONG)})


def test_back_and_forth(lost, rwrouter, routed, clock):
    """The first primary comes back, and is the primary again: a third history."""
    cluster, writer = lost
    shown(writer, title="second")
    former = cluster.former[0]
    cluster.rejoin(former)
    cluster.wait_all()
    cluster.primary.kill()
    follower = next(replica for replica in cluster.replicas if replica is not former)
    cluster.promote(former)
    cluster.follow(follower, former)
    attach(cluster, ["default", "replica2"])
    assert "second" in shown(writer)
    cluster.pause(follower)
    assert shown(writer, title="third")[-1] == "third"
    for seconds in (0, 6):
        clock(seconds)
        for _ in range(3):
            assert shown(writer)[-1] == "third"


def test_while_the_primary_is_away_reads_of_others_go_on(cluster, routed):
    writer = Client()
    shown(writer, title="new")
    cluster.wait_all()
    assert shown(writer)[-1] == "new"
    connections["default"].close()
    cluster.primary.kill()
    routed.clear()
    for _ in range(5):
        assert shown(Client()) == ["old", "new"]
        assert shown(writer) == ["old", "new"]
    assert {decision.alias for decision in routed} <= {"replica1", "replica2"}
