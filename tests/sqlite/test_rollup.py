"""Rows of processes become rows of all, and those become coarser: each count once, whatever happens."""

import random
from collections import Counter

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_rwrouter import stats
from django_rwrouter.stats import backends, queries, recorder
from django_rwrouter.stats.counters import Counters, Row
from django_rwrouter.stats.rollup import ABANDONED_AFTER, AT_ONCE, EVERY, LONGEST, SETTLED_AFTER, roll_up
from django_rwrouter.stats.table import RoutingStatistics, RoutingStatisticsQuerySet

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NOW = 1_700_000_040
"""A whole minute."""
HOUR, DAY = 3600, 86_400
FOREVER = 10**10


@pytest.fixture
def clock(monkeypatch):
    """The time of day: ``clock[0]``."""
    now = [NOW]
    monkeypatch.setattr("time.time", lambda: float(now[0]))
    return now


@pytest.fixture
def table(databases, clock):
    return RoutingStatistics.objects.on_primary()


def write(table, process, start, hits=1, *, final=True):
    data = {
        "statements": [("main", "replica1", "read", "window", "", hits, 100)],
        "events": [("hit", "", hits)],
    }
    rows = [Row(process=process, resolution=60, start=start, data=data)]
    table.put(rows)
    if final:
        table.finish(rows)


def stored(table):
    """Return the rows: process, resolution, start, hits."""
    return [
        (row.process, row.resolution, row.start, sum(times for _, _, times in row.data["events"]))
        for row in table.order_by("resolution", "start", "process")
    ]


def hits_since_ever():
    return queries.totals().events.get(("hit", ""), 0)


def hits_in_time(table):
    return sum(times for row in table.recorded(0) for _, _, times in row.data["events"])


def test_final_rows_of_a_minute_become_one_and_part_of_the_grand_total(table, clock):
    for process in "abc":
        write(table, process, NOW)
        write(table, process, NOW + 60, hits=10)
    clock[0] = NOW + SETTLED_AFTER
    assert roll_up(table, FOREVER) == 3
    assert stored(table) == [
        ("", 0, 0, 3),
        ("", 60, NOW, 3),
        *[(process, 60, NOW + 60, 10) for process in "abc"],
    ]
    assert table.get(resolution=60, process="").data["statements"] == [
        ["main", "replica1", "read", "window", "", 3, 300]
    ]
    assert hits_since_ever() == hits_in_time(table) == 33


def test_what_comes_later_is_added_to_the_merged_row(table, clock):
    write(table, "a", NOW)
    clock[0] = NOW + SETTLED_AFTER
    roll_up(table, FOREVER)
    write(table, "b", NOW, hits=5)
    clock[0] += EVERY
    assert roll_up(table, FOREVER) == 1
    assert stored(table) == [("", 0, 0, 6), ("", 60, NOW, 6)]


def test_rows_that_may_be_written_again_are_left_alone(table, clock):
    write(table, "a", NOW, final=False)
    clock[0] = NOW + ABANDONED_AFTER - 60
    assert roll_up(table, FOREVER) == 0
    assert hits_since_ever() == 1


def test_rows_of_a_process_that_was_not_heard_of_for_a_day_are_merged_as_they_are(table, clock):
    write(table, "a", NOW, hits=3, final=False)
    clock[0] = NOW + ABANDONED_AFTER
    assert roll_up(table, FOREVER) == 1
    assert [row[1] for row in stored(table)] == [0, 600]
    assert hits_since_ever() == 3


def test_an_old_minute_that_was_written_just_now_is_not_abandoned(table, clock):
    """After an outage of the primary a process brings what it had kept."""
    write(table, "a", NOW - 3 * DAY, final=False)
    assert roll_up(table, FOREVER) == 0


def test_a_row_of_a_version_that_does_not_say_when_it_wrote_is_not_abandoned(table, clock):
    write(table, "a", NOW, final=False)
    table.update(written=0)
    assert roll_up(table, FOREVER) == 0


