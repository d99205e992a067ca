"""When servers are asked, and which have not answered in time."""

import pytest

from django_rwrouter.monitor.schedule import OVERSLEPT, Schedule

TIMEOUT = 1.0
SECOND_CHANCE = 0.4


@pytest.fixture
def schedule():
    return Schedule(TIMEOUT, SECOND_CHANCE)


def test_a_server_that_has_not_answered_is_not_asked_again(schedule):
    assert schedule.idle(["p", "r1"]) == ["p", "r1"]
    schedule.ask("r1", 100)
    assert schedule.idle(["p", "r1"]) == ["p"]
    assert schedule.overdue(200) == ["r1"]
    assert schedule.idle(["p", "r1"]) == ["p"]
    schedule.answer("r1")
    assert schedule.idle(["p", "r1"]) == ["p", "r1"]


def test_one_that_a_round_has_passed_over_is_behind(schedule):
    assert schedule.begin_round(["p", "r1"]) == ["p", "r1"]
    schedule.ask("p", 100)
    schedule.ask("r1", 100)
    schedule.answer("p")
    assert not schedule.is_behind("r1")
    assert schedule.begin_round(["p", "r1"]) == ["p"]
    assert schedule.is_behind("r1")
    assert not schedule.is_behind("p")
    schedule.answer("r1")
    schedule.ask("r1", 101)  # Anew.
    assert not schedule.is_behind("r1")


@pytest.mark.parametrize(("later", "overdue"), [(0.0, []), (0.99, []), (1.0, ["r1"]), (9.0, ["r1"])])
def test_it_has_the_timeout_to_answer(schedule, later, overdue):
    schedule.ask("r1", 100)
    assert schedule.overdue(100 + later) == overdue
    assert schedule.overdue(100 + later) == []  # Said once for each time.
    assert schedule.answer("r1") is not overdue


@pytest.mark.parametrize(("later", "in_time"), [(0.5, True), (1.5, False)])
def test_an_answer_is_in_time_or_not(schedule, later, in_time):
    schedule.ask("r1", 100)
    schedule.overdue(100 + later)
    assert schedule.answer("r1") is in_time


def test_misses_in_a_row_are_counted(schedule):
    for count in (1, 2, 3):
        schedule.ask("r1", 100)
        schedule.overdue(102)
        assert schedule.misses("r1") == count
        schedule.answer("r1")  # Late: no proof of anything.
        assert schedule.misses("r1") == count
    schedule.ask("r1", 100)
    schedule.answer("r1")
    assert schedule.misses("r1") == 0
    assert schedule.misses("r2") == 0


def test_one_that_says_nothing_misses_again_and_again(schedule):
    schedule.ask("r1", 100)
    assert [schedule.overdue(now) for now in (101, 101.3, 101.5, 101.8, 102)] == [
        ["r1"],
        [],
        ["r1"],
        [],
        ["r1"],
    ]
    assert schedule.misses("r1") == 3
    assert schedule.answer("r1") is False


def test_the_first_deadline_counts(schedule):
    assert schedule.next_deadline() is None
    schedule.ask("p", 100)
    schedule.ask("r1", 100, 0.3)
    assert schedule.next_deadline() == 100.3
    schedule.overdue(100.7)
    assert schedule.next_deadline() == 101
    schedule.answer("p")
    assert schedule.next_deadline() == 100.7 + SECOND_CHANCE
    schedule.answer("r1")
    assert schedule.next_deadline() is None


@pytest.mark.parametrize(
    ("late", "blamed"), [(0.0, True), (0.9 * OVERSLEPT, True), (1.1 * OVERSLEPT, False), (3600, False)]
)
def test_while_this_process_stood_still_no_server_was_late(schedule, late, blamed):
    """It was stopped, or starved: nobody knows whether they have answered."""
    schedule.ask("r1", 100)
    now = 101 + late
    schedule.woke(101, now)
    assert schedule.overdue(now) == (["r1"] if blamed else [])
    assert schedule.overdue(now + TIMEOUT) == ["r1"]
    assert schedule.misses("r1") == (2 if blamed else 1)
