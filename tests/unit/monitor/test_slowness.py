"""Which replicas count as slow."""

import pytest

from django_rwrouter.monitor.slowness import Slow, Slowness, Work
from django_rwrouter.servers.breaker import POLICY

FAST = 0.02
"""Seconds of a usual read."""


def works(probe=0.001, **means):
    """One round: seconds of a read by replica, or how many reads there were and the seconds of one."""
    found = {}
    for alias, mean in means.items():
        reads, seconds = mean if isinstance(mean, tuple) else (POLICY.reads_per_sample, mean)
        found[alias] = Work(reads=reads, seconds=reads * seconds, probe=probe)
    return found


def verdicts(*rounds, healthy=None):
    """What each round finds."""
    slowness = Slowness()
    return [set(slowness.judge(each, each if healthy is None else healthy)) for each in rounds]


NEVER = [set()] * 9
SLOW = POLICY.slow_factor * FAST + POLICY.slow_excess

# Name: (the seconds of r1's reads in each round, those of r2, whether r1 is found slow in the end).
TWO = {
    "as its peer": ([FAST] * 9, [FAST] * 9, False),
    "slow": ([SLOW] * POLICY.slow_samples, [FAST] * POLICY.slow_samples, True),
    "not for long": ([SLOW] * (POLICY.slow_samples - 1), [FAST] * (POLICY.slow_samples - 1), False),
    "with breaks": ([SLOW, SLOW, FAST] * 3, [FAST] * 9, False),
    "not by the factor": ([0.99 * POLICY.slow_factor] * 9, [1.0] * 9, False),
    "just by the factor": (
        [1.01 * POLICY.slow_factor] * POLICY.slow_samples,
        [1.0] * POLICY.slow_samples,
        True,
    ),
    "not by much": ([0.99 * POLICY.slow_excess] * 9, [0.0001] * 9, False),
    "by much more": ([1.02 * POLICY.slow_excess] * POLICY.slow_samples, [0.0001] * POLICY.slow_samples, True),
    "all get slow": ([FAST, 5, 5, 5, 5], [FAST, 4, 5, 4, 5], False),
    "no reads": ([(0, 0.0)] * 9, [FAST] * 9, False),
    "its peer has no reads": ([SLOW] * 9, [(0, 0.0)] * 9, False),
    "few reads, not yet enough": ([(POLICY.reads_per_sample // 2, SLOW)] * 5, [FAST] * 5, False),
    "few reads, collected": (
        [(POLICY.reads_per_sample // 2, SLOW)] * 2 * POLICY.slow_samples,
        [FAST] * 2 * POLICY.slow_samples,
        True,
    ),
    "one slow report in each round": ([(1, 60.0)] * 9, [FAST] * 9, False),
    "its peer was fast, long ago": (
        [(0, 0.0)] * (POLICY.sample_rounds + 1) + [SLOW] * 4,
        [FAST] + [(0, 0.0)] * (POLICY.sample_rounds + 4),
        False,
    ),
}


@pytest.mark.parametrize(("own", "other", "slow"), TWO.values(), ids=TWO)
def test_of_two(own, other, slow):
    rounds = [works(r1=mean, r2=peer) for mean, peer in zip(own, other, strict=True)]
    *before, last = verdicts(*rounds)
    assert last == ({"r1"} if slow else set())
    assert not any(before)


def test_the_usual_is_the_median_of_the_others():
    """So two of five that are slow do not hide each other."""
    a_round = works(r1=1.0, r2=1.2, r3=FAST, r4=FAST, r5=2 * FAST)
    assert verdicts(*[a_round] * POLICY.slow_samples)[-1] == {"r1", "r2"}


@pytest.mark.parametrize(("probe", "slow"), [(0.5, True), (0.2, False)], ids=["in trouble", "far away"])
def test_a_slow_probe_is_found_where_hardly_a_read_ends(probe, slow):
    rounds = [works(r2=FAST) | works(probe=probe, r1=(0, 0.0))] * POLICY.slow_samples
    assert verdicts(*rounds)[-1] == ({"r1"} if slow else set())


def test_the_last_one_is_never_found():
    rounds = [works(r1=SLOW, r2=FAST)] * 9
    assert verdicts(*rounds, healthy={"r1"}) == NEVER


def test_the_slowest_goes_first_where_not_all_may():
    # r4 is healthy no more for another reason, and was measured all the same.
    rounds = [works(r1=1.0, r2=2.0, r3=FAST, r4=FAST, r5=FAST)] * POLICY.slow_samples
    assert verdicts(*rounds, healthy={"r1", "r2"})[-1] == {"r2"}


def test_one_that_was_found_begins_anew():
    rounds = [works(r1=SLOW, r2=FAST)] * (2 * POLICY.slow_samples)
    found = verdicts(*rounds)
    assert [bool(each) for each in found] == ([False] * (POLICY.slow_samples - 1) + [True]) * 2


def test_one_that_was_away_begins_anew():
    slow, alone = works(r1=SLOW, r2=FAST), works(r2=FAST)
    assert verdicts(slow, slow, alone, slow, slow) == [set()] * 5


def test_what_is_said_has_the_figures():
    slowness = Slowness()
    for _ in range(POLICY.slow_samples):
        found = slowness.judge(works(r1=0.42, r2=0.012), {"r1", "r2"})
    assert found == {"r1": Slow(pytest.approx(0.42), pytest.approx(0.012))}
    assert str(found["r1"]) == "slow: 420 ms, its peers 12 ms"
