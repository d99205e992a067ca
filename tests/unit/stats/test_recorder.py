"""The life of the statistics in one process: when they are written, and what a failure does."""

import logging
import threading
import time

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError

from django_rwrouter import process, stats
from django_rwrouter.databases.base import Busy
from django_rwrouter.stats import flusher, recorder
from tests.patience import until

REPLICAS = {"REPLICAS": ["replica1", "replica2"]}


class Keeper:
    """A backend that keeps the newest row of each process and minute."""

    rows = {}
    calls = []
    failure = None
    made = 0

    def __init__(self):
        Keeper.made += 1

    def write(self, process, rows):
        Keeper.calls.append(rows)
        if Keeper.failure is not None:
            raise Keeper.failure
        assert {row.process for row in rows} == {process}
        Keeper.rows.update({(process, row.start): row.data for row in rows})

    @classmethod
    def total(cls):
        return sum(times for data in cls.rows.values() for _, _, times in data["events"])


@pytest.fixture
def keeper(settings):
    settings.RWROUTER = {
        **REPLICAS,
        "STATS": {"BACKEND": f"{__name__}.Keeper", "FLUSH_SECONDS": 0.01},
    }
    Keeper.rows, Keeper.calls, Keeper.failure, Keeper.made = {}, [], None, 0
    stats.reset()
    yield Keeper
    stats.reset()


