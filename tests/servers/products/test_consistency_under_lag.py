"""Many users write and read back at once while replicas are paused, delayed and resumed at random.

This is the short form; ``python -m proofs consistency`` is the long one, whose report is in proofs/reports.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.product import on

ROOT = Path(__file__).resolve().parents[3]
USERS, PAIRS = 50, 600


def needed(database):
    """Skip where the database cannot be had here; the reason names it."""
    pytest.importorskip({"postgresql": "psycopg"}.get(database, "MySQLdb"))


@pytest.mark.parametrize("database", on("mariadb", "mysql", "postgresql"))
@pytest.mark.parametrize("level", ["causal", "strong", "sync", "eventual"])
def test_nobody_misses_what_was_written(database, level):
    write_and_read_back(database, level, "gunicorn")


@pytest.mark.parametrize("database", on("mariadb", "postgresql"))
@pytest.mark.parametrize("level", ["causal", "strong", "eventual"])
def test_nobody_misses_what_was_written_on_the_event_loop(database, level):
    pytest.importorskip("uvicorn")
    write_and_read_back(database, level, "uvicorn")


def write_and_read_back(database, level, server):
    needed(database)
    command = [sys.executable, "-m", "proofs", "consistency", f"--db={database}", f"--level={level}"]
    command += [f"--server={server}"]
    command += [f"--users={USERS}", f"--pairs={PAIRS}"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    print(run.stdout)
    if "There is no mysql" in run.stdout:
        pytest.skip("MySQL cannot be had here.")
    assert run.returncode == 0, run.stdout
    assert f"{USERS} users wrote and read back {PAIRS} posts" in run.stdout
    reader = "another user" if level == "strong" else "the writer"
    [stale] = re.findall(rf"^stale reads by {reader}: (\d+)$", run.stdout, re.MULTILINE)
    assert (int(stale) > 0) == (level == "eventual")
    assert int(re.findall(r"replicas paused: (\d+) times", run.stdout)[0]) > 0
