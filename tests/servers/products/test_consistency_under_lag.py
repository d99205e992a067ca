"""Many users write and read back at once while replicas are paused, delayed and resumed at random.

This is the short form; ``python -m proofs consistency`` is the long one, whose report is in proofs/reports.
"""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.servers.product import on

ROOT = Path(__file__).resolve().parents[3]
USERS, WORKERS = 50, 2
PAIRS = {"gunicorn": 600, "uvicorn": 300}
"""Under ASGI each request opens connections of its own, which takes its time."""
LEVELS = {"gunicorn": ["causal", "strong", "sync", "eventual"], "uvicorn": ["causal", "strong", "eventual"]}


def needed(database):
    """Skip where the database cannot be had here; the reason names it."""
    pytest.importorskip({"postgresql": "psycopg"}.get(database, "MySQLdb"))


@pytest.mark.timeout(600)  # The first of them runs all levels.
@pytest.mark.parametrize("database", on("mariadb", "mysql", "postgresql"))
@pytest.mark.parametrize("level", LEVELS["gunicorn"])
def test_nobody_misses_what_was_written(database, level):
    judge(database, "gunicorn", level)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", on("mariadb", "postgresql"))
@pytest.mark.parametrize("level", LEVELS["uvicorn"])
def test_nobody_misses_what_was_written_on_the_event_loop(database, level):
    pytest.importorskip("uvicorn")
    judge(database, "uvicorn", level)


@cache
def write_and_read_back(database, server):
    """Run the proof on one cluster; return what it printed of each level."""
    needed(database)
    command = [sys.executable, "-m", "proofs", "consistency", f"--db={database}", f"--server={server}"]
    command += [
        "--level",
        *LEVELS[server],
        f"--users={USERS}",
        f"--pairs={PAIRS[server]}",
        f"--workers={WORKERS}",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=540,
        check=False,
    )
    print(run.stdout)
    if "There is no mysql" in run.stdout:
        pytest.skip("MySQL cannot be had here.")
    parts = re.split(r"^level (\w+): ", run.stdout, flags=re.MULTILINE)[1:]
    summaries = dict(zip(parts[::2], parts[1::2], strict=True))
    assert summaries.keys() == set(LEVELS[server]), run.stdout
    return summaries


def judge(database, server, level):
    summary = write_and_read_back(database, server)[level]
    print(summary)
    assert summary.startswith(f"{USERS} users wrote and read back {PAIRS[server]} posts")
    assert "\nerrors: 0\n" in summary
    reader = "another user" if level == "strong" else "the writer"
    [stale] = re.findall(rf"^stale reads by {reader}: (\d+)$", summary, re.MULTILINE)
    assert (int(stale) > 0) == (level == "eventual")
    assert int(re.findall(r"replicas paused: (\d+) times", summary)[0]) > 0
