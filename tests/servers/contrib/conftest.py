"""A real MariaDB cluster, level and without books at the begin of each test."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from django_rwrouter import stats
from django_rwrouter.operations.override_table import RoutingOverride
from django_rwrouter.servers import waiting
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.stats.table import RoutingStatistics
from django_rwrouter.testing import capture_routing
from launcher.mariadb import MariaDBCluster, ServerError
from tests.app.models import Book
from tests.servers.contrib import settings as ours

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def running():
    pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    cluster = MariaDBCluster(2, database=ours.DATABASE, user=ours.USER, password=ours.PASSWORD)
    try:
        cluster.start()
    except ServerError as error:
        if "not found" in str(error):
            pytest.skip(str(error))
        raise
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def django_db_setup():
    """Make no "test_" databases: the whole cluster is there for the tests alone."""


@pytest.fixture(scope="session")
def tables(running, django_db_setup, django_db_blocker):
    for alias, server in zip(ours.ALIASES, running.servers, strict=True):
        connections.settings[alias]["PORT"] = str(server.port)
    with django_db_blocker.unblock():
        call_command("migrate", run_syncdb=True, verbosity=0)
        connections.close_all()


@pytest.fixture
def cluster(running, tables, django_db_blocker):
    running.heal()
    with django_db_blocker.unblock():
        Book.objects.all().delete()
        RoutingStatistics.objects.all().delete()
        RoutingOverride.objects.all().delete()
        running.wait_all()
        forget()
        try:
            yield running
        finally:
            connections.close_all()
            forget()
            running.heal()


def forget():
    health.reset()
    knowledge.reset()
    waiting.reset()
    stats.reset()


@pytest.fixture
def lagging(cluster):
    """The cluster, with both replicas standing still."""
    for replica in cluster.replicas:
        cluster.pause(replica)
    return cluster


@pytest.fixture(scope="session")
def environment(running, tables):
    """What a process needs to find the same servers."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.servers.contrib.settings",
        "PYTHONPATH": str(ROOT),
        ours.PORTS_VARIABLE: ",".join(str(server.port) for server in running.servers),
    }


@contextmanager
def process(*arguments, environment, log):
    """Run this Python with these arguments; ends it in good order."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@pytest.fixture
def routed(cluster):
    """Collect the decisions of the test."""
    with capture_routing() as decisions:
        yield decisions
