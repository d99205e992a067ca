"""Counts survive the end of a process, and every kind of child: with real processes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest

from launcher.ports import free_port

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("counting_process.py")
NEVER = "3600"
"""Seconds between two flushes: only the end of the process writes."""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


@contextmanager
def running(end, database, flush_seconds=NEVER):
    """Start a process, and see to it that it is gone in the end."""
    command = [sys.executable, str(SCRIPT), end, str(database), flush_seconds]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def uvicorn(database, *options):
    """Run uvicorn; yields its port and the process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(SCRIPT.parent), f"--port={port}"]
    command += ["--lifespan=off", "--log-level=warning", *options, "counting_server:application"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "STATISTICS": str(database)}
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield port, process
        finally:
            process.terminate()


def errors_of(process):
    """Wait for the end of a process and return what it complained of."""
    _output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return errors


def run(end, database, flush_seconds=NEVER):
    with running(end, database, flush_seconds) as process:
        assert not errors_of(process)


def counted(database):
    """Return how often each event is in the table, and the number of processes that wrote."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT process, data FROM django_rwrouter_routingstatistics")
        rows = [(process, json.loads(data)) for process, data in rows]
    events = Counter()
    for _process, data in rows:
        for name, _subject, times in data["events"]:
            events[name] += times
    # The grand totals are nobody's: whoever writes merges now and then.
    return events, len({process for process, _data in rows if process})


@pytest.fixture(scope="module")
def empty_table(tmp_path_factory):
    database = tmp_path_factory.mktemp("statistics") / "empty.sqlite3"
    run("migrate", database)
    return database


@pytest.fixture
def database(empty_table, tmp_path):
    return shutil.copy(empty_table, tmp_path / "statistics.sqlite3")


@pytest.mark.parametrize(
    ("end", "hits", "processes"),
    [
        ("by-itself", 7, 1),
        ("never-serving", 7, 1),
        ("in-a-transaction", 7, 1),
        ("fork", 35, 2),
        ("fork-without-counting", 10, 1),
        ("multiprocessing-fork", 25, 3),
        ("multiprocessing-forkserver", 25, 3),
        ("multiprocessing-spawn", 25, 3),
    ],
)
def test_every_process_writes_what_it_counted_when_it_ends(database, end, hits, processes):
    run(end, database)
    events, writers = counted(database)
    assert events == {"hit": hits}
    assert writers == processes


def test_a_worker_that_is_asked_to_stop_writes_first(database):
    with running("by-sigterm", database) as worker:
        assert worker.stdout.readline() == "counted\n"
        assert counted(database)[0] == {}
        worker.send_signal(signal.SIGTERM)
        assert not errors_of(worker)
    assert counted(database) == ({"hit": 4000}, 1)


@pytest.mark.skipif(find_spec("uvicorn") is None, reason="needs uvicorn: pip install uvicorn")
@pytest.mark.parametrize("options", [[], ["--workers=2"]], ids=["alone", "two workers"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_writes_before_it_ends_by_its_signal(database, options, signum):
    with uvicorn(database, *options) as (port, server):
        deadline = time.monotonic() + 60
        answered = 0
        while answered < 50:
            try:
                with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as response:
                    assert response.read() == b"counted"
                answered += 1
            except OSError:
                assert time.monotonic() < deadline, "uvicorn does not answer"
                time.sleep(0.05)
        server.send_signal(signum)
        server.wait(timeout=30)
    assert counted(database)[0] == {"hit": 50}


def test_the_thread_writes_while_the_process_runs(database):
    run("killed", database, flush_seconds="0.05")
    assert counted(database) == ({"hit": 7}, 1)


def test_a_fork_amid_busy_threads_neither_hangs_nor_counts_twice(database):
    run("fork-amid-threads", database)
    assert counted(database)[0]["hit"] == 24


def test_a_test_run_writes_nothing_when_it_ends(database):
    run("testing", database)
    assert counted(database) == ({}, 0)


def test_a_command_before_the_first_migration_has_nothing_to_say(tmp_path):
    run("never-serving", tmp_path / "new.sqlite3")


def test_before_the_first_migration_nothing_fails(tmp_path):
    with running("by-itself", tmp_path / "new.sqlite3") as process:
        errors = errors_of(process)
    assert errors.count("\n") == 1, errors
    assert "run `manage.py migrate django_rwrouter`" in errors
