"""The servers and what is in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.contestants import CONTESTANTS, OURS, REPLICAS
from benchmarks.environment import ROOT, worker_environment
from launcher.mariadb import MariaDBCluster

ITEMS = 1000


@contextmanager
def prepared_cluster() -> Iterator[tuple[Any, dict[str, str]]]:
    """Start MariaDB, a primary and three replicas, with the tables and the items.

    Yields the cluster, and where it is, as environment variables.
    """
    # A connection for each of gunicorn's threads and processes, and for the growth part.
    with MariaDBCluster(
        replicas=len(REPLICAS), database="bench", options=["--max-connections=2500"]
    ) as cluster:
        where = cluster.environment()
        fill(where)
        cluster.wait_all()
        yield cluster, where


def fill(environment: dict[str, str]) -> None:
    """Make the tables and what is in them."""
    subprocess.run(
        [sys.executable, "-m", "benchmarks.workers.fill", str(ITEMS)],
        env=worker_environment(environment, CONTESTANTS[f"{OURS}:primary"], BENCH_SITE="users"),
        cwd=ROOT,
        check=True,
        timeout=120,
    )
