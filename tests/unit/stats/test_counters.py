"""Counts in memory: exact, absolute, bounded."""

import sys
import threading
from collections import Counter

import pytest

from django_rwrouter.stats.counters import MAX_BUCKETS, MAX_PENDING, RESOLUTION, Counters

COUNT = [
    pytest.param(lambda counters, subject="": counters.count_event("hit", subject), id="event"),
    pytest.param(
        lambda counters, subject="": counters.count_statement("c", subject, "read", "r", "", 1e-6),
        id="statement",
    ),
]


class Clock:
    def __init__(self, now=1_000_000_020.0):
        self.now = now

    def __call__(self):
        return self.now


class Table:
    """Keeps rows as a database does: by process and start, each over the one before."""

    def __init__(self):
        self.rows = {}
        self.final = set()

    def put(self, rows):
        for row in rows:
            key = row.process, row.start
            assert key not in self.final or row.final, "What was final is written again."
            if row.final:
                assert self.rows[key] == row.data, "What is final was not written so."
                self.final.add(key)
            self.rows[key] = row.data

    def events(self):
        found = Counter()
        for data in self.rows.values():
            for name, _subject, times in data["events"]:
                found[name] += times
        return found


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counters(clock):
    return Counters(clock, ticks=clock)


def flush(counters, table):
    rows = counters.take()
    table.put(rows)
    return rows


def test_statements_are_counted_by_where_and_why_with_their_time(counters):
    for seconds in (0.001, 0.0025):
        counters.count_statement("main", "replica1", "read", "window", "", seconds)
    counters.count_statement("main", "default", "read", "window", "replica1", 0.5)
    counters.count_statement("main", "default", "write", "write", "", 0.25)
    (row,) = counters.take()
    assert sorted(row.data["statements"]) == [
        ("main", "default", "read", "window", "replica1", 1, 500_000),
        ("main", "default", "write", "write", "", 1, 250_000),
        ("main", "replica1", "read", "window", "", 2, 3_500),
    ]
    assert row.data["events"] == []


def test_events_are_counted_by_name_and_subject(counters):
    counters.count_event("pin_set")
    counters.count_event("token_rejected", "forged")
    counters.count_event("token_rejected", "forged")
    (row,) = counters.take()
    assert row.data["events"] == [("pin_set", "", 1), ("token_rejected", "forged", 2)]


def test_a_row_covers_a_whole_minute_of_utc(counters, clock):
    clock.now = 1_000_000_079.9
    counters.count_event("hit")
    (row,) = counters.take()
    assert (row.resolution, row.start) == (60, 1_000_000_020)
    clock.now = 1_000_000_080.0
    counters.count_event("hit")
    assert [(row.start, row.final) for row in counters.take()] == [
        (1_000_000_080, False),
        (1_000_000_020, True),
    ]


def test_a_row_says_all_that_was_counted_not_what_is_new(counters):
    table = Table()
    counters.count_event("hit")
    flush(counters, table)
    counters.count_event("hit")
    rows = flush(counters, table)
    assert rows[0].data["events"] == [("hit", "", 2)]
    assert table.events()["hit"] == 2


def test_nothing_is_taken_when_nothing_has_changed(counters):
    table = Table()
    counters.count_event("hit")
    flush(counters, table)
    assert flush(counters, table) == []
    counters.count_event("hit")
    flush(counters, table)
    assert [data["events"] for data in table.rows.values()] == [[("hit", "", 2)]]


def test_rows_that_failed_are_taken_again(counters):
    counters.count_event("hit")
    rows = counters.take()
    counters.failed(rows)
    assert counters.take() == rows


def test_what_is_counted_during_a_write_is_in_the_next(counters, clock):
    table = Table()
    counters.count_event("hit")
    rows = counters.take()
    counters.count_event("hit")
    clock.now += RESOLUTION
    table.put(rows)
    flush(counters, table)
    assert table.events()["hit"] == 2


def test_minutes_that_are_over_and_written_are_let_go(counters, clock):
    table = Table()
    for _minute in range(5):
        counters.count_event("hit")
        flush(counters, table)
        clock.now += RESOLUTION
    counters.count_event("hit")
    flush(counters, table)
    assert len(counters._buckets) <= 2
    assert table.events()["hit"] == 6


def test_counting_goes_on_in_a_minute_that_was_let_go(counters, clock):
    """The clock of a machine may be put back."""
    table = Table()
    counters.count_event("hit")
    flush(counters, table)
    clock.now += RESOLUTION
    assert [row.final for row in flush(counters, table)] == [True]
    assert flush(counters, table) == []
    clock.now -= RESOLUTION
    counters.count_event("hit")
    flush(counters, table)
    assert table.events()["hit"] == 2


@pytest.mark.parametrize("count", COUNT)
def test_counts_are_put_where_the_clock_says_also_when_it_was_put_back(counters, clock, count):
    table = Table()
    for step in (0, -1, 1, 1):
        clock.now += step * RESOLUTION
        count(counters)
    flush(counters, table)
    starts = Counter()
    for (_process, start), data in table.rows.items():
        starts[start - 1_000_000_020] += sum(entry[2] for entry in data["events"])
        starts[start - 1_000_000_020] += sum(entry[5] for entry in data["statements"])
    assert starts == {-60: 1, 0: 2, 60: 1}