@pytest.fixture
def in_production(monkeypatch):
    """Behave as outside Django's test environment."""
    monkeypatch.setattr(process, "in_test_environment", lambda: False)
    yield
    stats.reset()
    for thread in threads():
        thread.join(10)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is put forward by hand: ``clock[0]`` is the time."""
    now = [1_000_000_020.0]
    monkeypatch.setattr(recorder._counters, "_clock", lambda: now[0])
    return now


def threads():
    return [each for each in threading.enumerate() if each.name == "rwrouter-statistics"]


def test_a_thread_writes_after_the_start(keeper, in_production):
    stats.start()
    stats.start()
    (thread,) = threads()
    assert thread.daemon
    stats.count_event("hit")
    until(lambda: keeper.total() == 1, "the count is written")
    stats.count_event("hit")
    until(lambda: keeper.total() == 2, "the next count is written")
    assert keeper.made == 1
    stats.reset()
    thread.join(10)
    assert not thread.is_alive()


def test_many_threads_start_one_flusher(keeper, in_production):
    go = threading.Barrier(20)

    def start():
        go.wait()
        stats.start()

    workers = [threading.Thread(target=start) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(threads()) == 1


def test_where_no_thread_can_be_started_the_end_of_the_process_writes(
    keeper, in_production, monkeypatch, caplog
):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stats.start()
    stats.start()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    stats.count_event("hit")
    recorder._flusher._at_exit()
    assert keeper.total() == 1


@pytest.mark.parametrize(("command", "registered"), [("migrate", []), ("sync_orders", [True])])
def test_a_command_that_prepares_the_site_writes_nothing(
    keeper, in_production, monkeypatch, command, registered
):
    at_exit = []
    monkeypatch.setattr("sys.argv", ["manage.py", command])
    monkeypatch.setattr(process, "call_at_exit", lambda _callback: at_exit.append(True))
    stats.count_event("hit")
    assert at_exit == registered


def test_nothing_is_started_in_djangos_test_environment(keeper):
    stats.start()
    assert threads() == []
    stats.count_event("hit")
    stats.flush()
    assert keeper.total() == 1


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param({**REPLICAS, "STATS": {"BACKEND": "off"}}, id="off"),
        pytest.param({}, id="no replica configured"),
    ],
)
def test_where_no_statistics_are_wanted_none_are_kept(settings, in_production, setting):
    settings.RWROUTER = setting
    stats.reset()
    stats.start()
    assert threads() == []
    stats.count_event("hit")
    stats.count_statement("default", "replica1", "read", "window", "", 0.001)
    assert recorder._counters.take() == []


def test_what_was_counted_before_statistics_were_switched_off_is_dropped(settings, caplog):
    settings.RWROUTER = {**REPLICAS, "STATS": {"BACKEND": "off"}}
    stats.reset()
    stats.count_event("hit")
    stats.flush()
    assert recorder._counters.take() == []
    assert caplog.records == []


def test_the_setting_is_read_again_when_it_changes(keeper, in_production, settings):
    stats.start()
    (thread,) = threads()
    settings.RWROUTER = {**REPLICAS, "STATS": {"BACKEND": "off"}}
    thread.join(10)
    stats.start()
    assert threads() == []
    settings.RWROUTER = {**REPLICAS, "STATS": {"BACKEND": f"{__name__}.Keeper"}}
    stats.start()
    assert len(threads()) == 1
    stats.count_event("hit")
    stats.flush()
    assert keeper.total() == 1


def test_a_repeated_flush_writes_nothing(keeper):
    stats.count_event("hit")
    stats.flush()
    stats.flush()
    assert len(keeper.calls) == 1
    assert keeper.total() == 1


def test_a_failing_backend_harms_nobody_and_loses_nothing(keeper, caplog):
    caplog.set_level(logging.INFO, "django_rwrouter")
    keeper.failure = ConnectionError("the primary is away")
    for _flush in range(5):
        stats.count_event("hit")
        stats.flush()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert not record.exc_info
    assert "ConnectionError('the primary is away')" in record.getMessage()
    assert "The counts are kept" in record.getMessage()
    keeper.failure = None
    stats.count_event("hit")
    stats.flush()
    assert keeper.total() == 6
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO"]
    keeper.failure = ConnectionError("away again")
    stats.count_event("hit")
    stats.flush()
    assert [each.levelname for each in caplog.records] == ["WARNING", "INFO", "WARNING"]


def test_a_missing_table_is_explained_in_one_line(keeper, caplog):
    keeper.failure = ImproperlyConfigured("run `manage.py migrate`")
    stats.count_event("hit")
    stats.flush()
    (record,) = caplog.records
    assert "could not be written: run `manage.py migrate`. The" in record.getMessage()


def test_a_database_that_refuses_is_named_by_its_code_alone(keeper, caplog):
    keeper.failure = OperationalError(1045, "Access denied for user 'shop'@'10.1.2.3' (using password: YES)")
    stats.count_event("hit")
    stats.flush()
    (record,) = caplog.records
    assert "could not be written: OperationalError 1045. The" in record.getMessage()
    assert "shop" not in record.getMessage()


def test_during_an_outage_one_row_is_tried_and_then_all(keeper, clock):
    keeper.failure = ConnectionError()
    for _minute in range(5):
        stats.count_event("hit")
        stats.flush()
        clock[0] += 60
    assert [len(rows) for rows in keeper.calls] == [1, 1, 1, 1, 1]
    assert len({rows[0].start for rows in keeper.calls}) == 1
    keeper.failure = None
    stats.flush()
    assert [len(rows) for rows in keeper.calls[5:] if not rows[0].final] == [1, 4]
    assert keeper.total() == 5


def test_rows_of_different_keys_are_written_apart(keeper, clock):
    """After the clock was put back, a process goes on under another key."""
    stats.count_event("hit")
    clock[0] -= 60
    stats.count_event("hit")
    stats.flush()
    assert len([rows for rows in keeper.calls if not rows[0].final]) == 2
    assert keeper.total() == 2


@pytest.mark.parametrize("backend", ["no.such.module", "os.getpid"])
def test_an_impossible_backend_is_reported_and_not_raised(settings, caplog, backend):
    settings.RWROUTER = {**REPLICAS, "STATS": {"BACKEND": backend}}
    stats.reset()
    stats.count_event("hit")
    stats.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"could not be written: RWROUTER['STATS'] has '{backend}', which" in caplog.text
    stats.reset()


def test_settings_may_change_while_a_flush_is_under_way(keeper, monkeypatch, settings):
    def write(self, process, rows):
        settings.RWROUTER = {**REPLICAS, "STATS": {"BACKEND": f"{__name__}.Keeper"}}
        original(self, process, rows)

    original = Keeper.write
    monkeypatch.setattr(Keeper, "write", write)
    stats.count_event("hit")
    stats.flush()
    assert keeper.total() == 1
    stats.flush()


def test_flushes_of_several_threads_follow_one_another(keeper, monkeypatch):
    """An older state must never be written over a newer one."""
    inside = threading.Semaphore(1)
    overlaps = []
    write = Keeper.write

    def slow_write(self, process, rows):
        if not inside.acquire(blocking=False):
            overlaps.append(rows)
        time.sleep(0.002)
        write(self, process, rows)
        inside.release()

    monkeypatch.setattr(Keeper, "write", slow_write)

    def work():
        for _turn in range(20):
            stats.count_event("hit")
            stats.flush()

    workers = [threading.Thread(target=work) for _ in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert overlaps == []
    assert keeper.total() == 100


def test_an_ending_process_waits_for_a_flush_only_so_long(keeper, monkeypatch):
    monkeypatch.setattr(flusher, "EXIT_PATIENCE", 0.01)
    stats.count_event("hit")
    with recorder._flusher.writing:
        recorder._flusher._at_exit()
    assert keeper.calls == []
    recorder._flusher._at_exit()
    assert keeper.total() == 1


def test_what_is_put_off_is_written_soon_and_nobody_is_told(keeper, in_production, settings, caplog):
    settings.RWROUTER["STATS"]["FLUSH_SECONDS"] = 0.01
    keeper.failure = Busy()
    stats.count_event("request")
    stats.start()
    until(lambda: len(keeper.calls) > 1, "it is tried again")
    keeper.failure = None
    until(lambda: keeper.total() == 1, "the event is written")
    assert not caplog.records


def test_what_is_put_off_at_the_end_is_tried_again(keeper, monkeypatch):
    stats.count_event("request")
    keeper.failure = Busy()
    monkeypatch.setattr(flusher.time, "sleep", lambda seconds: setattr(keeper, "failure", None))
    recorder._flusher._at_exit()
    assert keeper.total() == 1


def test_what_is_put_off_for_long_is_a_failure(keeper, monkeypatch, caplog):
    monkeypatch.setattr(flusher, "PUT_OFF_QUIETLY", 3)
    stats.count_event("request")
    keeper.failure = Busy()
    for _ in range(3):
        stats.flush()
    assert not caplog.records
    stats.flush()
    assert len(caplog.records) == 1