def test_the_database_fills_in_the_new_columns_for_processes_of_the_version_before(table):
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_rwrouter_routingstatistics (process, resolution, start, data)"
            " VALUES ('a', 60, 60, '{}')"
        )
    row = RoutingStatistics.objects.using("default").get()
    assert (row.written, row.final) == (0, False)


def test_a_final_row_that_is_gone_is_not_made_again(table, clock):
    """The process never learned that it had said so, and says it once more."""
    write(table, "a", NOW)
    clock[0] = NOW + SETTLED_AFTER
    roll_up(table, FOREVER)
    row = Row(process="a", resolution=60, start=NOW, data={"statements": [], "events": []}, final=True)
    backends.DatabaseBackend().write("a", [row])
    assert stored(table) == [("", 0, 0, 1), ("", 60, NOW, 1)]


def test_minutes_become_ten_minutes_hours_and_days(table, clock):
    begin = NOW // DAY * DAY
    for minute in range(3 * 60):
        write(table, "a", begin + 60 * minute)
    resolutions = {}
    for age in (180, 6 * HOUR, 2 * DAY, 10 * DAY):
        clock[0] = begin + 3 * HOUR + age
        roll_up(table, FOREVER)
        resolutions[age] = Counter(row[1] for row in stored(table))
        assert hits_since_ever() == hits_in_time(table) == 180
    assert resolutions == {
        180: {0: 1, 60: 120, 600: 6},
        6 * HOUR: {0: 1, 600: 18},
        2 * DAY: {0: 1, 3600: 3},
        10 * DAY: {0: 1, 86_400: 1},
    }


def test_what_is_too_old_goes_and_is_still_in_the_grand_total(table, clock):
    write(table, "a", NOW)
    clock[0] = NOW + HOUR
    roll_up(table, 2 * DAY)
    write(table, "b", NOW - 3 * DAY, hits=5)
    clock[0] += HOUR
    roll_up(table, 2 * DAY)
    assert [row[1:] for row in stored(table)] == [(0, 0, 6), (60, NOW, 1)]
    clock[0] = NOW + 3 * DAY
    roll_up(table, 2 * DAY)
    assert stored(table) == [("", 0, 0, 6)]
    assert hits_since_ever() == 6


def test_one_process_at_a_time_and_not_more_often_than_needed(table, clock):
    write(table, "a", NOW)
    clock[0] = NOW + SETTLED_AFTER
    assert roll_up(table, FOREVER) == 1
    write(table, "b", NOW)
    clock[0] += EVERY - 1
    with CaptureQueriesContext(connection) as queries:
        assert roll_up(table, FOREVER) == 0
    assert len(queries) == 1
    clock[0] += 1
    assert roll_up(table, FOREVER) == 1


def test_a_clock_that_was_ahead_does_not_stop_the_others(table, clock):
    clock[0] = NOW + 400 * DAY
    roll_up(table, FOREVER)
    write(table, "a", NOW)
    clock[0] = NOW + HOUR
    assert roll_up(table, FOREVER) == 1


def test_who_loses_the_race_for_the_lock_merges_nothing(table, clock, monkeypatch):
    """Another process takes its turn between the look and the lock."""
    write(table, "a", NOW)
    clock[0] = NOW + SETTLED_AFTER
    first = RoutingStatisticsQuerySet.first

    def slow(self):
        found = first(self)
        monkeypatch.undo()
        monkeypatch.setattr("time.time", lambda: float(clock[0]))
        assert roll_up(table, FOREVER) == 1
        return found

    monkeypatch.setattr(RoutingStatisticsQuerySet, "first", slow)
    assert roll_up(table, FOREVER) == 0
    assert hits_since_ever() == 1


