"""Which replicas are left alone, and who may try them again."""

import threading

import pytest

from django_rwrouter.health import RETRY_SECONDS, Health


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock)


def test_a_replica_is_usable_until_it_fails(health):
    assert "r1" not in health.unusable()
    assert health.begin_trial("r1")
    health.failed("r1")
    assert "r1" in health.unusable()
    assert "r2" not in health.unusable()
    assert not health.begin_trial("r1")
    assert health.begin_trial("r2")


@pytest.mark.parametrize(("later", "usable"), [(0, False), (0.99, False), (1, True), (50, True)])
def test_it_is_left_alone_for_a_while(health, clock, later, usable):
    health.failed("r1")
    clock.now += later * RETRY_SECONDS
    assert ("r1" not in health.unusable()) is usable
    assert health.begin_trial("r1") is usable


def test_one_caller_tries_it_and_the_others_wait_for_the_outcome(health, clock):
    health.failed("r1")
    clock.now += RETRY_SECONDS
    assert [health.begin_trial("r1") for _caller in range(3)] == [True, False, False]
    assert "r1" in health.unusable()
    health.works("r1")
    assert "r1" not in health.unusable()
    assert [health.begin_trial("r1") for _caller in range(3)] == [True, True, True]


def test_a_trial_that_fails_begins_the_pause_anew(health, clock):
    health.failed("r1")
    clock.now += RETRY_SECONDS
    health.begin_trial("r1")
    clock.now += RETRY_SECONDS / 2
    health.failed("r1")
    clock.now += RETRY_SECONDS / 2
    assert not health.begin_trial("r1")
    clock.now += RETRY_SECONDS / 2
    assert health.begin_trial("r1")


def test_a_trial_that_never_ends_keeps_the_others_away_for_one_pause_only(health, clock):
    health.failed("r1")
    clock.now += RETRY_SECONDS
    assert health.begin_trial("r1")
    clock.now += RETRY_SECONDS
    assert health.begin_trial("r1")


def test_one_of_many_threads_gets_the_trial(health, clock):
    health.failed("r1")
    clock.now += RETRY_SECONDS
    start, won = threading.Barrier(8), []

    def try_it():
        start.wait()
        if health.begin_trial("r1"):
            won.append(1)

    threads = [threading.Thread(target=try_it) for _thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [1]


def test_reset_forgets_everything(health):
    health.failed("r1")
    health.reset()
    assert "r1" not in health.unusable()
