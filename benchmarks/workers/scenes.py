"""The situations in which decisions are timed, made with public interfaces alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import django


def set_up() -> None:
    """Start Django for the contestant that the environment names."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.website.settings")
    django.setup()


@contextmanager
def scene(name: str) -> Iterator[Callable[[], str]]:
    """Yield what asks the router once, as Django would; inside the block the situation holds.

    ``write`` asks for a write; all others for a read. Peers know ``read`` and ``write`` alone, in a request
    of their own. Raises ``RuntimeError`` if the router does not answer as the situation wants.
    """
    from django.db import router

    from benchmarks.website.models import Item

    def read() -> str:
        return str(router.db_for_read(Item))

    def write() -> str:
        return str(router.db_for_write(Item))

    with ExitStack() as stack:
        if name in ("read", "write"):
            _begin_request_of_a_peer()
            ask = read if name == "read" else write
            ask()
        else:
            ask = write if name == "our-write" else read
            on_primary = _enter(name, stack, read)
            answer = ask()
            if (answer == "default") != on_primary:
                raise RuntimeError(f"In the scene {name!r} the router answered {answer!r}.")
        yield ask


def _enter(name: str, stack: ExitStack, read: Callable[[], str]) -> bool:
    """Make the situation; return whether its decisions are for the primary."""
    from django.conf import settings
    from django.db import transaction

    from django_rwrouter import consistency, routing_scope

    if name == "outside":
        return True
    if name == "our-write":
        stack.enter_context(routing_scope())
        return True
    token = _token_of_a_write() if name in ("pinned", "reached") else ""
    stack.enter_context(routing_scope(safe=True, token=token))
    if name == "transaction":
        stack.enter_context(transaction.atomic())
        return True
    if name == "bounded":
        stack.enter_context(consistency("bounded", max_staleness=3600.0))
    if name == "reached":
        _wait_for_replicas()
    read()  # A request's first read opens a connection, and asks what has to be asked.
    return name == "pinned" or settings.RWROUTER["CONSISTENCY"] == "primary"


def _token_of_a_write() -> str:
    from benchmarks.website.models import Item
    from django_rwrouter import current_token, routing_scope

    with routing_scope():
        Item.objects.filter(pk=1).update(text=os.urandom(8).hex())
        return current_token()


def _wait_for_replicas() -> None:
    from django.conf import settings
    from django.db import connections

    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT @@gtid_binlog_pos")
        [position] = cursor.fetchone()
    for alias in settings.RWROUTER["REPLICAS"]:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT MASTER_GTID_WAIT(%s, 10)", [position])


def _begin_request_of_a_peer() -> None:
    """Let a peer's middleware begin a GET, without ending it."""
    from django.core.handlers.base import BaseHandler
    from django.db import router
    from django.test import RequestFactory

    handler = BaseHandler()
    try:
        handler.load_middleware()
    except TypeError:
        return  # Middleware of a Django long gone; its router may work all the same.
    handler.get_response(RequestFactory().get("/"))
    for each in router.routers:
        if hasattr(each, "init"):  # django-replicated's forgets the request's state when that ends.
            each.init("slave")
