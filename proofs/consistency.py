"""The proof that no level which forbids a stale read ever gives one, as a table in Markdown.

    python -m proofs.consistency --pairs 50000 --output docs/consistency.md
    python -m proofs.consistency --db postgresql --level causal strong --pairs 5000

For each database, web server and level: a primary with two replicas, which are paused, delayed and resumed
at random the whole time; a site with several processes; users that write and read back over HTTP.
Under ``eventual`` stale reads must be found, under every other level none. Exits with 0 if all that
was so, and nobody met an error. The report is written after each run, so that a long one that is
broken off leaves what it has found.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import django

from proofs.loadtest import CLUSTERS, LEVELS, SERVERS, Report, run

PROVEN = ("causal", "strong", "sync", "eventual")
HEADINGS = (
    "database",
    "server",
    "level",
    "reader",
    "pairs",
    "stale reads",
    "errors",
    "pairs/s",
    "read on the primary",
    "slowest read",
    "pauses",
    "delays",
    "",
)


def is_proven(report: Report, pairs: int) -> bool:
    """Whether a run went as the level promises."""
    found = report.stale > 0 if report.consistency == "eventual" else report.stale == 0
    return found and report.errors == 0 and report.tally.pairs == pairs


def row(report: Report, pairs: int) -> Sequence[str]:
    """Return what stands in the table for one run."""
    return (
        report.database,
        report.server,
        report.consistency,
        "another user" if report.consistency == "strong" else "the writer",
        f"{report.tally.pairs:,}",
        f"**{report.stale:,}**",
        f"{report.errors:,}",
        f"{report.tally.pairs / report.seconds:,.0f}",
        f"{report.primary_share:.1%}",
        f"{report.tally.slowest_pair:.2f} s",
        f"{report.disturbances['paused']:,}",
        f"{report.disturbances['delayed']:,}",
        "as promised" if is_proven(report, pairs) else "**NOT as promised**",
    )


def written(reports: Sequence[Report], pairs: int, users: int, workers: int) -> str:
    """Return the report."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(row(report, pairs) for report in reports)]
    versions = {report.database: report.version for report in reports}
    errors = [
        f"- {report.database}, {report.server}, {report.consistency}: {error}"
        for report in reports
        for error in report.tally.errors
    ]
    lines = [
        "# Write, then read: the proof",
        "",
        (
            f"Made by `python -m proofs.consistency --pairs {pairs}` on"
            f" {datetime.now(timezone.utc):%Y-%m-%d}, with {users} users, and a site of {workers}"
            f" processes (gunicorn; uvicorn with async views), Python {platform.python_version()},"
            f" Django {django.get_version()}, {os.cpu_count()} cores for all together."
        ),
        "",
        (
            "Each pair is a post that is written by one HTTP request and asked for by the next, on another"
            " connection, so mostly in another process. A read is stale if the answer is 404. All the time,"
            " two replicas are paused, delayed by a second and resumed at random. `sync` is the level"
            ' `eventual` with `SYNC_REPLICAS="all"` (disturbed more gently, as every write waits for the'
            " slower replica). `eventual` shows that the test finds stale reads where there are some."
        ),
        "",
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
        *(f"- {database}: {version}" for database, version in versions.items()),
        *errors,
        "",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it from the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Write-then-read pairs on every database and level.")
    parser.add_argument("--db", nargs="+", choices=CLUSTERS, default=list(CLUSTERS))
    parser.add_argument("--level", nargs="+", choices=LEVELS, default=list(PROVEN))
    parser.add_argument("--server", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--pairs", type=int, default=50_000, metavar="N", help="for each of them")
    parser.add_argument("--users", type=int, default=50, metavar="N")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes of the site")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the report; else on the terminal")
    options = parser.parse_args(arguments)
    reports: list[Report] = []
    for database, server, level in itertools.product(options.db, options.server, options.level):
        report = run(
            options.users,
            options.pairs,
            level,
            disturb=True,
            workers=options.workers,
            database=database,
            server=server,
        )
        reports.append(report)
        print(report.summary(), end="\n\n", flush=True)
        if options.output is not None:
            text = written(reports, options.pairs, options.users, options.workers)
            options.output.write_text(text, encoding="utf-8")
    if options.output is None:
        print(written(reports, options.pairs, options.users, options.workers))
    return 0 if all(is_proven(report, options.pairs) for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
