"""Clusters that servers fail in: MariaDB with three replicas, PostgreSQL with two."""

import pytest

from proofs.availability import running_clusters
from proofs.availability_run import run

DRIVERS = {"mariadb": "MySQLdb", "postgresql": "psycopg"}


@pytest.fixture(scope="session")
def clusters():
    """A function that returns a healthy cluster of a database."""
    with running_clusters() as cluster_of:

        def cluster(database):
            pytest.importorskip(DRIVERS[database])
            return cluster_of(database)

        yield cluster


@pytest.fixture
def play(clusters):
    """Let a fault happen as planned; returns what came of it."""

    def play(plan):
        outcome = run(clusters(plan.database), plan)
        print(outcome.log)
        return outcome

    return play
