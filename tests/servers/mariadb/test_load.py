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

USERS, PAIRS = 20, 400


@pytest.mark.parametrize(
    ("level", "more", "expected"),
    [
        ("window", [], {"stale reads by the writer": 0, "errors": 0}),
        ("window", ["--store=session"], {"stale reads by the writer": 0, "errors": 0}),
        ("eventual", [], {"stale reads by the writer": PAIRS, "errors": 0}),
    ],
    ids=["window", "window-session", "eventual"],
)
def test_nobody_misses_a_post_of_their_own(running, level, more, expected):
    command = [
        sys.executable,
        *("-m", "proofs", "consistency", "--db=mariadb", "--server=gunicorn", "--replicas=paused"),
        f"--users={USERS}",
        f"--pairs={PAIRS}",
        f"--level={level}",
        "--pin-seconds=60",  # The machine may be so busy that a read comes late.
    ]
    run = subprocess.run(
        [*command, *more],
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
    assert f"{USERS} users wrote and read back {PAIRS} posts" in run.stdout
    for what, count in expected.items():
        assert re.search(rf"^{what}: {count}$", run.stdout, re.MULTILINE)
