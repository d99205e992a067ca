"""Tells which transaction is open around a read: the view's own, or a block."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Final

from django.db import connections

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.routing.steps import (
    Transaction,
)
from django_rwrouter.scope.state import (
    ClusterScope,
    RoutingState,
)

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_DECORATED: Final = ContextDecorator()(lambda: None).__code__
"""The code of every function that was decorated with a context manager, such as ``atomic()``."""


def note_view(state: RoutingState, view: Callable[..., object]) -> None:
    """Remember the view that Django is about to wrap in a transaction, if it is.

    Called from ``process_view``, when that transaction is not open yet. It matters for requests that may read
    from replicas only.
    """
    clusters = get_topology().clusters
    for name in clusters:
        primary = clusters[name].primary
        if connections.settings[primary]["ATOMIC_REQUESTS"] and (
            primary not in getattr(view, "_non_atomic_requests", ())
        ):
            state.scope(name).view = view
            state.settled = {}


def transaction_of(
    connection: BaseDatabaseWrapper, state: RoutingState, scope: ClusterScope, cluster: str
) -> Transaction:
    """Tell what is open on the primary's connection.

    The view's own transaction is also that of the scopes inside the request, unless the view has written
    in it.
    """
    if not connection.in_atomic_block:
        # Without autocommit, a transaction is open from the first statement on.
        manual = connection.connection is not None and not connection.autocommit
        return Transaction.BLOCK if manual else Transaction.NONE
    if len(connection.atomic_blocks) == 1 and (views := state.scope_of_view(cluster)) is not None:
        block = connection.atomic_blocks[0]
        if views.view_block is None and views.view is not None and _is_around(block, views.view):
            views.view_block = block
        if views.view_block is block and (views is scope or not views.wrote):
            return Transaction.VIEW
    return Transaction.BLOCK


def _is_around(block: object, view: Callable[..., object]) -> bool:
    """Whether a transaction that is open is the one that ``ATOMIC_REQUESTS`` put around the view.

    A block that middleware opens looks just the same, but only Django's is a decorator around the view, and
    that can be seen on the stack. Looked for once in a request.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is _DECORATED and frame.f_locals.get("self") is block:
            decorated = frame.f_locals.get("func")
            while decorated is not None and decorated is not view:
                decorated = getattr(decorated, "__wrapped__", None)
            return decorated is view
        frame = frame.f_back
    return False
