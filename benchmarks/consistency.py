"""Part 4: stale reads and the primary's share of the reading, on a real cluster under real lag."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, LEVELS, OURS
from benchmarks.environment import worker_environment
from benchmarks.parts import Run, Table
from benchmarks.recording import Recording, recorded
from benchmarks.statistics import per_million, percentile, share
from benchmarks.users import Seen, items_load, together
from launcher.ports import free_port
from proofs.faults import Intensity, disturbed
from proofs.oracle import fewest_on_primary
from web_server import web_server

WORKERS, THREADS = 4, 4
WHO = (
    "none",
    *(f"{OURS}:{level}" for level in LEVELS),
    "django-multidb-router",
    "django-replicated",
    "rails-window",
)
PAUSES = Intensity((4, 6, 0), 0.6)
"""Replicas stop to replay for up to 0.6 s, each for itself, more often than not."""
CONDITIONS = ("healthy", "one delayed 1 s", "all delayed 1 s", "paused at random")


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of the load."""

    condition: str
    writes: float
    """Part of the requests that write."""
    users: int


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    cells: Sequence[Cell]
    seconds: float
    rate: float
    """Requests a second, of all users together."""
    who: Sequence[str]


@dataclass(slots=True)
class Measured:
    """What came of a cell."""

    seen: Seen
    oracle: int
    """Reads that no replica could have answered with what their own client had written."""
    strong_oracle: int
    """The same with what anybody had written."""
    statements: int
    """What the servers were asked by the site."""


QUICK = Scale(
    cells=[Cell("healthy", 0.2, 10), Cell("all delayed 1 s", 0.2, 10)],
    seconds=2.0,
    rate=60.0,
    who=["none", f"{OURS}:causal", "rails-window"],
)
FULL = Scale(
    cells=[
        *(Cell(condition, writes, 50) for condition in CONDITIONS for writes in (0.05, 0.2)),
        *(Cell("healthy", 0.05, users) for users in (1, 200)),
    ],
    seconds=4.0,
    rate=200.0,
    who=WHO,
)


def measure(run: Run) -> list[Table]:
    """Let every contestant serve all cells."""
    scale = QUICK if run.quick else FULL
    results: dict[str, dict[Cell, Measured]] = {}
    for key in scale.who:
        if run.verdicts[key].router or run.verdicts[key].middleware:
            continue
        run.say(f"  {key}")
        results[key] = _serve(run, key, scale)
    measured = {cell.condition for cell in scale.cells}
    tables = [_table(results, condition) for condition in CONDITIONS if condition in measured]
    return [_overview(results), *tables]


def _serve(run: Run, key: str, scale: Scale) -> dict[Cell, Measured]:
    environment = site_environment(run, key)
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        with (
            recorded(run.cluster, Path(folder)) as recording,
            web_server(
                environment,
                port,
                server="gunicorn",
                workers=WORKERS,
                threads=THREADS,
                log=Path(folder) / "log",
            ),
        ):
            for number, cell in enumerate(scale.cells):
                run.cluster.wait_all(30.0)
                with _held_up(run.cluster, cell.condition):
                    measured[cell] = _one_cell(run.cluster, recording, port, cell, scale, number)
    return measured


def site_environment(run: Run, key: str) -> dict[str, str]:
    """Return the environment of a contestant's site."""
    return worker_environment(run.environment, CONTESTANTS[key])


def _one_cell(
    cluster: Any, recording: Recording, port: int, cell: Cell, scale: Scale, number: int
) -> Measured:
    load = items_load(port, users=cell.users, rate=scale.rate, writes=cell.writes, seed=number)
    before = statements_of_site(cluster)
    with load.running():
        time.sleep(scale.seconds)
    seen = Seen(load.requests)
    statements = statements_of_site(cluster) - before
    replays = recording.replays()
    return Measured(
        seen=seen,
        oracle=fewest_on_primary(seen.reads, seen.writes, replays),
        strong_oracle=fewest_on_primary(seen.reads, seen.writes, replays, of_all=True),
        statements=statements,
    )


def statements_of_site(cluster: Any) -> int:
    """Return how many statements the application's user has sent to all servers since they count."""
    total = 0
    for server in cluster.servers:
        # All users but administrators, who are this benchmark itself, and the replicas.
        rows = server.sql(
            "SET GLOBAL userstat = 1; SELECT SELECT_COMMANDS + UPDATE_COMMANDS + OTHER_COMMANDS"
            " FROM information_schema.USER_STATISTICS WHERE USER NOT IN ('root', 'replication')"
        )
        total += sum(int(row[0] or 0) for row in rows)
    return total


