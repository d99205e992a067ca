"""Part 3: what an executed statement costs on a real MariaDB server, with and without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median

from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.environment import ROOT, worker_environment
from benchmarks.parts import Run, Table
from benchmarks.statistics import percentile

LIMIT_SECONDS = 180
KINDS = {
    "cursor": "a cursor's SELECT by primary key: the hook",
    "orm": "`objects.get(pk=...)`: the decision and the hook",
}


def measure(run: Run) -> list[Table]:
    """Time both kinds."""
    turns, statements = (50, 10) if run.quick else (1500, 10)
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.workers.statement", str(turns), str(statements)],
        env=worker_environment(run.environment, CONTESTANTS[f"{OURS}:eventual"]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(result.stderr)
    rows = []
    for kind, pairs in json.loads(result.stdout).items():
        differences = [ours - plain for plain, ours in pairs]
        rows.append(
            {
                "what": KINDS[kind],
                "without": median(plain for plain, _ours in pairs),
                "with": median(ours for _plain, ours in pairs),
                "added": median(differences),
                "low": percentile(differences, 25),
                "high": percentile(differences, 75),
            }
        )
    return [
        Table(
            key="statement",
            title="Cost of a statement",
            text=(
                "Microseconds of a statement on a replica, over TCP on the loopback, in one process that"
                f" takes turns with and without this package ({turns} turns of {statements}). What it adds is"
                " the median of the differences of neighbouring turns, between their quartiles."
            ),
            columns={
                "what": "",
                "without": "without, µs",
                "with": "with, µs",
                "added": "added, µs",
                "low": "first quartile",
                "high": "third quartile",
            },
            formats=dict.fromkeys(("without", "with", "added", "low", "high"), "{:.1f}"),
            rows=rows,
        )
    ]
