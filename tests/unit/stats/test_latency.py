"""Buckets of latency, and percentiles within a known bound."""

from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.stats.latency import BOUNDS, BUCKETS, GROWTH, add, percentile, trimmed

SECONDS = st.floats(min_value=BOUNDS[0], max_value=BOUNDS[-1])


def counted(latencies):
    counts = [0] * BUCKETS
    for each in latencies:
        counts[bisect_left(BOUNDS, each)] += 1
    return counts


def test_the_bounds_rise_evenly_from_a_tenth_of_a_millisecond_to_a_minute():
    assert (BOUNDS[0], BOUNDS[5], BOUNDS[10], BOUNDS[-1]) == (0.0001, 0.001, 0.01, 63)
    assert len(BOUNDS) + 1 == BUCKETS == 31
    steps = [high / low for low, high in pairwise(BOUNDS)]
    assert all(1.5 < step <= GROWTH + 1e-9 for step in steps)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0, 0), (0.0001, 0), (0.00011, 1), (0.001, 5), (0.0011, 6), (63, 29), (63.1, 30), (9999, 30)],
)
def test_a_bound_belongs_to_its_bucket_as_in_prometheus(seconds, bucket):
    assert bisect_left(BOUNDS, seconds) == bucket


@given(st.lists(SECONDS, min_size=1), st.floats(min_value=0.01, max_value=1))
def test_a_percentile_is_right_within_the_factor_that_is_promised(latencies, fraction):
    latencies.sort()
    rank = fraction * len(latencies)
    true = next(each for number, each in enumerate(latencies, 1) if number >= rank)
    found = percentile(counted(latencies), fraction)
    # The first bucket has no lower bound.
    if bisect_left(BOUNDS, true):
        assert true / (GROWTH + 1e-9) <= found <= true * (GROWTH + 1e-9)
    else:
        assert 0 <= found <= BOUNDS[0]


@given(st.lists(SECONDS, min_size=1))
def test_percentiles_rise(latencies):
    counts = counted(latencies)
    found = [percentile(counts, fraction / 20) for fraction in range(1, 21)]
    assert found == sorted(found)


def test_an_even_spread_within_a_bucket_is_met_closely():
    spread = [0.0016 + n * 1e-6 for n in range(1, 900)]
    assert percentile(counted(spread), 0.5) == pytest.approx(0.00205, rel=0.03)


@pytest.mark.parametrize("counts", [[], [0] * BUCKETS])
def test_of_nothing_there_is_no_percentile(counts):
    assert percentile(counts, 0.5) is None


def test_what_is_slower_than_the_last_bound_is_at_least_that():
    assert percentile(counted([100, 200]), 0.5) == BOUNDS[-1]


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_buckets_add_up_also_without_the_zeros_at_their_end(some, others):
    into = trimmed(counted(some))
    assert not into or into[-1]
    add(into, trimmed(counted(others)))
    assert trimmed(into) == trimmed(counted(some + others))
