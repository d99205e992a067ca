"""Rows added up: nothing lost, in whatever order and steps."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.stats.sums import LOG_OF_ALL, LOG_OF_EACH, MAX_ORIGINS, Sum

NAMES = st.sampled_from(["a", "b", "c"])
NUMBERS = st.integers(0, 2**40)
SECONDS = st.integers(0, 10_000).map(lambda number: number / 8)
COUNTS = st.fixed_dictionaries(
    {
        "statements": st.lists(st.tuples(NAMES, NAMES, NAMES, NAMES, NAMES, NUMBERS, NUMBERS), max_size=4),
        "events": st.lists(st.tuples(NAMES, NAMES, NUMBERS), max_size=4),
    },
    optional={
        "latency": st.lists(st.tuples(NAMES, NAMES, NAMES, st.lists(NUMBERS, max_size=31)), max_size=3),
        "log": st.lists(st.tuples(SECONDS, NAMES, NAMES, NAMES), max_size=12),
        "lag": st.lists(st.tuples(NAMES, SECONDS, SECONDS), max_size=3, unique_by=lambda entry: entry[0]),
        "servers": st.just([{"alias": "replica1", "position": "0-1-7"}]),
    },
).map(lambda counts: json.loads(json.dumps(counts)))
ROWS = st.lists(st.tuples(st.integers(0, 9).map(lambda minute: minute * 60), COUNTS), max_size=8)


def merged(rows, resolution=60):
    total = Sum()
    for start, counts in rows:
        total.add(start, counts)
    return json.loads(json.dumps(total.counts(resolution)))


@given(ROWS, st.randoms())
def test_the_order_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert merged(rows) == merged(shuffled)


@given(ROWS)
def test_it_does_not_matter_what_is_merged_first(rows):
    """By the minute first and then all together, as the processes do it, or all at once."""
    by_minute = {}
    for start, counts in rows:
        by_minute.setdefault(start, []).append((start, counts))
    in_steps = [(start, merged(group, 600)) for start, group in by_minute.items()]
    assert merged(in_steps, 600) == merged(rows, 600)


@given(ROWS)
def test_a_row_that_grows_by_one_after_the_other_is_as_if_all_came_at_once(rows):
    grown = (0, {"processes": 0})
    for _start, counts in rows:
        grown = (0, merged([grown, (0, counts)]))
    assert merged([grown]) == merged([(0, counts) for _start, counts in rows])


@given(ROWS)
def test_nothing_is_lost(rows):
    def sums(rows):
        found = Counter()
        for _start, counts in rows:
            for *key, count, microseconds in counts["statements"]:
                found[("statements", *key)] += count
                found[("microseconds", *key)] += microseconds
            for *key, times in counts["events"]:
                found[("event", *key)] += times
            for *key, buckets in counts.get("latency", ()):
                for place, count in enumerate(buckets):
                    found[("bucket", place, *key)] += count
        return +found

    assert sums(rows) == sums([(0, merged(rows))])


@given(ROWS)
def test_the_log_keeps_the_first_entries_of_each_kind(rows):
    everything = sorted((*entry, "") for _start, counts in rows for entry in counts.get("log", ()))
    kept = [tuple(entry) for entry in merged(rows).get("log", ())]
    assert kept == sorted(kept)
    for name in "abc":
        for subject in "abc":
            of_kind = [entry for entry in everything if entry[1:3] == (name, subject)]
            assert [entry for entry in kept if entry[1:3] == (name, subject)] == of_kind[: LOG_OF_EACH[60]]


def test_the_log_keeps_the_first_entries_of_each_process_up_to_a_bound_for_all():
    row = (0, {"log": [[0, "ejected", "replica1", "", f"p{number}"] for number in range(LOG_OF_ALL + 1)]})
    assert len(merged([row])["log"]) == LOG_OF_ALL


def test_the_most_frequent_origins_are_kept_apart_and_the_others_counted_together():
    origins = [["pinned", f"view{number}", "app.Book", number] for number in range(1, MAX_ORIGINS + 3)]
    kept = merged([(0, {"origins": origins})])["origins"]
    assert len(kept) == MAX_ORIGINS + 1
    assert ["pinned", "*", "*", 3] in kept


def test_a_longer_time_keeps_more_of_the_log():
    row = (0, {"log": [[second, "ejected", "replica1", ""] for second in range(100)]})
    assert [len(merged([row], resolution)["log"]) for resolution in LOG_OF_EACH] == [5, 20, 40, 80]


def test_lag_is_the_most_and_the_last_of_all_and_the_worse_of_those_at_the_same_time():
    rows = [
        (60, {"lag": [["replica1", 9.0, 1.0]]}),
        (120, {"lag": [["replica1", 2.0, 0.5], ["replica2", 3.0, 3.0]]}),
        (120, {"lag": [["replica1", 4.0, 0.25]]}),
    ]
    assert merged(rows)["lag"] == [["replica1", 9.0, 0.5], ["replica2", 3.0, 3.0]]


def test_what_processes_know_of_now_and_what_a_newer_version_adds_are_not_merged():
    row = {
        "statements": [["c", "a", "read", "window", "", 1, 5, "more"]],
        "events": [["e", "", 1, "more"]],
        "servers": [{"alias": "replica1", "position": "0-1-7"}],
        "gauges": [1],
    }
    assert merged([(0, row)]) == {
        "statements": [["c", "a", "read", "window", "", 1, 5]],
        "events": [["e", "", 1]],
        "processes": 1,
    }


def test_processes_are_counted_that_counted_at_the_same_time():
    rows = [(0, {}), (0, {}), (60, {}), (60, {"processes": 2}), (120, {})]
    assert merged(rows)["processes"] == 3


def test_the_grand_total_has_nothing_that_belongs_to_a_time():
    total = Sum()
    total.add(0, {"events": [["e", "", 1]], "log": [[1, "e", "", ""]], "lag": [["replica1", 1, 1]]})
    assert total.grand_total() == {"statements": [], "events": [("e", "", 1)]}
