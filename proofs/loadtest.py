"""See whether many users, at once, see what they have just written.

    python -m proofs.loadtest --users 100 --pairs 10000 --level window
    python -m proofs.loadtest --users 100 --pairs 10000 --level eventual --expect-stale
    python -m proofs.loadtest --db postgresql --level causal --pairs 50000 --users 50 --disturb

Starts a primary with two replicas, holds the replicas up (for good, or with ``--disturb`` again and
again at random), serves the board by gunicorn with several processes, and lets users write posts
and read them back over HTTP. Exits with 0 if nobody met an error and nobody missed a post; with
``--expect-stale``, if somebody did miss one: that shows that the test can find what it looks for.

Under ``strong`` a post is read by another user than its writer. ``sync`` stands for the level
``eventual`` with ``SYNC_REPLICAS="all"``: what keeps a read from being stale is the write alone.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from launcher.ports import free_port
from proofs.client import Browser, Tally, drive
from proofs.disturbance import GENTLE, ROUGH, Disturbance
from web_server import HOST, WebServerError, is_installed, manage, web_server

CLUSTERS = {
    "mariadb": ("launcher.mariadb", "MariaDBCluster"),
    "mysql": ("launcher.mysql", "MySQLCluster"),
    "postgresql": ("launcher.postgresql", "PostgreSQLCluster"),
}
SERVERS = {"gunicorn": "/api", "uvicorn": "/api/async"}
"""Which part of the board's API is asked through which web server."""
LEVELS = ("primary", "eventual", "window", "causal", "strong", "sync")
SYNC_TIMEOUT_SECONDS = 30
"""Longer than any disturbance: a write that gives up waiting promises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a run."""

    users: int
    consistency: str
    seconds: float
    tally: Tally
    database: str = "mariadb"
    version: str = ""
    """What the primary calls itself."""
    server: str = "gunicorn"
    workers: int = 4
    disturbances: Counter[str] = field(default_factory=Counter)

    @property
    def stale(self) -> int:
        """How many reads missed what had just been written."""
        return self.tally.stale

    @property
    def errors(self) -> int:
        """How many requests failed in any other way."""
        return self.tally.error_count

    @property
    def primary_share(self) -> float:
        """How much of the reading was done by the primary, from 0 to 1."""
        return self.tally.reads_by_alias["default"] / max(self.tally.pairs, 1)

    def summary(self) -> str:
        """Return the report for people."""
        tally = self.tally
        reads = ", ".join(
            f"{alias} {count} ({count / max(tally.pairs, 1):.0%})"
            for alias, count in sorted(tally.reads_by_alias.items())
        )
        reasons = "; ".join(f"{text} {count}" for text, count in tally.served_by.most_common(8))
        reader = "another user" if self.consistency == "strong" else "the writer"
        lines = [
            f"{self.database} {self.version}, {self.server}",
            f"level {self.consistency}: {self.users} users wrote and read back {tally.pairs} posts",
            f"time: {self.seconds:.1f} s ({2 * tally.pairs / self.seconds:.0f} requests a second)",
            f"stale reads by {reader}: {self.stale}",
            f"errors: {self.errors}",
            f"posts read back from: {reads}",
            f"in detail: {reasons}",
            f"longest wait for a post to be read back: {tally.slowest_pair:.2f} s",
            *(f"replicas {what}: {count} times" for what, count in sorted(self.disturbances.items())),
            *(f"  {error}" for error in tally.errors),
        ]
        return "\n".join(lines)