@pytest.mark.parametrize("step", ["put", "delete", "prune"])
def test_a_crash_in_the_middle_changes_nothing(table, clock, monkeypatch, step):
    write(table, "a", NOW)
    write(table, "b", NOW)
    clock[0] = NOW + SETTLED_AFTER
    before = stored(table)

    def crash(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RoutingStatisticsQuerySet, step, crash)
        with pytest.raises(KeyboardInterrupt):
            roll_up(table, FOREVER)
    if step != "prune":
        assert stored(table) == [("", 0, 0, 0), *before]
    clock[0] += EVERY
    roll_up(table, FOREVER)
    assert stored(table) == [("", 0, 0, 2), ("", 60, NOW, 2)]


def test_rows_that_vanish_while_they_are_merged_undo_it(table, clock, monkeypatch):
    write(table, "a", NOW)
    clock[0] = NOW + SETTLED_AFTER
    put = RoutingStatisticsQuerySet.put

    def put_and_lose(self, rows):
        put(self, rows)
        table.filter(process="a").delete()

    monkeypatch.setattr(RoutingStatisticsQuerySet, "put", put_and_lose)
    with pytest.raises(DatabaseError, match="Of 1 rows to merge, 1 were gone"):
        roll_up(table, FOREVER)
    assert hits_since_ever() == 1


def test_a_backlog_is_merged_in_steps_of_bounded_length(table, clock):
    data = {"statements": [], "events": [("hit", "", 1)]}
    for process in range(3):
        table.put(
            [Row(process=str(process), resolution=60, start=NOW - 60 * n, data=data) for n in range(AT_ONCE)]
        )
    table.update(final=True)
    clock[0] = NOW + HOUR
    with CaptureQueriesContext(connection) as queries:
        assert roll_up(table, FOREVER) >= 3 * AT_ONCE
    assert sum(query["sql"] == "BEGIN" for query in queries) < LONGEST
    deleted = [query["sql"].count(",") + 1 for query in queries if query["sql"].startswith("DELETE")]
    assert max(deleted) <= 2 * AT_ONCE
    assert hits_since_ever() == hits_in_time(table) == 3 * AT_ONCE


def test_the_backend_merges_now_and_then_and_never_in_a_transaction_of_others(table, clock, monkeypatch):
    backend = backends.DatabaseBackend()
    fresh = Row(process="b", resolution=60, start=NOW, data={"statements": [], "events": []})
    write(table, "a", NOW - HOUR)
    backend.write("b", [fresh])
    assert ("a", 60, NOW - HOUR, 1) in stored(table)
    monkeypatch.setattr(backend, "_roll_up_at", 0.0)
    with transaction.atomic():
        backend.write("b", [fresh])
    assert ("a", 60, NOW - HOUR, 1) in stored(table)
    backend.write("b", [fresh])
    assert ("", 60, NOW - HOUR, 1) in stored(table)
    assert backend._roll_up_at > 0


def test_processes_take_turns_from_the_start():
    turns = {backends.DatabaseBackend()._roll_up_at for _ in range(20)}
    assert len(turns) == 20


def test_what_cannot_be_merged_is_no_reason_not_to_write(table, clock, monkeypatch, caplog):
    def refuse(*_arguments, **_more):
        raise DatabaseError("deadlock")

    monkeypatch.setattr("django_rwrouter.stats.rollup.roll_up", refuse)
    backend = backends.DatabaseBackend()
    for turn in range(5):
        backend._roll_up_at = 0.0
        row = Row(
            process="a", resolution=60, start=NOW, data={"statements": [], "events": [("hit", "", turn)]}
        )
        backend.write("a", [row])
    assert hits_since_ever() == 4
    # Once it happens again and again, it is said once.
    assert [record.levelname for record in caplog.records if record.levelname != "DEBUG"] == ["WARNING"]


