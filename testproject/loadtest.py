"""See whether many users, at once, see what they have just written.

    python testproject/loadtest.py --users 100 --pairs 10000 --consistency window
    python testproject/loadtest.py --users 100 --pairs 10000 --consistency eventual --expect-stale

Starts a MariaDB primary with two replicas, pauses the replicas for good, serves the board by
gunicorn with several processes, and lets users write posts and read them back over HTTP. Exits
with 0 if nobody met an error and nobody missed a post of their own; with ``--expect-stale``, if
somebody did miss one: that shows that the test can find what it looks for.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from load_client import Browser, Tally, drive
from web_server import HOST, WebServerError, gunicorn_is_installed, manage, web_server

# isort: split
# `web_server` puts `servers` on the path.
from servers.mariadb import MariaDBCluster
from servers.ports import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a run."""

    users: int
    consistency: str
    seconds: float
    tally: Tally

    @property
    def stale(self) -> int:
        """How many reads missed what the same user had just written."""
        return self.tally.stale

    @property
    def errors(self) -> int:
        """How many requests failed in any other way."""
        return self.tally.error_count

    def summary(self) -> str:
        """Return the report for people."""
        tally = self.tally
        reads = ", ".join(
            f"{alias} {count} ({count / max(tally.pairs, 1):.0%})"
            for alias, count in sorted(tally.reads_by_alias.items())
        )
        lines = [
            f"level {self.consistency}: {self.users} users wrote and read back {tally.pairs} posts",
            f"time: {self.seconds:.1f} s ({2 * tally.pairs / self.seconds:.0f} requests a second)",
            f"stale reads by the writer: {self.stale}",
            f"errors: {self.errors}",
            f"posts read back from: {reads}",
            f"longest wait for a post to be read back: {tally.slowest_pair:.2f} s",
            *(f"  {error}" for error in tally.errors),
        ]
        return "\n".join(lines)


def run(
    users: int,
    pairs: int,
    consistency: str,
    *,
    pause_replicas: bool = True,
    pin_seconds: float = 5.0,
    workers: int = 4,
    store: str = "cookie",
) -> Report:
    """Run the load test on a cluster of its own.

    ``pairs`` is the number of posts in all, ``workers`` the number of gunicorn's processes. Under
    ``window`` no read can be stale as long as each comes within ``pin_seconds`` of its write.
    Raises :class:`WebServerError` without gunicorn: one process would prove nothing.
    """
    if not gunicorn_is_installed():
        raise WebServerError("gunicorn is not installed: pip install gunicorn")
    with MariaDBCluster(replicas=2, database="board") as cluster:
        environment = {
            **cluster.environment(),
            "CONN_MAX_AGE": "60",
            "DEBUG": "0",
            "LOAD_TEST_API": "1",
            "RWROUTER_CONSISTENCY": consistency,
            "RWROUTER_PIN_SECONDS": str(pin_seconds),
            "RWROUTER_STORE": store,
            "SECRET_KEY": secrets.token_urlsafe(32),
        }
        manage(environment, "migrate", "--verbosity=0", "--no-input")
        port = free_port()
        with web_server(environment, port, workers=workers):
            thread = _start_thread(port)
            cluster.wait_all()
            if pause_replicas:
                for replica in cluster.replicas:
                    cluster.pause(replica)
            started = time.monotonic()
            tally = drive(HOST, port, users=users, pairs=pairs, thread=thread)
            seconds = time.monotonic() - started
    return Report(users=users, consistency=consistency, seconds=seconds, tally=tally)


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
    parser.add_argument("--users", type=int, default=100, metavar="N")
    parser.add_argument("--pairs", type=int, default=10_000, metavar="N", help="posts in all")
    parser.add_argument("--consistency", default="window", metavar="LEVEL")
    parser.add_argument("--pin-seconds", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="gunicorn's processes")
    parser.add_argument("--store", default="cookie", help="where the client's token is kept")
    parser.add_argument(
        "--pause-replicas",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the replicas apply nothing during the run (the default)",
    )
    parser.add_argument("--expect-stale", action="store_true", help="fail if no read is stale")
    options = parser.parse_args(arguments)
    report = run(
        options.users,
        options.pairs,
        options.consistency,
        pause_replicas=options.pause_replicas,
        pin_seconds=options.pin_seconds,
        workers=options.workers,
        store=options.store,
    )
    print(report.summary())
    as_expected = report.stale > 0 if options.expect_stale else report.stale == 0
    return 0 if as_expected and report.errors == 0 and report.tally.pairs == options.pairs else 1


if __name__ == "__main__":
    sys.exit(main())
