"""The short form of ``python -m proofs walk``, in a process that has a clock and settings of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def walk(*arguments):
    command = [sys.executable, "-m", "proofs", "walk", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_client_misses_its_own_write():
    done = walk("--requests=1500")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failures: 0." in done.stdout


def test_at_eventual_it_finds_missed_writes():
    """So the test above can fail."""
    done = walk("--requests=300", "--level=eventual")
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line for line in done.stdout.splitlines() if line.startswith("| eventual |")]
    assert int(row.split("|")[-2]) > 0
