"""What a process emits that follows another one, which probes the servers."""

from time import monotonic

import pytest

from django_rwrouter import stats
from django_rwrouter.events import emit
from django_rwrouter.events.emit import emitted_elsewhere, own_ejections


@pytest.fixture
def noted(monkeypatch):
    names = []
    monkeypatch.setattr(stats, "note_event", lambda name, *_args: names.append(name))
    own_ejections.reset()
    yield names
    own_ejections.reset()


def test_an_ejection_that_the_leader_shares_is_left_to_it(noted):
    own_ejections.follow()
    emit.replica_ejected("replica1", "timeout")
    own_ejections.settle({"replica1": monotonic() + 1}, {"replica1": "timeout"})
    own_ejections.settle({"replica1": monotonic() + 1})
    assert noted == []


def test_one_that_the_leader_does_not_find_is_emitted_and_so_is_its_end(noted):
    own_ejections.follow()
    emit.replica_ejected("replica1", "timeout")
    own_ejections.settle({"replica1": monotonic() - 1})
    assert noted == [], "The leader has not probed it since."
    own_ejections.settle({"replica1": monotonic() + 1})
    assert noted == ["replica_ejected"]
    with emitted_elsewhere():
        emit.replica_restored("replica1", 2.0)
        emit.replica_restored("replica2", 2.0)
    assert noted == ["replica_ejected", "replica_restored"]


def test_what_was_left_to_a_leader_that_is_gone_is_emitted_by_its_successor(noted):
    own_ejections.follow()
    emit.replica_ejected("replica1", "timeout")
    own_ejections.lead()
    emit.replica_ejected("replica2", "timeout")
    assert noted == ["replica_ejected"] * 2