class Process:
    """A process of the simulation: it counts, writes with or without an answer, and may be killed."""

    def __init__(self, clock):
        self.counters = Counters(lambda: clock[0], ticks=lambda: clock[0])
        self.counted = 0
        self.rows = {}

    def count(self):
        self.counters.count_event("hit")
        self.counted += 1

    def flush(self, table, outcome, *, ending=False):
        for _turn in range(2):
            rows = self.counters.take(ending=ending)
            for final in (False, True):
                group = [row for row in rows if row.final is final]
                if not group:
                    continue
                if outcome == "lost":
                    self.counters.failed(group[:1], unsent=group[1:])
                    continue
                if final:
                    table.finish(group)
                else:
                    table.put(group)
                    for row in group:
                        self.rows[row.process, row.start] = sum(n for *_, n in row.data["events"])
                if outcome == "no answer":
                    self.counters.failed(group)

    def expected(self, *, killed):
        return sum(self.rows.values()) if killed else self.counted


@pytest.mark.parametrize("seed", range(8))
def test_each_count_is_there_once_whatever_happens(table, clock, seed):
    """Processes that count, write, lose the answer, are cut off, end, are killed; and anybody merges."""
    chance = random.Random(seed)
    alive, expected = [Process(clock) for _ in range(3)], 0
    for _step in range(250):
        process = chance.choice(alive)
        for _ in range(chance.randrange(3)):
            process.count()
        event = chance.choices(
            ["written", "no answer", "lost", "roll up", "time", "end", "kill"], [8, 3, 3, 8, 8, 1, 1]
        )[0]
        if event in {"written", "no answer", "lost"}:
            process.flush(table, event)
        elif event == "roll up":
            roll_up(table, FOREVER)
            assert hits_in_time(table) == hits_since_ever()
        elif event == "time":
            clock[0] += chance.choice([10, 60, 600, 4 * HOUR])
        else:
            if event == "end":
                process.flush(table, "written", ending=True)
                assert process.expected(killed=True) == process.counted
            expected += process.expected(killed=True)
            alive[alive.index(process)] = Process(clock)
        for each in alive:  # Nobody is cut off for a day here.
            if chance.random() < 0.1:
                each.flush(table, "written")
    for process in alive:
        process.flush(table, "written", ending=True)
        expected += process.counted
    assert hits_in_time(table) == hits_since_ever() == expected
    clock[0] += 2 * ABANDONED_AFTER
    roll_up(table, FOREVER)
    assert {row[0] for row in stored(table)} == {""}
    assert hits_in_time(table) == hits_since_ever() == expected


@pytest.mark.parametrize(("first", "missing"), [("no answer", 0), ("lost", 1)])
def test_a_process_that_was_cut_off_for_a_day_counts_nothing_twice(table, clock, first, missing):
    """It lets go the one row that it tried again and again, as it may have been written and merged since."""
    process = Process(clock)
    process.count()
    process.flush(table, first)
    for _minute in range(30 * 60):
        clock[0] += 60
        process.count()
        process.flush(table, "lost")
    roll_up(table, FOREVER)
    assert hits_since_ever() == 1 - missing
    process.flush(table, "written")
    assert hits_since_ever() == process.counted - missing
    process.flush(table, "written", ending=True)
    clock[0] += DAY
    roll_up(table, FOREVER)
    assert {row[0] for row in stored(table)} == {""}
    assert hits_in_time(table) == hits_since_ever() == process.counted - missing


def test_statistics_flushed_by_a_process_are_merged_when_their_minute_is_over(table, clock, monkeypatch):
    monkeypatch.setattr(recorder._counters, "_clock", lambda: clock[0])
    stats.count_event("hit")
    stats.flush()
    assert not RoutingStatistics.objects.using("default").get().final
    clock[0] += 60
    stats.flush()
    assert RoutingStatistics.objects.using("default").get().final
    clock[0] += SETTLED_AFTER
    assert roll_up(table, FOREVER) == 1
    assert hits_since_ever() == 1
