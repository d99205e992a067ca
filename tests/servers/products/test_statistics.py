"""Statistics of many processes on a real primary: written, merged and read at once."""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.db import connections

from django_rwrouter.stats import queries
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.rollup import ABANDONED_AFTER, roll_up
from django_rwrouter.stats.table import RoutingStatistics

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("merging_process.py")
FOREVER = 10**10
SPEED = 900
"""How fast the time of the processes runs: minutes pass in a tenth of a second or less."""


class Process:
    """One that counts, and writes what it has to say to a file."""

    def __init__(self, work, begin, isolation, said):
        known = connections["default"].settings_dict
        keys = ("ENGINE", "HOST", "PORT", "NAME", "USER", "PASSWORD", "OPTIONS")
        database = {key: known[key] for key in keys} | {"isolation": isolation}
        self.said = said
        with said.open("w") as file:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "ignore", SCRIPT, json.dumps(database), work, str(begin), str(SPEED)],
                env={"PYTHONPATH": str(ROOT)},
                stdout=file,
            )

    def lines(self):
        return self.said.read_text().splitlines()

    def wait_for(self, line):
        deadline = time.monotonic() + 60
        while line not in self.lines():
            assert time.monotonic() < deadline, self.lines()
            time.sleep(0.02)

    def end(self, signum):
        self.popen.send_signal(signum)
        self.popen.wait(60)


@pytest.fixture
def table(cluster):
    RoutingStatistics.objects.using("default").delete()
    return RoutingStatistics.objects.on_primary()


def hits_since_ever():
    return queries.totals().events.get(("hit", ""), 0)


def hits_in_time(table):
    events = [event for row in table.recorded(0) for event in row.data["events"]]
    return sum(times for name, _, times in events if name == "hit")


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_sums_stay_exact_while_all_merge_at_once_and_some_are_killed(table, isolation, tmp_path):
    chance, began = random.Random(5), time.time()
    processes, totals, killed = [], [], 0

    def start():
        process = Process("count", began, isolation, tmp_path / str(len(processes)))
        processes.append(process)
        stack.callback(process.end, signal.SIGKILL)
        return process

    with ExitStack() as stack:
        alive = [start() for _ in range(4)]
        for turn in range(4):
            for process in alive:
                process.wait_for("hit")
            time.sleep(0.3)
            totals.append(hits_since_ever())
            victim = alive.pop(chance.randrange(len(alive)))
            victim.end(signal.SIGKILL if turn % 2 else signal.SIGTERM)
            killed += turn % 2
            alive.append(start())
        for process in alive:
            process.wait_for("hit")
            process.end(signal.SIGTERM)
    lines = [line for process in processes for line in process.lines()]
    assert set(lines) <= {"hit", "merging failed"}, "Writing must not suffer from merging."
    # Of one that was killed, the last hit may be written without that it could say so.
    hits = lines.count("hit")
    assert hits <= hits_since_ever() <= hits + killed
    assert hits_in_time(table) == hits_since_ever()
    assert totals == sorted(totals)
    assert table.filter(process="").exists()
    # Later all is merged; what the killed ones left behind too.
    total = hits_since_ever()
    later = int(began + (time.time() - began) * SPEED) + ABANDONED_AFTER + 7200
    while roll_up(table, FOREVER, later):
        later += 60
    assert not table.exclude(process="").exists()
    assert hits_in_time(table) == hits_since_ever() == total


def test_who_is_killed_amid_merging_has_changed_nothing_and_holds_no_lock(table, tmp_path):
    begin = int(time.time()) // 60 * 60 - 3600
    data = {"statements": [], "events": [("hit", "", 1)]}
    rows = [Row(process=process, resolution=60, start=begin, data=data) for process in "abc"]
    table.put(rows)
    table.finish(rows)
    process = Process("stop amid", time.time(), "read committed", tmp_path / "said")
    try:
        process.wait_for("amid")
        # One sees either all of it or nothing.
        assert hits_in_time(table) == hits_since_ever() == 3
        process.end(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while table.exclude(process="").filter(start=begin).exists():
            assert time.monotonic() < deadline, "nobody else could merge"
            roll_up(table, FOREVER)
    finally:
        process.end(signal.SIGKILL)
    assert hits_in_time(table) == hits_since_ever() == 3
