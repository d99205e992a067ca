"""The proof that users do not notice what happens to database servers, as a table in Markdown.

    python -m proofs availability --requests 20000 --output proofs/reports/availability.md
    python -m proofs availability --db postgresql --server uvicorn --fault kill freeze --hit one

For each database (MariaDB with three replicas, PostgreSQL with two), web server and fault: the board
served by several processes, a steady load of users most of whose requests are reads, and the fault, made and
undone in the middle of the run. Exits with 0 if all went as promised. The report is written after
each run, so that a long one that is broken off leaves what it has found.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofs.availability_report import introduction, summary, written
from proofs.availability_run import REPLICAS, Outcome, Plan, run
from proofs.board import add_site_arguments, new_cluster
from proofs.faults import FAULTS


@contextmanager
def running_clusters() -> Iterator[Callable[[str], Any]]:
    """Yield a function that returns a healthy cluster of a database.

    It is the same again while its primary is the one that it was started with.
    """
    running: dict[str, tuple[Any, Any]] = {}

    def cluster_of(database: str) -> Any:
        if database in running:
            cluster, primary = running[database]
            if cluster.primary is primary:
                cluster.heal()
                return cluster
            running.pop(database)
            cluster.stop()
        cluster = new_cluster(database, REPLICAS[database])
        cluster.start()
        running[database] = cluster, cluster.primary
        return cluster

    try:
        yield cluster_of
    finally:
        for cluster, _primary in running.values():
            cluster.stop()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    add_site_arguments(parser)
    parser.add_argument("--db", nargs="+", choices=REPLICAS, default=list(REPLICAS))
    parser.add_argument("--fault", nargs="+", choices=FAULTS, default=list(FAULTS))
    hits = ("one", "all", "primary")
    parser.add_argument("--hit", nargs="+", choices=hits, default=list(hits), help="which servers fail")
    parser.add_argument("--requests", type=int, default=20_000, metavar="N", help="for each of them")
    parser.add_argument("--rate", type=float, default=0.0, metavar="N", help="requests a second")
    parser.add_argument("--users", type=int, default=24, metavar="N")
    parser.add_argument("--add", action="store_true", help="to what the report has already")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="where logs of broken runs are kept")


def prove(options: argparse.Namespace, command: str) -> bool:
    """Run all that is asked for. Returns whether all of it went as promised."""
    before = introduction()
    if options.add and options.output is not None and options.output.exists():
        before = options.output.read_text(encoding="utf-8")
    outcomes: list[Outcome] = []
    with running_clusters() as cluster_of:
        for plan in planned(options):
            outcome = run(cluster_of(plan.database), plan)
            outcomes.append(outcome)
            print(summary(outcome), end="\n\n", flush=True)
            if outcome.broken and options.logs is not None:
                options.logs.mkdir(exist_ok=True)
                log = options.logs / f"{plan.database}-{plan.server}-{plan.fault}-{plan.hit}.log"
                log.write_text(outcome.log, encoding="utf-8")
            if options.output is not None:
                options.output.write_text(f"{before}\n{written(outcomes, command)}", encoding="utf-8")
    if outcomes and options.output is None:
        print(written(outcomes, command))
    return bool(outcomes) and not any(outcome.broken for outcome in outcomes)


def planned(options: argparse.Namespace) -> Iterator[Plan]:
    """Yield what runs there are to be."""
    for database, server, fault in itertools.product(options.db, options.server, options.fault):
        for hit in FAULTS[fault].hits:
            if hit in options.hit and database in FAULTS[fault].databases:
                yield Plan(
                    database=database,
                    server=server,
                    fault=fault,
                    hit=hit,
                    requests=options.requests,
                    rate=options.rate,
                    users=options.users,
                    workers=options.workers,
                )
