"""What is told of runs in which servers failed: lines for the terminal, a table for the documentation."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone

import django

from proofs.availability_run import (
    INTERVALS,
    MADE_AT,
    MONITOR_SECONDS,
    SILENCE_SECONDS,
    SLACK_SECONDS,
    TIMEOUT_SECONDS,
    UNDONE_AT,
    Outcome,
    Plan,
    needed_the_primary,
)

HIT_WORDS = {"one": "one replica", "all": "all replicas", "primary": "the primary"}
HEADINGS = (
    "database",
    "server",
    "what",
    "hit",
    "requests",
    "failed",
    "stale",
    "slowest (bound)",
    "reads back after",
    "share of what was hit: before, during, after",
    "share of the primary: before, during, after",
    "failovers",
    "",
)
INTRODUCTION = """\
# Servers that fail: the proof

Each row is a run of its own: the board of `testproject/`, served by several processes, under a steady \
load of users, and the fault in the middle of it. A quarter of the users read and write at the level \
`window`, a quarter at `causal`, a quarter only read at `window`, and a quarter at `eventual`; a tenth of \
what writing users send are writes, which are read back at once, and again later. The fault is made after \
{made:.0%} of the requests, and undone after {undone:.0%} at the earliest.

- *failed*: an answer with another status than was asked for, or none. Where the primary is hit, failures of \
those who need it are told apart: while it is away, writes and the reads that are bound to it meet the \
driver's own error.
- *stale*: a read at `window` or `causal` that missed a post that its user had written, at any time before.
- *slowest*: of all requests, with the bound: {slack:.0f} s more than the slowest before the fault (servers, \
site and users share the processors), and, where a server says nothing, the timeouts. MariaDB: \
`read_timeout` of an open connection, then `connect_timeout`, {timeout} s each, and that once more for the \
primary. PostgreSQL's library has no limit for reads: the monitor ends them when a replica has not answered \
it twice ({replica:.1f} s); the primary's, when it has not answered three times, and twice `connect_timeout` \
may follow ({primary:.1f} s).
- *reads back after*: the seconds from when the servers answered again and had caught up until the last \
process of the site used the last of them again, by the log, or by its first read there if nothing there had \
been ejected. Promised: within {intervals} intervals of the monitor, {within:.0f} s. A replica that has \
come and gone meanwhile, as full ones do and those whose connections are killed again and again, is left \
alone for longer, and not held to it.
- Where the old primary lives on, stale reads of the first {within:.0f} s after the switch are counted here, \
though not as a broken promise: until the monitor notices, connections may lead to it.
"""


def summary(outcome: Outcome) -> str:
    """Return the report of one run for people."""
    lasted, ran = outcome.undone - outcome.made, outcome.ended - outcome.began
    plan = outcome.plan
    lines = [
        f"{plan.database}, {plan.server}: {plan.fault}, {plan.hit}, {lasted:.1f} s of {ran:.1f} s",
        f"  requests {len(outcome.requests)}, failed {len(outcome.failed)}, stale {len(outcome.stale)}",
        f"  slowest {outcome.slowest:.2f} s of {outcome.bound:.1f} s, failovers {outcome.failovers}",
        f"  reads back: {back(outcome)}; changes of state: {dict(outcome.state_changes)}",
        f"  seen: {dict(outcome.seen)}",
    ]
    for phase, requests in outcome.phases.items():
        reads = Counter(alias for each in requests for alias, _ in each.reads)
        reasons = Counter(reason for each in requests for _, why in each.reads for reason in why)
        lines.append(f"  {phase}: {dict(sorted(reads.items()))} {dict(reasons)}")
    if outcome.failed:
        errors = Counter((each.method, each.role.level, each.error[:80]) for each in outcome.failed)
        lines += [f"  failed: {count} x {error}" for error, count in errors.most_common(5)]
    lines += [f"  NOT as promised: {each}" for each in outcome.broken]
    return "\n".join(lines)


def name(plan: Plan) -> str:
    """Return what a run is called."""
    return f"{plan.database}, {plan.server}, {plan.the_fault.what} ({HIT_WORDS[plan.hit]})"


def back(outcome: Outcome) -> str:
    """Return after how long reads were back, in words."""
    if outcome.returned is None or None in outcome.back.values():
        return "never" if outcome.plan.the_fault.returns else "-"
    longest = max((seconds for seconds in outcome.back.values() if seconds is not None), default=0.0)
    return f"{longest:.1f} s"


def row(outcome: Outcome) -> Sequence[str]:
    """Return what stands in the table for one run."""

    def shares(aliases: Sequence[str]) -> str:
        return ", ".join(f"{outcome.share(phase, aliases):.0%}" for phase in outcome.phases)

    hit_primary = outcome.plan.hit == "primary"
    excused = [each for each in outcome.failed if hit_primary and needed_the_primary(each, outcome)]
    failed = f"**{len(outcome.failed) - len(excused)}**"
    if outcome.plan.hit == "primary":
        failed += f" + {len(excused)} that needed it"
    return (
        outcome.plan.database,
        outcome.plan.server,
        outcome.plan.the_fault.what,
        HIT_WORDS[outcome.plan.hit],
        f"{len(outcome.requests):,}",
        failed,
        f"**{len(outcome.stale)}**",
        f"{outcome.slowest:.2f} s ({outcome.bound:.1f} s)",
        back(outcome),
        shares(outcome.hit_aliases),
        shares(["default"]),
        f"{outcome.failovers}",
        "as promised" if not outcome.broken else "**NOT as promised**",
    )


def introduction() -> str:
    """Return what stands before the tables."""
    return INTRODUCTION.format(
        made=MADE_AT,
        undone=UNDONE_AT,
        timeout=TIMEOUT_SECONDS,
        replica=SILENCE_SECONDS["postgresql", "replica"],
        primary=SILENCE_SECONDS["postgresql", "primary"],
        slack=SLACK_SECONDS,
        intervals=INTERVALS,
        within=INTERVALS * MONITOR_SECONDS,
    )


def written(outcomes: Sequence[Outcome], command: str) -> str:
    """Return the report of the runs of one command."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(row(outcome) for outcome in outcomes)]
    plan = outcomes[0].plan
    versions = {outcome.plan.database: outcome.version for outcome in outcomes}
    rates = sorted({outcome.plan.requests_per_second for outcome in outcomes})
    kept = sum(not outcome.broken for outcome in outcomes)
    notes = [
        f"- {name(outcome.plan)}: {note}"
        for outcome in outcomes
        for note in [*outcome.broken, *(f"{what}: {count:g}" for what, count in outcome.seen.items())]
    ]
    changes = [
        f"- {name(outcome.plan)}: at most"
        f" {max(outcome.state_changes.values(), default=0)} changes of state in a process"
        for outcome in outcomes
        if outcome.plan.fault == "flap"
    ]
    lines = [
        f"## {kept} of {len(outcomes)} as promised, {datetime.now(timezone.utc):%Y-%m-%d}",
        "",
        f"    {command}",
        "",
        (
            f"{plan.users} users, {' or '.join(f'{rate:.0f}' for rate in rates)} requests a second,"
            f" {plan.workers} processes of the site, Python {platform.python_version()}, Django"
            f" {django.get_version()}, {os.cpu_count()} cores for servers, site and users together."
        ),
        "",
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
        *(f"- {database}: {version}" for database, version in versions.items()),
        *changes,
        *notes,
        "",
    ]
    return "\n".join(lines)