@contextmanager
def _held_up(cluster: Any, condition: str) -> Iterator[None]:
    delayed = {"one delayed 1 s": cluster.replicas[:1], "all delayed 1 s": cluster.replicas[:]}.get(
        condition, []
    )
    if condition == "paused at random":
        with disturbed(cluster, PAUSES):
            yield
        return
    for replica in delayed:
        cluster.delay(replica, 1)
    try:
        yield
    finally:
        for replica in delayed:
            cluster.delay(replica, 0)


def _row(key: str, measured: Measured, base: Measured | None) -> dict[str, Any]:
    seen = measured.seen
    reads = len(seen.reads)
    on_primary = share(seen.databases["default"], reads)
    oracle = share(measured.strong_oracle if key == f"{OURS}:strong" else measured.oracle, reads)
    row: dict[str, Any] = {
        "who": CONTESTANTS[key].title,
        "requests": seen.answered,
        "stale_reads": seen.stale_own,
        "stale": per_million(seen.stale_own, seen.own_reads),
        "others": per_million(seen.stale_others, reads - seen.own_reads),
        "primary": on_primary,
        "oracle": oracle,
        "distance": None if on_primary is None or oracle is None else on_primary - oracle,
        "errors": seen.errors.total(),
    }
    for name, values in (("read", seen.read_seconds), ("write", seen.write_seconds)):
        for percent in (50, 99):
            value = percentile(values, percent)
            row[f"{name}{percent}"] = None if value is None else value * 1000
    if base is not None and base.seen.answered and seen.answered:
        row["added"] = measured.statements / seen.answered - base.statements / base.seen.answered
    return row


COLUMNS = {
    "who": "",
    "requests": "requests",
    "stale": "stale reads of own writes, per million",
    "others": "reads that missed others' writes, per million",
    "primary": "reads on the primary, %",
    "oracle": "the oracle, %",
    "distance": "distance, points",
    "read50": "read p50, ms",
    "read99": "read p99, ms",
    "write50": "write p50, ms",
    "write99": "write p99, ms",
    "added": "statements added per request",
    "errors": "errors",
}
FORMATS = {
    "requests": "{:,}",
    "stale": "{:,.0f}",
    "others": "{:,.0f}",
    "primary": "{:.1f}",
    "oracle": "{:.1f}",
    "distance": "{:+.1f}",
    "read50": "{:.1f}",
    "read99": "{:.1f}",
    "write50": "{:.1f}",
    "write99": "{:.1f}",
    "added": "{:+.2f}",
}


def _overview(results: dict[str, dict[Cell, Measured]]) -> Table:
    totals = {
        key: Measured(
            seen=together([each.seen for each in cells.values()]),
            oracle=sum(each.oracle for each in cells.values()),
            strong_oracle=sum(each.strong_oracle for each in cells.values()),
            statements=sum(each.statements for each in cells.values()),
        )
        for key, cells in results.items()
    }
    return Table(
        key="consistency",
        title="All conditions together",
        text=(
            "Users that write and read back, over HTTP, on a MariaDB primary with three replicas. A read is"
            " stale if it does not show what its own client was told was written. The oracle is the fewest"
            " reads on the primary that this allows, from the times at which each replica had each write of"
            " the same run; for `strong`, from what anybody had written."
        ),
        columns=COLUMNS,
        formats=FORMATS,
        rows=[_row(key, measured, totals.get("none")) for key, measured in totals.items()],
        notes=[
            f"{CONTESTANTS[key].title}: {CONTESTANTS[key].note}" for key in results if CONTESTANTS[key].note
        ],
    )


def _table(results: dict[str, dict[Cell, Measured]], condition: str) -> Table:
    rows = []
    for key, cells in results.items():
        for cell, measured in cells.items():
            if cell.condition == condition:
                row = _row(key, measured, results.get("none", {}).get(cell))
                rows.append({"mix": f"{1 - cell.writes:.0%} / {cell.writes:.0%}", "users": cell.users} | row)
    rows.sort(key=lambda row: (row["users"], row["mix"]))
    return Table(
        key=condition,
        title=f"Replicas: {condition}",
        text="By the mix of reads and writes, and the number of users who share the same rate of requests.",
        columns={"mix": "mix", "users": "users", **COLUMNS},
        formats=FORMATS,
        rows=rows,
    )
