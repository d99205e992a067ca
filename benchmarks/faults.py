"""Part 5: what users notice when replicas fail, under the load of the consistency part."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.consistency import THREADS, WORKERS, site_environment
from benchmarks.contestants import BASELINE, CONTESTANTS, OURS
from benchmarks.parts import Run, Table
from benchmarks.statistics import percentile, share
from benchmarks.users import Seen, items_load
from launcher.ports import free_port
from proofs.faults import FAULTS, Stage
from web_server import web_server

WHO = (BASELINE, "django-replicated", f"{OURS}:window", f"{OURS}:causal")
USERS = 30
WRITES = 0.05
FROM, TO = 0.25, 0.75
"""The fault is there in this part of the run."""
HEAL_SECONDS = 60.0


HAPPENINGS = {
    "one replica killed": ("kill", 1),
    "one replica frozen": ("freeze", 1),
    "all replicas killed": ("kill", 3),
}
"""The fault, and how many replicas it hits."""


def measure(run: Run) -> list[Table]:
    """Let every contestant go through every fault."""
    seconds, rate = (4.0, 50.0) if run.quick else (8.0, 120.0)
    titles = list(HAPPENINGS)[: 1 if run.quick else None]
    rows = []
    for key in WHO:
        if run.verdicts[key].router or run.verdicts[key].middleware:
            continue
        for number, title in enumerate(titles, start=1):
            run.say(f"  {key}: {title}")
            seen = _suffer(run, key, title, seconds, rate, number)
            rows.append({"fault": title, **_row(key, seen)})
    rows.sort(key=lambda row: titles.index(row["fault"]))
    return [
        Table(
            key="faults",
            title="Keep serving",
            text=(
                f"A steady load of {rate:.0f} requests a second by {USERS} users for {seconds:.0f} s, of"
                " which the second and third quarter are spent with the fault. All contestants have the same"
                " time-outs (2 s to connect, 5 s to read). Requests that were not answered are in the errors."
            ),
            columns={
                "fault": "",
                "who": "",
                "requests": "answered",
                "errors": "errors",
                "failed": "errors, %",
                "stale": "stale reads of own writes",
                "p50": "p50, ms",
                "p99": "p99, ms",
                "slowest": "slowest, s",
                "kinds": "errors by kind",
            },
            formats={
                "requests": "{:,}",
                "failed": "{:.2f}",
                "p50": "{:.1f}",
                "p99": "{:.1f}",
                "slowest": "{:.2f}",
            },
            rows=rows,
        )
    ]


def _suffer(run: Run, key: str, title: str, seconds: float, rate: float, number: int) -> Seen:
    port = free_port()
    fault, count = HAPPENINGS[title]
    stage = Stage(database="mariadb", cluster=run.cluster)
    load = items_load(port, users=USERS, rate=rate, writes=WRITES, seed=number)
    with (
        tempfile.TemporaryDirectory() as folder,
        web_server(
            site_environment(run, key),
            port,
            server="gunicorn",
            workers=WORKERS,
            threads=THREADS,
            log=Path(folder) / "log",
        ),
    ):
        try:
            with load.running():
                end = time.monotonic() + seconds
                time.sleep(seconds * FROM)
                with FAULTS[fault].make(stage, run.cluster.replicas[:count]):
                    time.sleep(seconds * (TO - FROM))
                time.sleep(max(0.0, end - time.monotonic()))
        finally:
            run.cluster.heal(HEAL_SECONDS)
    return Seen(load.requests)


def _row(key: str, seen: Seen) -> dict[str, Any]:
    times = [*seen.read_seconds, *seen.write_seconds]
    errors = seen.errors.total()
    p50, p99 = percentile(times, 50), percentile(times, 99)
    return {
        "who": CONTESTANTS[key].title,
        "requests": seen.answered,
        "errors": errors,
        "failed": share(errors, errors + seen.answered),
        "stale": seen.stale_own,
        "p50": None if p50 is None else p50 * 1000,
        "p99": None if p99 is None else p99 * 1000,
        "slowest": max(times, default=None),
        "kinds": ", ".join(f"{kind}: {count}" for kind, count in seen.errors.most_common(3)),
    }
