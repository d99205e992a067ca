"""What the tests of set-ups share."""

import contextlib
from contextlib import contextmanager

import pytest
from django.db import connections

from django_rwrouter import current_token, process, routing_scope
from launcher.process import ServerError
from tests.app.models import Book
from tests.servers.product import on
from tests.servers.products.conftest import attach, django_db_setup, new_cluster, prepare, routed, rwrouter

__all__ = ["django_db_setup", "new_cluster", "prepare", "routed", "rwrouter", "stale_reads", "started"]

ROUNDS = 40


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("product") is None:
            item.add_marker(pytest.mark.product("mariadb"))


@pytest.fixture(scope="session")
def clusters(django_db_setup, django_db_blocker):
    """Start a product's cluster when it is first wanted."""
    with contextlib.ExitStack() as stack, django_db_blocker.unblock():
        started = {}

        def get(product):
            if product not in started:
                started[product] = stack.enter_context(new_cluster(product))
                prepare(started[product])
                if product == "mariadb":
                    started[product].primary.sql("GRANT REPLICA MONITOR ON *.* TO rwrouter@'%'")
                elif product == "postgresql":
                    started[product].primary.sql("GRANT pg_monitor TO rwrouter")
            return started[product]

        yield get
        connections.close_all()


@pytest.fixture(scope="session", params=on("postgresql"))
def running(request, django_db_setup, django_db_blocker):
    with new_cluster(request.param) as cluster, django_db_blocker.unblock():
        prepare(cluster)
        yield cluster
        connections.close_all()


@pytest.fixture
def cluster(running, django_db_blocker, rwrouter):
    """The cluster, healthy and level, without a book; no monitor watches it."""
    with django_db_blocker.unblock():
        attach(running)
        running.heal()
        Book.objects.all().delete()
        running.wait_all()
        connections.close_all()
        process.reset()
        rwrouter(MONITOR={"MODE": "off"}, BALANCER="round_robin")
        yield running
        connections.close_all()
        process.reset()


@contextmanager
def started(servers):
    """Start servers, or what stands in front of some; skip, naming it, where a program is not installed."""
    try:
        servers.__enter__()
    except ServerError as error:
        if "not found" in str(error):
            pytest.skip(str(error))
        raise
    try:
        yield servers
    finally:
        servers.stop()


def stale_reads(rounds=ROUNDS, *, kept=True):
    """Write, and read in the next request of the client; return how often the write was not there."""
    stale = 0
    for number in range(rounds):
        title = f"book {number}"
        with routing_scope():
            Book.objects.create(title=title)
            token = current_token()
        with routing_scope(safe=True, token=token):
            stale += not Book.objects.filter(title=title).exists()
        if not kept:
            connections["replica1"].close()
    return stale
