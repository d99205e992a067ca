r"""Many users write and read back at once, over HTTP, while no replica applies anything.

This is the short form. In full (a minute or two):

    python -m proofs consistency --db mariadb --server gunicorn --replicas paused --users 100 --pairs 10000 \
        --level window eventual

It exits with 0 if nobody missed a post of their own under ``window``, somebody did under ``eventual``, and
nobody met an error.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

USERS, PAIRS, WORKERS = 20, 400, 2


@pytest.mark.parametrize(
    ("store", "stale"),
    [("cookie", {"window": 0, "eventual": PAIRS}), ("session", {"window": 0})],
    ids=["cookie", "session"],
)
def test_nobody_misses_a_post_of_their_own(running, store, stale):
    """Under ``window``; under ``eventual`` everybody does."""
    command = [sys.executable, "-m", "proofs", "consistency", "--db=mariadb", "--server=gunicorn"]
    command += ["--replicas=paused", f"--store={store}", "--level", *stale]
    command += [f"--users={USERS}", f"--pairs={PAIRS}", f"--workers={WORKERS}"]
    command.append("--pin-seconds=60")  # The machine may be so busy that a read comes late.
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    print(run.stdout)
    assert run.returncode == 0

    def lines(pattern):
        return re.findall(pattern, run.stdout, re.MULTILINE)

    summaries = [(level, f"{USERS} users wrote and read back {PAIRS} posts") for level in stale]
    assert lines(r"^level (\w+): (.*)$") == summaries
    assert lines(r"^stale reads by the writer: (\d+)$") == [str(count) for count in stale.values()]
    assert lines(r"^errors: (\d+)$") == ["0"] * len(stale)
