"""What a process keeps beside plain counts: latencies, noted events, lag, and what it knows of servers."""

from bisect import bisect_left

import pytest

from django_rwrouter.stats.counters import (
    DETAIL_LENGTH,
    GIVEN_UP_AFTER,
    MAX_BUCKETS,
    RESOLUTION,
    Counters,
)
from django_rwrouter.stats.latency import BOUNDS
from django_rwrouter.stats.sums import LOG_OF_EACH

LOG_OF_A_MINUTE = LOG_OF_EACH[RESOLUTION]


class Clock:
    now = 1_000_000_020.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counters(clock):
    return Counters(clock, ticks=clock)


def data(counters):
    (row,) = counters.take()
    return row.data


def test_latencies_are_counted_by_database_and_operation_whatever_the_reason(counters):
    for reason, seconds in [("window", 0.002), ("window", 0.002), ("causal", 0.03)]:
        counters.count_statement("main", "replica1", "read", reason, "", seconds)
    counters.count_statement("main", "default", "write", "write", "", 500)
    found = {tuple(key): buckets for *key, buckets in data(counters)["latency"]}
    read = [0] * (bisect_left(BOUNDS, 0.03) + 1)
    read[bisect_left(BOUNDS, 0.002)], read[bisect_left(BOUNDS, 0.03)] = 2, 1
    assert found == {("main", "replica1", "read"): read, ("main", "default", "write"): [0] * 30 + [1]}


def test_noted_events_are_counted_all_and_kept_one_by_one_at_first(counters, clock):
    for number in range(LOG_OF_A_MINUTE + 3):
        counters.note_event("failover", "replica1", f"{number}")
        clock.now += 1
    counters.note_event("failover", "replica2", "x" * 999)
    found = data(counters)
    assert found["events"] == [("failover", "replica1", LOG_OF_A_MINUTE + 3), ("failover", "replica2", 1)]
    assert [entry[:4] for entry in found["log"]] == [
        *[(1_000_000_020.0 + n, "failover", "replica1", f"{n}") for n in range(LOG_OF_A_MINUTE)],
        (1_000_000_028.0, "failover", "replica2", "x" * DETAIL_LENGTH),
    ]


def test_each_minute_has_a_log_of_its_own(counters, clock):
    for _minute in range(2):
        for _ in range(LOG_OF_A_MINUTE + 1):
            counters.note_event("failover", "replica1", "")
        clock.now += RESOLUTION
    assert [len(row.data["log"]) for row in counters.take()] == [LOG_OF_A_MINUTE] * 2


def test_lag_is_the_most_and_the_last(counters):
    for seconds in (0.5, 3.25, 1.0):
        counters.note_lag("replica1", seconds)
    counters.note_lag("replica2", 0)
    assert data(counters)["lag"] == [("replica1", 3.25, 1.0), ("replica2", 0, 0)]


def test_of_servers_the_newest_is_kept(counters):
    for position in ("0-1-7", "0-1-8"):
        counters.note_servers([{"alias": "replica1", "position": position}])
    assert data(counters)["servers"] == [{"alias": "replica1", "position": "0-1-8"}]


def test_what_there_is_none_of_takes_no_place(counters):
    counters.count_event("hit")
    assert data(counters).keys() == {"statements", "events"}


def test_nothing_is_kept_when_not_wanted(counters):
    counters.enabled = False
    counters.note_event("failover", "replica1", "")
    counters.note_lag("replica1", 1.0)
    counters.note_servers([])
    assert counters.take() == []


def test_details_move_with_the_counts_when_minutes_are_put_together(counters, clock):
    for number in range(MAX_BUCKETS + 10):
        counters.count_statement("main", "default", "read", "pinned", "", 0.002)
        counters.note_event("failover", "replica1", "")
        counters.note_lag("replica1", number)
        clock.now += RESOLUTION
    oldest, *_others = rows = counters.take()
    assert sum(sum(each) for row in rows for *_, each in row.data["latency"]) == MAX_BUCKETS + 10
    assert len(oldest.data["log"]) == LOG_OF_A_MINUTE
    assert oldest.data["lag"] == [("replica1", 10, 10)]


def test_an_ending_process_calls_all_its_rows_final_and_counts_on_under_another_name(counters):
    counters.count_event("hit")
    (row,) = counters.take(ending=True)
    counters.count_event("late")
    late, final = counters.take(ending=True)
    assert (final.final, final.process, final.data) == (True, row.process, row.data)
    assert (late.final, late.data["events"]) == (False, [("late", "", 1)])
    assert late.process != row.process
    assert [each.final for each in counters.take(ending=True)] == [True]
    assert counters.take(ending=True) == []


def test_what_was_not_sent_can_still_be_put_together_and_is_never_given_up(counters, clock):
    counters.count_event("hit")
    clock.now += RESOLUTION
    counters.count_event("hit")
    tried, unsent = counters.take()
    counters.failed([tried], unsent=[unsent])
    clock.now += GIVEN_UP_AFTER + 1
    assert [row.start for row in counters.take()] == [unsent.start]


def test_the_start_of_each_minute_is_told(counters, clock):
    told = []
    counters.begun = lambda: told.append(clock.now)
    for _ in range(3):
        counters.count_event("hit")
    clock.now += RESOLUTION
    counters.count_event("hit")
    assert told == [1_000_000_020.0, 1_000_000_080.0]
