"""What the tests of set-ups share."""

from contextlib import contextmanager

import pytest
from django.db import connections

from django_rwrouter import current_token, routing_scope
from launcher.process import ServerError
from tests.app.models import Book
from tests.servers.products.conftest import django_db_setup, new_cluster, prepare, routed, rwrouter

__all__ = ["django_db_setup", "new_cluster", "prepare", "routed", "rwrouter", "stale_reads", "started"]

ROUNDS = 40


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("product") is None:
            item.add_marker(pytest.mark.product("mariadb"))


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
