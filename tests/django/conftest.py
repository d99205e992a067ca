"""A primary and two replicas on SQLite, with replication on demand."""

import sqlite3
from contextlib import closing

import pytest
from django.core.management import call_command
from django.db import connections

from django_rwrouter import stats
from django_rwrouter.health import health
from django_rwrouter.testing import capture_routing
from tests.settings import DATABASES

REPLICAS = ("replica1", "replica2")


def replicate(*aliases):
    """Bring these replicas (all, without arguments) level with the primary."""
    with closing(sqlite3.connect(DATABASES["default"]["NAME"])) as primary:
        for alias in aliases or REPLICAS:
            with closing(sqlite3.connect(DATABASES[alias]["NAME"])) as replica:
                primary.backup(replica)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker):
    """Make the files; they are in a folder of their own, so no "test_" databases are needed."""
    with django_db_blocker.unblock():
        call_command("migrate", run_syncdb=True, verbosity=0)
        connections.close_all()
    replicate("other")
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture
def databases(transactional_db):
    """Start with all databases empty and level. Use with ``@pytest.mark.django_db(databases=...)``."""
    replicate()
    health.reset()
    stats.reset()
    yield
    health.reset()
    stats.reset()


@pytest.fixture
def routed(databases):
    """Collect the decisions of the test."""
    with capture_routing() as decisions:
        yield decisions
