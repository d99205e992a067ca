"""Which replicas are left alone, and who may try them again."""

import threading

import pytest

from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.health import Health
from django_rwrouter.servers.server_state import Condition


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock, jitter=lambda: 0.0)


# --- nobody watches: requests try again ---------------------------------------------------------


def test_a_replica_is_usable_until_it_fails(health):
    assert "r1" not in health.unusable()
    assert health.begin_trial("r1")
    assert health.failed("r1", "OperationalError 2002")
    assert "r1" in health.unusable()
    assert "r2" not in health.unusable()
    assert not health.begin_trial("r1")
    assert health.begin_trial("r2")
    standing = health.standing("r1")
    assert (standing.condition, standing.why) == (Condition.EJECTED, "OperationalError 2002")
    assert health.standing("r2").condition is Condition.HEALTHY


@pytest.mark.parametrize(("later", "usable"), [(0, False), (0.99, False), (1, True), (50, True)])
def test_it_is_left_alone_for_a_while(health, clock, later, usable):
    health.failed("r1")
    clock.now += later * POLICY.first_pause
    assert ("r1" not in health.unusable()) is usable
    assert health.begin_trial("r1") is usable


def test_one_caller_tries_it_and_the_others_wait_for_the_outcome(health, clock):
    health.failed("r1")
    clock.now += POLICY.first_pause
    assert [health.begin_trial("r1") for _caller in range(3)] == [True, False, False]
    assert "r1" in health.unusable()
    assert health.works("r1") == POLICY.first_pause
    assert "r1" not in health.unusable()
    assert [health.begin_trial("r1") for _caller in range(3)] == [True, True, True]


def test_each_trial_in_vain_makes_the_pause_longer(health, clock):
    assert health.failed("r1")
    pauses = []
    for _trial in range(8):
        began = clock.now
        while not health.begin_trial("r1"):
            clock.now += 0.5
        pauses.append(clock.now - began)
        assert not health.failed("r1")  # It was out already: nothing new to tell.
    assert (
        pauses == [POLICY.first_pause * POLICY.retry_growth**n for n in range(6)] + [POLICY.longest_pause] * 2
    )


def test_pauses_differ_from_process_to_process(clock):
    longest = Health(clock, jitter=lambda: 1.0)
    longest.failed("r1")
    clock.now += POLICY.first_pause
    assert not longest.begin_trial("r1")
    clock.now += POLICY.first_pause * POLICY.jitter
    assert longest.begin_trial("r1")


def test_only_one_of_many_threads_tries_it(health, clock):
    health.failed("r1")
    clock.now += POLICY.first_pause
    barrier = threading.Barrier(8)
    tried = []

    def try_it():
        barrier.wait()
        tried.append(health.begin_trial("r1"))

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(tried) == [False] * 7 + [True]


# --- a monitor watches --------------------------------------------------------------------------


def test_a_watched_replica_comes_back_by_proofs_alone(health, clock):
    health.watch(1000)
    health.failed("r1")
    clock.now += 100
    assert not health.begin_trial("r1")
    assert health.works("r1") is None
    assert "r1" in health.unusable()
    assert [health.proved("r1") for _probe in range(POLICY.proofs)] == [None] * (POLICY.proofs - 1) + [100]
    assert "r1" not in health.unusable()
    assert health.proved("r1") is None  # It was not out.


def test_a_probe_that_fails_makes_it_begin_anew(health, clock):
    health.watch(1000)
    assert not health.lacks_one_proof("r1")
    health.failed("r1")
    clock.now += 10
    assert not health.lacks_one_proof("r1")
    health.proved("r1")
    assert health.lacks_one_proof("r1")
    assert not health.failed("r1")
    assert not health.lacks_one_proof("r1")
    assert health.proved("r1") is None
    assert "r1" in health.unusable()