def run(
    users: int,
    pairs: int,
    consistency: str,
    *,
    pause_replicas: bool = True,
    disturb: bool = False,
    pin_seconds: float = 5.0,
    workers: int = 4,
    store: str = "cookie",
    database: str = "mariadb",
    server: str = "gunicorn",
) -> Report:
    """Run the load test on a cluster of its own.

    ``pairs`` is the number of posts in all, ``workers`` the number of the site's processes. Under
    ``window`` no read can be stale as long as each comes within ``pin_seconds`` of its write.
    ``disturb`` takes the place of ``pause_replicas``. Raises :class:`WebServerError` without
    the web server: Django's own is one process, which would prove nothing.
    """
    if not is_installed(server):
        raise WebServerError(f"{server} is not installed: pip install {server}")
    sync = consistency == "sync"
    with _new_cluster(database) as cluster:
        environment = {
            **cluster.environment(),
            # Under ASGI each request has a thread of its own, and with it a connection.
            "CONN_MAX_AGE": "60" if server == "gunicorn" else "0",
            "DEBUG": "0",
            "LOAD_TEST_API": "1",
            "RWROUTER_CONSISTENCY": "eventual" if sync else consistency,
            "RWROUTER_PIN_SECONDS": str(pin_seconds),
            "RWROUTER_STORE": store,
            "RWROUTER_SYNC_REPLICAS": "all" if sync else "0",
            "RWROUTER_SYNC_TIMEOUT": str(SYNC_TIMEOUT_SECONDS),
            "SECRET_KEY": secrets.token_urlsafe(32),
        }
        manage(environment, "migrate", "--verbosity=0", "--no-input")
        version = cluster.primary.sql("SELECT VERSION()")[0][0] or ""
        port = free_port()
        with web_server(environment, port, server=server, workers=workers):
            thread = _start_thread(port)
            cluster.wait_all()
            with _held_up(cluster, disturb=disturb, gently=sync, pause=pause_replicas) as disturbances:
                started = time.monotonic()
                tally = drive(
                    HOST,
                    port,
                    users=users,
                    pairs=pairs,
                    thread=thread,
                    another_reads=consistency == "strong",
                    prefix=SERVERS[server],
                )
                seconds = time.monotonic() - started
    return Report(
        users=users,
        consistency=consistency,
        seconds=seconds,
        tally=tally,
        database=database,
        version=version,
        server=server,
        workers=workers,
        disturbances=disturbances,
    )


def _new_cluster(database: str) -> Any:
    module, name = CLUSTERS[database]
    return getattr(import_module(module), name)(replicas=2, database="board")


@contextmanager
def _held_up(cluster: Any, *, disturb: bool, gently: bool, pause: bool) -> Iterator[Counter[str]]:
    """Hold the replicas up inside; yields what was done to them."""
    if disturb:
        with Disturbance(cluster, GENTLE if gently else ROUGH) as disturbance:
            yield disturbance.done
        return
    done: Counter[str] = Counter()
    if pause:
        for replica in cluster.replicas:
            cluster.pause(replica)
            done["paused"] += 1
    yield done


def _start_thread(port: int) -> int:
    browser = Browser(HOST, port)
    try:
        text = {"title": "Load test", "author": "load test", "text": "Here it goes."}
        return int(json.loads(browser.post("/api/threads/", text).body)["id"])
    finally:
        browser.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it from the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Users write and read back, at once.")
    parser.add_argument("--db", choices=CLUSTERS, default="mariadb")
    parser.add_argument("--users", type=int, default=100, metavar="N")
    parser.add_argument("--pairs", type=int, default=10_000, metavar="N", help="posts in all")
    parser.add_argument("--level", "--consistency", choices=LEVELS, default="window")
    parser.add_argument("--pin-seconds", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes of the site")
    parser.add_argument("--server", choices=SERVERS, default="gunicorn", help="uvicorn: async views")
    parser.add_argument("--store", default="cookie", help="where the client's token is kept")
    parser.add_argument(
        "--pause-replicas",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the replicas apply nothing during the run (the default)",
    )
    parser.add_argument(
        "--disturb", action="store_true", help="pause, delay and resume them at random instead"
    )
    parser.add_argument("--expect-stale", action="store_true", help="fail if no read is stale")
    options = parser.parse_args(arguments)
    report = run(
        options.users,
        options.pairs,
        options.level,
        pause_replicas=options.pause_replicas,
        disturb=options.disturb,
        pin_seconds=options.pin_seconds,
        workers=options.workers,
        store=options.store,
        database=options.db,
        server=options.server,
    )
    print(report.summary())
    as_expected = report.stale > 0 if options.expect_stale else report.stale == 0
    return 0 if as_expected and report.errors == 0 and report.tally.pairs == options.pairs else 1


if __name__ == "__main__":
    sys.exit(main())
