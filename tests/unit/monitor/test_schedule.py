"""When servers are asked, and which have not answered in time."""

import pytest

from django_rwrouter.monitor.schedule import OVERSLEPT, Turn, next_deadline, woke

TIMEOUT = 1.0
SECOND_CHANCE = 0.4


@pytest.fixture
def turn():
    return Turn()


def test_one_that_a_round_has_passed_over_is_so_until_it_is_asked_anew(turn):
    turn.begin(101)
    turn.is_passed_over = True
    turn.end()
    assert turn.is_passed_over
    turn.begin(102)
    assert not turn.is_passed_over


@pytest.mark.parametrize(("now", "is_late"), [(100, False), (100.99, False), (101.0, True), (109, True)])
def test_it_is_late_once_its_deadline_is_over(turn, now, is_late):
    turn.begin(101)
    assert turn.miss(now, SECOND_CHANCE) is is_late
    assert not turn.miss(now, SECOND_CHANCE), "Said once for each time."
    assert turn.end() is not is_late
    assert turn.deadline is None


def test_one_that_is_not_asked_misses_nothing(turn):
    assert not turn.miss(100, SECOND_CHANCE)
    turn.begin(101)
    turn.end()
    assert not turn.miss(200, SECOND_CHANCE)


def test_misses_in_a_row_are_counted(turn):
    for count in (1, 2, 3):
        turn.begin(101)
        turn.miss(102, SECOND_CHANCE)
        assert turn.misses == count
        turn.end()  # Late: no proof of anything.
        assert turn.misses == count
    turn.begin(101)
    turn.end()
    assert turn.misses == 0


def test_one_that_says_nothing_misses_again_and_again(turn):
    turn.begin(101)
    missed = [turn.miss(now, SECOND_CHANCE) for now in (101, 101.3, 101.5, 101.8, 102)]
    assert missed == [True, False, True, False, True]
    assert turn.misses == 3
    assert turn.end() is False


def test_the_first_deadline_counts():
    turns = [Turn(), Turn(), Turn()]
    assert next_deadline(turns, 105) == 105
    turns[0].begin(101)
    turns[1].begin(100.3)
    assert next_deadline(turns, 105) == 100.3
    assert next_deadline(turns, 100) == 100
    turns[1].miss(100.7, SECOND_CHANCE)
    assert next_deadline(turns, 105) == 101
    turns[0].end()
    assert next_deadline(turns, 105) == 100.7 + SECOND_CHANCE


@pytest.mark.parametrize(
    ("late", "blamed"), [(0.0, True), (0.9 * OVERSLEPT, True), (1.1 * OVERSLEPT, False), (3600, False)]
)
def test_while_this_process_stood_still_no_server_was_late(turn, late, blamed):
    """It was stopped, or starved: nobody knows whether they have answered."""
    idle = Turn()
    turn.begin(101)
    now = 101 + late
    woke([idle, turn], 101, now, TIMEOUT)
    assert turn.miss(now, SECOND_CHANCE) is blamed
    assert turn.miss(now + TIMEOUT, SECOND_CHANCE)
    assert turn.misses == (2 if blamed else 1)
    assert idle.deadline is None