@pytest.mark.parametrize("steps", [(-3, 1, 1, 1, 1), (-1, 1, -1, 1), (-1, -1, 2), (5, -9, 9, 1)])
def test_no_count_is_lost_when_the_clock_is_put_back(counters, clock, steps):
    table = Table()
    clock.now += 100 * RESOLUTION
    counters.count_event("hit")
    for step in steps:
        flush(counters, table)
        clock.now += step * RESOLUTION
        counters.count_event("hit")
    flush(counters, table)
    assert table.events()["hit"] == len(steps) + 1


def test_memory_is_bounded_and_nothing_lost_while_nothing_can_be_written(counters, clock):
    table = Table()
    for _minute in range(3 * MAX_BUCKETS):
        counters.count_event("hit")
        counters.count_statement("main", "default", "read", "pinned", "", 0.001)
        clock.now += RESOLUTION
    rows = flush(counters, table)
    assert len(rows) == MAX_BUCKETS
    assert table.events()["hit"] == 3 * MAX_BUCKETS
    assert sum(entry[5] for row in rows for entry in row.data["statements"]) == 3 * MAX_BUCKETS
    assert sum(entry[6] for row in rows for entry in row.data["statements"]) == 3000 * MAX_BUCKETS


def test_a_row_that_may_have_been_written_is_emptied_when_its_counts_move(counters, clock):
    """Writing failed, yet the rows are there: the answer was lost. They must not count twice."""
    table = Table()
    for _minute in range(MAX_BUCKETS):
        counters.count_event("hit")
        clock.now += RESOLUTION
    rows = counters.take()
    table.put(rows)
    counters.failed(rows)
    for _minute in range(MAX_BUCKETS):
        counters.count_event("hit")
        clock.now += RESOLUTION
    flush(counters, table)
    assert table.events()["hit"] == 2 * MAX_BUCKETS
    flush(counters, table)
    assert table.final == table.rows.keys()
    assert counters.take() == []
    assert counters._closed == []


def test_a_row_is_emptied_when_its_counts_move_while_it_is_being_written(counters, clock):
    table = Table()
    for _minute in range(MAX_BUCKETS):
        counters.count_event("hit")
        clock.now += RESOLUTION
    rows = counters.take()
    for _minute in range(MAX_BUCKETS):
        counters.count_event("hit")
        clock.now += RESOLUTION
    table.put(rows)
    flush(counters, table)
    assert table.events()["hit"] == 2 * MAX_BUCKETS


def test_each_process_and_each_reset_has_a_key_of_its_own(counters):
    other = Counters()
    counters.count_event("hit")
    other.count_event("hit")
    keys = {counters.take()[0].process, other.take()[0].process}
    counters.reset()
    assert counters.take() == []
    counters.count_event("hit")
    keys.add(counters.take()[0].process)
    assert len(keys) == 3
    assert all(len(key) == 32 for key in keys)


def test_nothing_is_counted_when_not_wanted(counters):
    counters.enabled = False
    counters.count_event("hit")
    counters.count_statement("main", "default", "read", "pinned", "", 0.001)
    assert counters.take() == []


@pytest.fixture
def hectic():
    """Have threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("count", COUNT)
def test_counts_are_exact_under_threads_while_another_writes(hectic, clock, counters, count):
    table = Table()
    threads, times = 16, 2_000
    go = threading.Barrier(threads + 1)
    failures = []

    def work():
        go.wait()
        try:
            for turn in range(times):
                count(counters, f"{turn}")
                if turn % 100 == 0:
                    clock.now += RESOLUTION
        except (KeyError, RuntimeError) as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    go.wait()
    while any(worker.is_alive() for worker in workers):
        flush(counters, table)
    for worker in workers:
        worker.join()
    flush(counters, table)
    assert not failures
    events = [entry[2] for data in table.rows.values() for entry in data["events"]]
    statements = [entry[5:] for data in table.rows.values() for entry in data["statements"]]
    assert sum(events) + sum(count for count, _time in statements) == threads * times
    assert all(count == microseconds for count, microseconds in statements)


def test_statements_that_wait_for_their_minute_are_bounded_where_nobody_takes_them(counters):
    for _turn in range(10 * MAX_PENDING):
        counters.count_statement("main", "default", "read", "pinned", "", 0.001)
    assert len(counters._pending) <= MAX_PENDING
    [row] = counters.take()
    assert row.data["statements"][0][5] == 10 * MAX_PENDING


def test_a_statement_is_counted_in_the_minute_in_which_it_ended(counters, clock):
    counters.count_statement("main", "default", "read", "pinned", "", 0.001)
    counters.count_statement("main", "default", "read", "pinned", "", 0.001)
    clock.now += RESOLUTION
    counters.count_event("hit")
    earlier, later = counters.take()
    assert earlier.data["statements"][0][5] == 2
    assert later.data["statements"] == []
    assert earlier.process == later.process


def test_a_statement_that_comes_after_its_minute_was_let_go_is_counted_in_the_next(counters, clock):
    clock.now = clock.now // RESOLUTION * RESOLUTION + RESOLUTION
    counters.count_event("hit")
    counters.count_statement("main", "default", "read", "pinned", "", 0.001, ended=clock.now - 0.5)
    [row] = counters.take()
    assert (row.start, row.data["statements"][0][5]) == (clock.now, 1)


def test_the_first_statement_says_that_there_is_something_to_count(counters):
    begun = []
    counters.begun = lambda: begun.append(True)
    counters.count_statement("main", "default", "read", "pinned", "", 0.001)
    assert begun == [True]
