"""Part 2: what a request costs, through Django's real handlers, as a difference to no middleware."""

from __future__ import annotations

from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.parts import Run, Table
from benchmarks.timing import Effort, Job, take_turns

KINDS = {"get": "GET", "post": "POST that writes", "aget": "async GET"}
WHO = ("none", f"{OURS}:window", f"{OURS}:causal", f"{OURS}:strong")
QUICK = Effort(rounds=1, loops=50, values=2)
FULL = Effort(rounds=3, loops=100, values=12)


def measure(run: Run) -> list[Table]:
    """Time every contestant's requests."""
    peers = [
        key
        for key, contestant in CONTESTANTS.items()
        if contestant.middleware and not key.startswith(OURS) and not run.verdicts[key].middleware
    ]
    jobs = [Job(name=f"{key} {kind}", contestant=key, scene=kind) for key in (*WHO, *peers) for kind in KINDS]
    seconds, errors = take_turns("request", jobs, QUICK if run.quick else FULL, run.environment, run.say)
    rows = []
    for key in (*WHO, *peers):
        row: dict[str, object] = {"who": CONTESTANTS[key].title}
        for kind in KINDS:
            values, base = seconds.get(f"{key} {kind}"), seconds.get(f"none {kind}")
            if values and base:
                row[kind] = (min(values) - (0.0 if key == "none" else min(base))) * 1e6
        rows.append(row)
    return [
        Table(
            key="request",
            title="Cost of a request",
            text=(
                "Microseconds that each middleware adds to a request: the difference of the quietest"
                " measurements of each. The first row is a request without any. GET and async GET do nothing;"
                " POST updates one row on MariaDB, so its difference has the noise of a server, and whatever"
                " the package asks it for."
            ),
            columns={"who": "", **{kind: f"{title}, µs" for kind, title in KINDS.items()}},
            formats=dict.fromkeys(KINDS, "{:.1f}"),
            rows=rows,
            notes=[f"{name}: {error}" for name, error in errors.items()],
        )
    ]
