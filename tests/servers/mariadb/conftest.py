"""One real cluster for all tests, healthy, level and empty at the begin of each."""

import time
from contextlib import closing

import pytest
from django.core.management import call_command
from django.db import connections

from django_rwrouter import process
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.servers import asking
from django_rwrouter.servers.health import health
from django_rwrouter.testing import capture_routing
from launcher.mariadb import MariaDBCluster, ServerError
from launcher.mariadb_data import SERVER_PACKAGES
from launcher.programs import find_program
from tests.app.models import Book
from tests.servers.mariadb import settings as ours
from tests.servers.mariadb.administration import Administration
from tests.servers.mariadb.board import Board

KEPT = ("django_migrations", "django_content_type", "auth_permission")
"""What ``migrate`` fills."""


@pytest.fixture(scope="session", autouse=True)
def _mariadb_is_installed():
    try:
        find_program("mariadbd", packages=SERVER_PACKAGES)
    except ServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def running():
    """The servers; nothing is in their databases yet."""
    with MariaDBCluster(2, database=ours.DATABASE, user=ours.USER, password=ours.PASSWORD) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def administration(running):
    """What the fixtures here do to the servers."""
    with closing(Administration(running)) as administration:
        yield administration


@pytest.fixture(scope="session")
def django_db_setup():
    """Make no "test_" databases: the whole cluster is there for the tests alone."""


@pytest.fixture(scope="session")
def tables(running, administration, django_db_setup, django_db_blocker):
    """Make the tables on the primary, from where they are replicated. Yields those that tests fill."""
    for alias, server in zip(ours.ALIASES, running.servers, strict=True):
        connections.settings[alias]["PORT"] = str(server.port)
    connections.settings["unrouted"]["PORT"] = connections.settings["replica1"]["PORT"]
    with django_db_blocker.unblock():
        call_command("migrate", run_syncdb=True, verbosity=0)
        call_command("createcachetable", "cache_table", verbosity=0)
        connections.close_all()
    rows = administration.ask(running.primary, f"SHOW TABLES FROM {ours.DATABASE}")
    names = [name for row in rows for name in row.values()]
    return [f"{ours.DATABASE}.{name}" for name in names if name not in KEPT]


@pytest.fixture
def cluster(running, tables, administration, django_db_blocker, settings):
    """The cluster. Whatever a test does to its servers is undone, and all connections are closed.

    A replica that is level when a test begins is fresh until it ends, however busy the machine is.
    """
    settings.RWROUTER = {**settings.RWROUTER, "MAX_LAG": 600}
    administration.empty(tables)
    administration.level()
    process.reset()
    with django_db_blocker.unblock():
        try:
            sample()
            connections.close_all()  # Tests find none open, and may change what they are opened with.
            yield running
        finally:
            connections.close_all()
            administration.resume()
            process.reset()


def sample():
    """Learn where the servers stand, as the monitor does: from now on, replicas are known to be fresh."""
    cluster = get_topology().clusters["default"]
    asking.ask_primary(cluster, connections[ours.PRIMARY])
    for alias in ours.REPLICAS:
        connections[alias].ensure_connection()
        asking.ask_replica(cluster, connections[alias])


@pytest.fixture(scope="session")
def board(running):
    """The message board, with a database of its own on the cluster."""
    return Board(running)


@pytest.fixture
def replica(cluster):
    """The server behind the alias ``replica1``."""
    return cluster.replicas[0]


@pytest.fixture
def lagging(cluster, administration):
    """The book "old" is everywhere; from here on no replica applies anything. Yields the cluster."""
    Book.objects.create(title="old")
    administration.level()
    sample()
    administration.pause()
    return cluster


@pytest.fixture
def routed(cluster):
    """The decisions of the test."""
    with capture_routing() as decisions:
        yield decisions


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self, now):
        self._now = now

    def __call__(self):
        return self._now

    def advance(self, seconds):
        self._now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The time of day in this process."""
    still = Clock(time.time())
    monkeypatch.setattr(time, "time", still)
    return still


@pytest.fixture
def health_clock(monkeypatch):
    """The time by which replicas that failed are left alone in this process."""
    still = Clock(time.monotonic())
    monkeypatch.setattr(health, "_clock", still)
    return still


@pytest.fixture
def rwrouter(settings):
    """Change RWROUTER: ``rwrouter(CONSISTENCY="eventual")``."""

    def change(**changes):
        settings.RWROUTER = {**settings.RWROUTER, **changes}

    return change
