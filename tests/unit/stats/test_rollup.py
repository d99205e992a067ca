"""Which merged row takes a time, by its age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.stats.rollup import TIERS, place
from django_rwrouter.stats.summary import SPANS

NOW = 1_700_000_000
HOUR, DAY = 3600, 86_400
TIMES = st.integers(0, 3 * 10**9)


@pytest.mark.parametrize(
    ("age", "resolution"),
    [
        (0, 60),
        (2 * HOUR, 60),
        (2 * HOUR + 601, 600),
        (25 * HOUR, 600),
        (28 * HOUR, 3600),
        (7 * DAY, 3600),
        (10 * DAY, DAY),
        (1000 * DAY, DAY),
    ],
)
def test_the_older_the_coarser(age, resolution):
    found, start = place(NOW - age, NOW)
    assert found == resolution
    assert start <= NOW - age < start + resolution
    assert start % resolution == 0


@given(TIMES, TIMES)
def test_a_row_never_becomes_finer_as_time_goes_by(start, now):
    sooner, later = place(start, now), place(start, now + HOUR)
    assert later[0] >= sooner[0]
    # Nor does a row of the finer kind end up in two of the coarser.
    assert place(sooner[1], now + HOUR) == later


@given(TIMES, st.integers(0, DAY))
def test_what_one_coarser_row_covers_is_either_all_merged_or_not_at_all(now, age):
    start = now - 2 * HOUR - age
    resolution, begin = place(start, now)
    if resolution != 60:
        assert {place(begin + offset, now) for offset in range(0, resolution, 60)} == {(resolution, begin)}


@pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
def test_each_time_to_look_at_is_kept_in_the_detail_that_is_shown(span):
    for now in range(NOW, NOW + 2 * HOUR, 600):
        for start in span.steps(now):
            assert place(start, now)[0] <= span.step


def test_tiers_follow_each_other():
    assert [tier.coarser for tier in TIERS][:-1] == [tier.resolution for tier in TIERS][1:]
    assert all(tier.coarser % tier.resolution == 0 for tier in TIERS)
