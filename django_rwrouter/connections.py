"""Carrying out what the engine asks for: look at the transaction, open a connection, fetch the token."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from contextlib import ContextDecorator
from enum import Enum
from typing import TYPE_CHECKING, Final

from django.db import Error, connections

from django_rwrouter import engine, hooks, stats
from django_rwrouter.balancers import get_balancer
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.engine import LoadToken, Transaction
from django_rwrouter.exceptions import NoReplicaAvailable
from django_rwrouter.health import health
from django_rwrouter.state import (
    Block,
    ClusterScope,
    RoutingState,
    ThreadConnections,
    current_block,
    current_state,
    on_event_loop,
    this_thread,
)
from django_rwrouter.topology import Cluster, ModelRoute, get_topology

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

logger = logging.getLogger("django_rwrouter")

_DECORATED: Final = ContextDecorator()(lambda: None).__code__
"""The code of every function that was decorated with a context manager, such as ``atomic()``."""


class Opening(Enum):
    """How opening a replica's connection went."""

    OPENED = "opened"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    """The running test has not declared that it uses this database."""


def decide_read(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one read, and open the connection that it will use.

    ``None`` if it is not ours to decide. Raises ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    instance_alias = None if instance is None else instance._state.db
    if instance_alias is not None and _is_foreign(instance_alias):
        return None
    cluster = route.cluster
    state = current_state()
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    decision = _take_steps(route, state, scope, block, instance_alias)
    _remember(decision, scope, block, cluster)
    state.announced_reads.setdefault(decision.alias, {})[route.table] = decision
    return decision


def _take_steps(
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    instance_alias: str | None,
) -> Decision:
    """Ask the engine, do what it asks for, and ask again until it has decided."""
    cluster = route.cluster
    ours = _of_this_thread(scope, cluster)
    # On the event loop's own thread nothing may wait: the choice rests on what is known already.
    waiting_allowed = not on_event_loop()
    unusable = health.unusable()
    forbidden: set[str] = set()
    while True:
        verdict = engine.route_read(
            route,
            state,
            scope,
            block,
            instance_alias=instance_alias,
            transaction=_transaction(ours.primary, scope),
            balancer=get_balancer(cluster.settings.balancer),
            opened=ours.opened,
            unusable=unusable,
            forbidden=forbidden,
            now=time.time(),
        )
        if isinstance(verdict, Decision):
            return verdict
        if isinstance(verdict, LoadToken):
            if state.may_block and not waiting_allowed:
                return route.decide(cluster.primary, Reason.EVENT_LOOP)
            state.known_token()
        elif not waiting_allowed:
            scope.replica = verdict.alias
            return route.decide(verdict.alias, verdict.reason)
        else:
            opening = open_replica(verdict.alias)
            if opening is Opening.OPENED:
                ours.opened.add(verdict.alias)
                scope.replica = verdict.alias
            elif opening is Opening.FORBIDDEN:
                forbidden.add(verdict.alias)
            else:
                unusable = {*unusable, verdict.alias}


def decide_write(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one write: the primary, or ``None`` if it is not ours to decide."""
    if instance is not None and instance._state.db is not None and _is_foreign(instance._state.db):
        return None
    state = current_state()
    _of_this_thread(state.scope(route.cluster.name), route.cluster)
    decision = route.decide(route.cluster.primary, Reason.WRITE, "write")
    announced = state.announced_writes.setdefault(decision.alias, {})
    announced.pop(route.table, None)  # So that the newest is the last.
    announced[route.table] = decision
    state.announced_reads.setdefault(decision.alias, {})[route.table] = decision
    return decision


def _is_foreign(alias: str) -> bool:
    """Whether an object came from a database that is not ours.

    One that is in no setting is none at all: a cached object may remember a replica that is long gone.
    """
    return alias not in get_topology().by_alias and alias in connections.settings


def open_replica(alias: str) -> Opening:
    """Open a replica's connection, or make sure that the open one still works.

    This has to happen before Django uses it: a dead server fails in ``connect()``, or in the ping of
    ``CONN_HEALTH_CHECKS``, and neither is seen by an execute wrapper. Bounded by the timeouts in the
    database's ``OPTIONS``.
    """
    connection = hooks.install(connections[alias])
    if _is_forbidden(connection):
        return Opening.FORBIDDEN
    if not health.begin_trial(alias):
        return Opening.FAILED
    try:
        connection.close_if_health_check_failed()
        connection.ensure_connection()
    except AssertionError as error:
        if type(error).__name__ == "DatabaseOperationForbidden":  # In other threads, Django tells only here.
            return Opening.FORBIDDEN
        raise
    except Error as error:
        health.failed(alias)
        stats.count_event("replica_passed_over", alias)
        # The driver's text may name host and user; its code says enough.
        code = error.args[0] if error.args and isinstance(error.args[0], int) else ""
        logger.warning(
            "The replica %r cannot be connected to (%s); it is left alone for a while.",
            alias,
            f"{type(error).__name__} {code}".rstrip(),
            extra={"alias": alias},
        )
        return Opening.FAILED
    health.works(alias)
    return Opening.OPENED


def note_view(state: RoutingState, view: Callable[..., object]) -> None:
    """Remember the view that Django is about to wrap in a transaction, if it is.

    Called from ``process_view``, when that transaction is not open yet. It matters for requests that may read
    from replicas only.
    """
    if not state.safe:
        return
    exempt = getattr(view, "_non_atomic_requests", ())
    for cluster in get_topology().clusters.values():
        options = connections.settings.get(cluster.primary, {})
        if options.get("ATOMIC_REQUESTS") and cluster.primary not in exempt:
            state.scope(cluster.name).view = view


def _of_this_thread(scope: ClusterScope, cluster: Cluster) -> ThreadConnections:
    """Return the connections of the running thread, looked up once in a scope.

    ``connections[alias]`` costs as much as all the rest of a decision.
    """
    thread = this_thread()
    ours = scope.by_thread.get(thread)
    if ours is None:
        primary = hooks.install(connections[cluster.primary])
        ours = scope.by_thread[thread] = ThreadConnections(primary)
    return ours


def _transaction(connection: BaseDatabaseWrapper, scope: ClusterScope) -> Transaction:
    """Tell what is open on the primary's connection."""
    if not connection.in_atomic_block:
        # Without autocommit, a transaction is open from the first statement on.
        manual = connection.connection is not None and not connection.autocommit
        return Transaction.BLOCK if manual else Transaction.NONE
    if scope.view is not None and len(connection.atomic_blocks) == 1:
        block = connection.atomic_blocks[0]
        if scope.view_block is None and _is_around(block, scope.view):
            scope.view_block = block
        if scope.view_block is block:
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


def _is_forbidden(connection: BaseDatabaseWrapper) -> bool:
    """Whether Django's test case has disarmed the connection, as it does for all but ``databases``."""
    return type(vars(connection).get("cursor")).__name__ == "_DatabaseFailure"


def _remember(decision: Decision, scope: ClusterScope, block: Block | None, cluster: Cluster) -> None:
    if decision.would_be is not None:
        scope.replica = decision.would_be
        return
    if not decision.reason.on_primary or decision.reason in engine.UNCONDITIONAL:
        return
    if block is not None and block.strict:
        raise NoReplicaAvailable(
            f"This read would go to the primary ({decision.reason.label}), and the block around it says"
            " strict=True. Catch this error, or leave strict out."
        )
    scope.read_primary = True
    if decision.reason is Reason.PINNED and not scope.pinned:
        scope.pinned = True
        stats.count_event("pinned_request", cluster.name)
