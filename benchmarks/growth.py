"""Part 6: what more replicas, clusters and processes cost.

Servers are few: many aliases lead to the same three replicas. What a process does for each alias is the same.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.consistency import statements_of_site
from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.environment import ROOT, worker_environment
from benchmarks.parts import Run, Table

REPLICAS: Sequence[int] = (1, 4, 16, 64)
CLUSTERS: Sequence[int] = (1, 4, 16)
PROCESSES: Sequence[int] = (1, 100, 500, 2000)
LIMIT_SECONDS = 120
SETTLE_SECONDS = 1.5
LEVEL = f"{OURS}:causal"


def measure(run: Run) -> list[Table]:
    """Measure all three."""
    replicas, clusters, processes = REPLICAS, CLUSTERS, PROCESSES
    if run.quick:
        replicas, clusters, processes = (1, 8), (2,), (1, 50)
    return [
        Table(
            key="growth-replicas",
            title="Growth: replicas",
            text=_TEXT.format(what="one cluster with so many replicas"),
            columns={"count": "replicas", **_COLUMNS},
            formats=_FORMATS,
            rows=[{"count": count, **_one_process(run, replicas=count)} for count in replicas],
        ),
        Table(
            key="growth-clusters",
            title="Growth: clusters",
            text=_TEXT.format(what="so many clusters with three replicas each"),
            columns={"count": "clusters", **_COLUMNS},
            formats=_FORMATS,
            rows=[{"count": count, **_one_process(run, replicas=3, clusters=count)} for count in clusters],
        ),
        Table(
            key="growth-processes",
            title="Growth: processes",
            text=(
                "A replica that is watched by the monitors of so many processes, once a second by each. They"
                " are simulated: one program holds as many connections and asks as many questions. SELECT is"
                " one by primary key of somebody else; all share one machine."
            ),
            columns={
                "count": "processes",
                "asked": "questions a second",
                "server_mb": "memory of the server, MB more",
                "p50": "SELECT p50, µs",
                "p99": "SELECT p99, µs",
            },
            formats={"asked": "{:,.0f}", "server_mb": "{:.1f}", "p50": "{:.0f}", "p99": "{:.0f}"},
            rows=[{"count": count, **_crowd(run, count)} for count in processes],
        ),
    ]


_TEXT = (
    "One process, {what}, level `causal`, with a client whose token has a position. A decision again is one"
    " that follows others in its request; the first of a request comes with the scope around it, the check of"
    " the token's signature and the draw. The monitor has its default interval of one second."
)
_COLUMNS = {
    "again_ns": "decision again, ns",
    "first_ns": "first of a request, ns",
    "memory_mb": "memory, MB",
    "more_mb": "of it ours, MB",
    "statements": "monitor: statements a second",
    "cpu": "monitor: % of a core",
}
_FORMATS = {
    "again_ns": "{:.0f}",
    "first_ns": "{:.0f}",
    "memory_mb": "{:.1f}",
    "more_mb": "{:.1f}",
    "statements": "{:.1f}",
    "cpu": "{:.2f}",
}


def _one_process(run: Run, *, replicas: int, clusters: int = 1) -> dict[str, Any]:
    seconds, loops = (1.0, 50) if run.quick else (5.0, 500)
    run.say(f"  {replicas} replicas, {clusters} clusters")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.workers.growth", str(loops)],
        env=worker_environment(
            run.environment,
            CONTESTANTS[LEVEL],
            BENCH_REPLICAS=str(replicas),
            BENCH_CLUSTERS=str(clusters),
        ),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            found = _answer(process)
            time.sleep(SETTLE_SECONDS)
            statements, used, started = statements_of_site(run.cluster), _cpu(process.pid), time.monotonic()
            time.sleep(seconds)
            used = _cpu(process.pid) - used
            lasted = time.monotonic() - started
            statements = statements_of_site(run.cluster) - statements
        finally:
            process.kill()
    return found | {
        "more_mb": found["memory_mb"] - found["bare_mb"],
        "statements": statements / lasted,
        "cpu": used / lasted * 100,
    }


def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout is not None  # noqa: S101
    ready, _, _ = select.select([process.stdout], [], [], LIMIT_SECONDS)
    line = process.stdout.readline() if ready else ""
    if not line:
        raise RuntimeError("The process of the growth part has not answered.")
    answer: dict[str, float] = json.loads(line)
    return answer


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _crowd(run: Run, processes: int) -> dict[str, Any]:
    run.say(f"  {processes} processes")
    replica = run.cluster.replicas[0]
    seconds = 2.0 if run.quick else 6.0
    result = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.workers.crowd"),
            *(replica.url(), str(replica.pid), str(processes), str(seconds)),
        ],
        env=worker_environment(run.environment, CONTESTANTS["none"]),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(result.stderr)
    found: dict[str, Any] = json.loads(result.stdout)
    return found
