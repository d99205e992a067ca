"""The proof that no level which forbids a stale read ever gives one, as a table in Markdown.

    python -m proofs consistency --pairs 50000 --output proofs/reports/consistency.md
    python -m proofs consistency --db postgresql --level causal strong --pairs 5000
    python -m proofs consistency --db mariadb --server gunicorn --level window --replicas paused

For each database, web server and level: a primary with two replicas, which are paused, delayed and resumed
at random the whole time; a site with several processes; users that write and read back over HTTP.
Under ``eventual`` stale reads must be found, under every other level none. Exits with 0 if all that
was so, and nobody met an error. The report is written after each run, so that a long one that is
broken off leaves what it has found.

Under ``strong`` a post is read by another user than its writer. ``sync`` stands for the level
``eventual`` with ``SYNC_REPLICAS="all"``: what keeps a read from being stale is the write alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Any

import django

from proofs.board import CLUSTERS, Board, add_site_arguments, new_cluster, served
from proofs.client import Answer, Browser
from proofs.faults import GENTLE, ROUGH, disturbed
from proofs.load import Load, Request, Role, User
from web_server import WebServerError, is_installed

LEVELS = ("primary", "eventual", "window", "causal", "strong", "sync")
PROVEN = ("causal", "strong", "sync", "eventual")
SYNC_TIMEOUT_SECONDS = 30
"""Longer than any disturbance: a write that gives up waiting promises nothing."""
ERRORS_SHOWN = 20
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


class Writer(User):
    """Writes a post, and reads it back at once: so many times, or has it read by somebody else.

    Who else reads has written nothing, and is told nothing but the post's number.
    """

    def __init__(
        self, board: Board, pairs: int, another_reads: bool, load: Load, number: int, role: Role
    ) -> None:
        super().__init__(load, number, role)
        self._posts = f"{board.prefix}/posts/"
        self._thread = board.thread
        self._left = pairs // load.users + (number < pairs % load.users)
        self._reader = Browser(load.host, load.port) if another_reads else self.browser

    def turn(self) -> bool:
        """Write one post and read it."""
        if not self._left:
            return False
        self._left -= 1
        text = f"post {self._left}"
        data = {"thread": self._thread, "author": f"user {self.number}", "text": text}
        written = self.send(self._posts, data, statuses={201})
        if not written.failed:
            path = f"{self._posts}{json.loads(written.answer.body)['id']}/"
            misses = partial(self._misses, text)
            self.send(path, statuses={200, 404}, misses=misses, browser=self._reader)
        return True

    @staticmethod
    def _misses(text: str, answer: Answer) -> bool:
        if answer.status == 200 and json.loads(answer.body)["text"] != text:
            raise ValueError(f"{text} came back as {answer.body[:200]!r}")
        return answer.status == 404

    def close(self) -> None:
        """Close the reader's connections as well."""
        super().close()
        self._reader.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a run."""

    users: int
    level: str
    pairs_wanted: int
    seconds: float
    requests: Sequence[Request]
    database: str
    version: str
    """What the primary calls itself."""
    server: str
    disturbances: Counter[str] = field(default_factory=Counter)

    @property
    def reads(self) -> list[Request]:
        """Requests for a post that was written, with an answer."""
        return [each for each in self.requests if each.method == "GET" and each.answer.status]

    @property
    def stale(self) -> int:
        """How many reads missed what had just been written."""
        return sum(each.stale for each in self.reads)

    @property
    def errors(self) -> Sequence[str]:
        """How requests failed in any other way, in words."""
        return [f"user {each.user}, {each.method}: {each.error}" for each in self.requests if each.failed]

    @property
    def reads_by_alias(self) -> Counter[str]:
        """Which database answered when posts were read back."""
        return Counter(each.answer.served_by.partition(" ")[0] for each in self.reads)

    @property
    def slowest_read(self) -> float:
        """Seconds."""
        return max((each.seconds for each in self.reads), default=0.0)

    @property
    def is_as_promised(self) -> bool:
        """Whether the run went as its level promises."""
        found = self.stale > 0 if self.level == "eventual" else self.stale == 0
        return found and not self.errors and len(self.reads) == self.pairs_wanted

    @property
    def reader(self) -> str:
        """Who reads a post back."""
        return "another user" if self.level == "strong" else "the writer"

    def summary(self) -> str:
        """Return the report for people."""
        pairs = len(self.reads)
        reads = ", ".join(
            f"{alias} {count} ({count / max(pairs, 1):.0%})"
            for alias, count in sorted(self.reads_by_alias.items())
        )
        reasons = Counter(each.answer.served_by for each in self.reads).most_common(8)
        lines = [
            f"{self.database} {self.version}, {self.server}",
            f"level {self.level}: {self.users} users wrote and read back {pairs} posts",
            f"time: {self.seconds:.1f} s ({2 * pairs / self.seconds:.0f} requests a second)",
            f"stale reads by {self.reader}: {self.stale}",
            f"errors: {len(self.errors)}",
            f"posts read back from: {reads}",
            f"in detail: {'; '.join(f'{text} {count}' for text, count in reasons)}",
            f"longest wait for a post to be read back: {self.slowest_read:.2f} s",
            *(f"replicas {what}: {count} times" for what, count in sorted(self.disturbances.items())),
            *(f"  {error}" for error in self.errors[:ERRORS_SHOWN]),
        ]
        return "\n".join(lines)

    def row(self) -> Sequence[str]:
        """Return what stands in the table for the run."""
        pairs = len(self.reads)
        return (
            self.database,
            self.server,
            self.level,
            self.reader,
            f"{pairs:,}",
            f"**{self.stale:,}**",
            f"{len(self.errors):,}",
            f"{pairs / self.seconds:,.0f}",
            f"{self.reads_by_alias['default'] / max(pairs, 1):.1%}",
            f"{self.slowest_read:.2f} s",
            f"{self.disturbances['paused']:,}",
            f"{self.disturbances['delayed']:,}",
            "as promised" if self.is_as_promised else "**NOT as promised**",
        )


def run(cluster: Any, database: str, server: str, level: str, options: argparse.Namespace) -> Report:
    """Let users write and read back on a running cluster, which is level again afterwards.

    Under ``window`` no read can be stale as long as each comes within ``PIN_SECONDS`` of its write. Raises
    :class:`WebServerError` without the web server: Django's own is one process, which would prove nothing.
    """
    if not is_installed(server):
        raise WebServerError(f"{server} is not installed: pip install {server}")
    sync = level == "sync"
    environment = {
        "RWROUTER_CONSISTENCY": "eventual" if sync else level,
        "RWROUTER_PIN_SECONDS": str(options.pin_seconds),
        "RWROUTER_STORE": options.store,
        "RWROUTER_SYNC_REPLICAS": "all" if sync else "0",
        "RWROUTER_SYNC_TIMEOUT": str(SYNC_TIMEOUT_SECONDS),
    }
    version = cluster.primary.sql("SELECT VERSION()")[0][0] or ""
    with served(cluster, environment, server=server, workers=options.workers) as board:
        load = Load(
            host=board.host,
            port=board.port,
            user=partial(Writer, board, options.pairs, level == "strong"),
            users=options.users,
        )
        with _held_up(cluster, options.replicas, gently=sync) as disturbances:
            started = time.monotonic()
            with load.running():
                load.finish()
            seconds = time.monotonic() - started
    cluster.heal()
    return Report(
        users=options.users,
        level=level,
        pairs_wanted=options.pairs,
        seconds=seconds,
        requests=load.requests,
        database=database,
        version=version,
        server=server,
        disturbances=disturbances,
    )


@contextmanager
def _held_up(cluster: Any, how: str, *, gently: bool) -> Iterator[Counter[str]]:
    """Hold the replicas up inside; yields what was done to them."""
    if how == "disturbed":
        with disturbed(cluster, GENTLE if gently else ROUGH) as done:
            yield done
        return
    done = Counter()
    for replica in cluster.replicas if how == "paused" else ():
        cluster.pause(replica)
        done["paused"] += 1
    yield done


def written(reports: Sequence[Report], options: argparse.Namespace, command: str) -> str:
    """Return the report of all runs."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *(report.row() for report in reports)]
    versions = {report.database: report.version for report in reports}
    errors = [
        f"- {report.database}, {report.server}, {report.level}: {error}"
        for report in reports
        for error in report.errors[:ERRORS_SHOWN]
    ]
    replicas = {
        "disturbed": "All the time, two replicas are paused, delayed by a second and resumed at random.",
        "paused": "Two replicas apply nothing the whole time.",
        "untouched": "Two replicas are as late as they are by nature.",
    }[options.replicas]
    lines = [
        "# Write, then read: the proof",
        "",
        (
            f"Made by `{command}` on {datetime.now(timezone.utc):%Y-%m-%d}, with {options.users} users, and a"
            f" site of {options.workers} processes (gunicorn; uvicorn with async views), Python"
            f" {platform.python_version()}, Django {django.get_version()}, {os.cpu_count()} cores for all"
            " together."
        ),
        "",
        (
            "Each pair is a post that is written by one HTTP request and asked for by the next, on another"
            f" connection, so mostly in another process. A read is stale if the answer is 404. {replicas}"
            ' `sync` is the level `eventual` with `SYNC_REPLICAS="all"` (disturbed more gently, as every'
            " write waits for the slower replica). `eventual` shows that the test finds stale reads where"
            " there are some."
        ),
        "",
        *("| " + " | ".join(cells) + " |" for cells in rows),
        "",
        *(f"- {database}: {version}" for database, version in versions.items()),
        *errors,
        "",
    ]
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    add_site_arguments(parser)
    parser.add_argument("--db", nargs="+", choices=CLUSTERS, default=list(CLUSTERS))
    parser.add_argument("--level", nargs="+", choices=LEVELS, default=list(PROVEN))
    parser.add_argument("--pairs", type=int, default=50_000, metavar="N", help="posts of each run")
    parser.add_argument("--users", type=int, default=50, metavar="N")
    parser.add_argument(
        "--replicas",
        choices=("disturbed", "paused", "untouched"),
        default="disturbed",
        help="paused, delayed and resumed at random (the default), or paused for good, or as they are",
    )
    parser.add_argument("--pin-seconds", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--store", default="cookie", help="where the client's token is kept")


def prove(options: argparse.Namespace, command: str) -> bool:
    """Run all that is asked for. Returns whether all of it went as promised."""
    reports: list[Report] = []
    for database in options.db:
        with new_cluster(database, replicas=2) as cluster:
            for server, level in itertools.product(options.server, options.level):
                reports.append(run(cluster, database, server, level, options))
                print(reports[-1].summary(), end="\n\n", flush=True)
                if options.output is not None:
                    options.output.write_text(written(reports, options, command), encoding="utf-8")
    if options.output is None:
        print(written(reports, options, command))
    return all(report.is_as_promised for report in reports)
