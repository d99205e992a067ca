"""A primary with two replicas of each product, which is started once."""

from contextlib import contextmanager, suppress
from unittest.mock import patch

import environ
import pytest
from django.core.management import call_command
from django.db import connections

from django_rwrouter import process
from django_rwrouter.operations.overrides import RoutingOverride
from django_rwrouter.testing import capture_routing
from launcher.mariadb import MariaDBCluster
from launcher.mysql import MySQLCluster
from launcher.postgresql import PostgreSQLCluster
from launcher.process import ServerError
from tests.app.models import Book
from tests.servers.product import PRODUCTS, on
from tests.servers.products.settings import ALIASES, TIMEOUT

CLUSTERS = {"mariadb": MariaDBCluster, "mysql": MySQLCluster, "postgresql": PostgreSQLCluster}


@contextmanager
def new_cluster(product):
    """Start a cluster. Where the database cannot be had, the reason names it."""
    cluster = CLUSTERS[product](replicas=2)
    try:
        cluster.start()
    except ServerError as error:
        if "not found" in str(error) or "There is no" in str(error):
            pytest.skip(str(error))
        raise
    try:
        yield cluster
    finally:
        cluster.stop()


def attach(cluster, aliases=ALIASES):
    """Let the aliases lead to the cluster's servers, in their order."""
    connections.close_all()
    for alias, server in zip(aliases, cluster.servers, strict=False):
        lead_to(alias, server)


_products = {}
"""By alias, what kind of server it leads to."""


def lead_to(alias, server):
    found = environ.Env.db_url_config(server.url())
    settings = connections.settings[alias]
    if _products.get(alias) is not type(server):
        _products[alias] = type(server)
        # Django keeps a connection of the engine that it was made for, and which product that is.
        with suppress(AttributeError):
            del connections[alias]
        limits = {"read_timeout": TIMEOUT} if "mysql" in found["ENGINE"] else {}
        settings["OPTIONS"] = {"connect_timeout": TIMEOUT, **limits}
    for key in ("ENGINE", "HOST", "PORT", "NAME", "USER", "PASSWORD"):
        settings[key] = found[key]


@pytest.fixture(scope="session")
def django_db_setup():
    """Make no "test_" databases: the clusters are there for the tests alone."""


def prepare(cluster):
    attach(cluster)
    options = connections.settings["default"]["OPTIONS"]
    # On a busy disk a table takes its time to be made; only reads are to be given up soon.
    with patch.dict(options, {"read_timeout": 60} if "read_timeout" in options else {}):
        call_command("migrate", run_syncdb=True, verbosity=0)
        connections.close_all()


@pytest.fixture(scope="session", params=on(*PRODUCTS))
def product(request):
    """Each product by turns, or those that --product names."""
    return request.param


@pytest.fixture(scope="session")
def running(product, django_db_setup, django_db_blocker):
    with new_cluster(product) as cluster, django_db_blocker.unblock():
        prepare(cluster)
        yield cluster
        connections.close_all()


@pytest.fixture
def cluster(running, django_db_blocker):
    """The cluster, healthy and level; the book "old" is everywhere, and no override."""
    with django_db_blocker.unblock():
        attach(running)
        running.restore()
        RoutingOverride.objects.all().delete()
        Book.objects.all().delete()
        Book.objects.create(title="old")
        running.wait_all(timeout=30.0)
        connections.close_all()  # The reset forgets which ones are open, so that nobody could end them.
        process.reset()
        yield running
        connections.close_all()
        process.reset()


@pytest.fixture
def fresh(product, django_db_setup, django_db_blocker):
    """A cluster of the test's own, whose servers may change their roles."""
    with new_cluster(product) as cluster, django_db_blocker.unblock():
        prepare(cluster)
        Book.objects.create(title="old")
        cluster.wait_all()
        connections.close_all()
        process.reset()
        yield cluster
        connections.close_all()
        process.reset()


@pytest.fixture
def routed():
    with capture_routing() as decisions:
        yield decisions


@pytest.fixture
def rwrouter(settings):
    def change(**changes):
        settings.RWROUTER = {**settings.RWROUTER, **changes}

    return change


@pytest.fixture
def clock(monkeypatch):
    """The time of day, which can be put forward."""
    import time

    ahead = [0.0]
    running_clock = time.time
    monkeypatch.setattr(time, "time", lambda: running_clock() + ahead[0])

    def advance(seconds):
        ahead[0] += seconds

    return advance
