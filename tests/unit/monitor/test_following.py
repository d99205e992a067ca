"""What a process takes in of another one's snapshot."""

from time import monotonic

import pytest

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Reading
from django_rwrouter.databases.mariadb import MariaDBPosition
from django_rwrouter.monitor.probes import QUESTIONS, ProbeQuestion, ProbeResult
from django_rwrouter.monitor.snapshot import Snapshot
from django_rwrouter.monitor.watcher import Watcher
from django_rwrouter.servers import asking, in_flight
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health


@pytest.fixture
def follower(monkeypatch):
    monkeypatch.setattr(Watcher, "_run", lambda _self: None)
    for owner in (health, knowledge, in_flight):
        owner.reset()
    yield Watcher(get_topology(), get_settings().monitor)
    for owner in (health, knowledge, in_flight):
        owner.reset()


def measured(began, position="0-1-9", **more):
    reading = Reading("s1", MariaDBPosition.decode(position))
    return ProbeResult(alias="replica1", began=began, reading=reading, **more)


def failed(began):
    return ProbeResult(alias="replica1", began=began, failure="timeout")


def test_a_measurement_is_as_old_as_the_leader_says(follower):
    follower._take_in(Snapshot(findings=(measured(monotonic() - 30),)))
    assert knowledge.age("s1") >= 30


def test_a_later_measurement_of_ones_own_is_kept(follower):
    knowledge.learn_replica("replica1", "s1", MariaDBPosition.decode("0-1-3"), monotonic())
    follower._take_in(Snapshot(findings=(measured(monotonic() - 1),)))
    assert knowledge.position("s1") == MariaDBPosition.decode("0-1-3")


def test_where_one_stood_before_it_was_ejected_is_not_taken_in(follower):
    """By this process, which the leader does not know of, or by the leader."""
    asking.trip("replica1", "by a read")
    follower._take_in(Snapshot(findings=(measured(monotonic() - 1),)))
    assert knowledge.position("s1") is None


def test_where_an_ejected_one_stood_is_not_taken_in(follower):
    began = monotonic()
    follower._take_in(Snapshot(findings=(measured(began),), ejected={"replica1": "timeout"}))
    assert knowledge.position("s1") is None
    assert health.is_ejected("replica1")


@pytest.mark.parametrize("findings", [(), (failed(1.0),)], ids=["not asked", "failed"])
def test_a_leader_that_has_not_reached_a_replica_does_not_take_it_back(follower, findings):
    """A new one has not asked yet, and knows nothing of the ejection."""
    follower._take_in(Snapshot(ejected={"replica1": "timeout"}))
    for _ in range(2):
        follower._take_in(Snapshot(findings=findings))
        assert health.is_ejected("replica1")
    follower._take_in(Snapshot(findings=(measured(monotonic()),)))
    assert not health.is_ejected("replica1")


def test_what_was_drained_stays_so_until_a_new_leader_has_asked(follower, monkeypatch):
    answers = []
    question = ProbeQuestion(
        name="overrides",
        database=lambda: "default",
        ask=lambda _connection: None,
        take_in=lambda *answer: answers.append(answer),
    )
    monkeypatch.setattr("django_rwrouter.monitor.probes.QUESTIONS", [question])
    follower._take_in(Snapshot(answers={"overrides": (["drained"], 1.5)}))
    follower._take_in(Snapshot())
    assert answers == [(["drained"], 1.5)]
    assert "overrides" in {each.name for each in QUESTIONS}


def test_why_a_process_is_alone_is_said_once(follower, caplog):
    for _ in range(2):
        follower._be_alone("the cache is away")
    follower._be_alone("the disk is full")
    assert [record.args for record in caplog.records] == [("the cache is away",), ("the disk is full",)]