def test_a_long_outage_does_not_make_a_watched_replica_wait_for_longer(health, clock):
    health.watch(1000)
    health.failed("r1")
    for _probe in range(100):
        clock.now += 1
        health.failed("r1")
    clock.now += POLICY.first_pause
    health.proved("r1")
    assert health.proved("r1") is not None


def test_when_the_monitor_falls_silent_requests_try_again(health, clock):
    health.watch(3)
    health.failed("r1")
    clock.now += 3
    assert "r1" not in health.unusable()
    assert health.begin_trial("r1")


def test_a_replica_that_comes_and_goes_each_second_does_not_flap(health, clock):
    health.watch(1000)
    changes = 0
    for tenth in range(600):
        clock.now = 100 + tenth / 10
        up = tenth // 5 % 2 == 0
        if "r1" not in health.unusable() and not up:
            changes += health.failed("r1")
        elif tenth % 2 == 0:
            changes += (health.proved("r1") is not None) if up else health.failed("r1")
    assert 2 <= changes < 10


def test_after_a_steady_minute_it_counts_as_new(health, clock):
    health.watch(10_000)

    def out_for():
        began = clock.now
        health.failed("r1")
        while health.proved("r1") is None:
            clock.now += 0.5
        return clock.now - began

    assert out_for() == POLICY.first_pause
    assert out_for() == POLICY.first_pause * POLICY.flap_growth
    clock.now += POLICY.steady_seconds
    assert out_for() == POLICY.first_pause


def test_a_reason_may_ask_for_a_longer_pause(health, clock):
    health.failed("r1", "slow", pause=10)
    clock.now += 9.9
    assert not health.begin_trial("r1")
    clock.now += 0.1
    assert health.begin_trial("r1")


# --- drained ------------------------------------------------------------------------------------


def test_a_drained_replica_takes_no_reads_until_it_is_undrained(health):
    assert health.set_drained([("r1", 5.0, "new disks")]) == ({"r1"}, set())
    assert health.unusable() == {"r1"}
    assert not health.begin_trial("r1")
    assert health.works("r1") is None
    standing = health.standing("r1")
    assert (standing.condition, standing.since, standing.why) == (Condition.DRAINED, 5.0, "new disks")
    assert health.set_drained([("r1", 5.0, "new disks")]) == (set(), set())
    assert health.set_drained([]) == (set(), {"r1"})
    assert not health.unusable()


@pytest.mark.parametrize("watched", [False, True])
def test_drained_and_ejected_replicas_are_both_left_alone(health, watched):
    if watched:
        health.watch(10)
    health.set_drained([("r1", 0.0, "")])
    health.failed("r2")
    assert health.unusable() == {"r1", "r2"}


# --- the primary --------------------------------------------------------------------------------


def test_a_primary_is_away_until_it_answers_or_should_be_asked_again(health, clock):
    assert not health.is_away("default")
    health.lost_primary("default", 2)
    assert health.is_away("default")
    assert not health.is_away("other")
    health.found_primary("default")
    assert not health.is_away("default")
    health.lost_primary("default", 2)
    clock.now += 2
    assert not health.is_away("default")


def test_reset_forgets_everything(health):
    health.failed("r1")
    health.set_drained([("r2", 0.0, "")])
    health.lost_primary("default")
    health.watch(10)
    health.set_off(frozenset({"default"}))
    health.reset()
    assert not health.unusable()
    assert not health.is_away("default")
    assert not health.watched
    assert not health.off
    assert health.begin_trial("r1")


def test_two_threads_that_change_something_at_once_leave_what_both_have_changed():
    """One looks whether all is well; before it stores that, the other ejects a replica."""
    health = Health()

    class Interrupted(frozenset):
        def __bool__(self):
            ejecting.start()
            ejecting.join(0.2)  # It waits for the lock.
            return False

    ejecting = threading.Thread(target=health.failed, args=("replica1",))
    health.off = Interrupted()
    health.set_drained([])
    ejecting.join()
    assert health.unusable() == {"replica1"}
