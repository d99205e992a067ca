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
_FILL = (
    "import django; django.setup(); from django.core.management import call_command;"
    " call_command('migrate', run_syncdb=True, verbosity=0, interactive=False);"
    " from benchmarks.website.models import Item;"
    f" Item.objects.bulk_create([Item(pk=pk) for pk in range(1, {ITEMS} + 1)])"
)


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
        contestant = CONTESTANTS[f"{OURS}:primary"]
        subprocess.run(
            [sys.executable, "-c", _FILL],
            env=worker_environment(where, contestant),
            cwd=ROOT,
            check=True,
            timeout=120,
        )
        cluster.wait_all()
        yield cluster, where
