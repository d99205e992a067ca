"""Overruling a decision when its statement comes: the cursor is the last judge.

The router is asked for a model, before the statement exists. A query reads more tables than the model's own;
and Django binds some querysets (``raw()``, generic relations) when they are built, however late they run.
What speaks against the replica that the router chose is known once the statement is here; then it is run
where it belongs, in the cursor that the caller holds. What the code names itself is obeyed.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.query import RawQuery

from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.execution.announcements import RAW_DECISION
from django_rwrouter.execution.failover import replace_cursor
from django_rwrouter.routing.decide import substitute
from django_rwrouter.routing.decision_cache import is_settled
from django_rwrouter.routing.steps import Transaction
from django_rwrouter.routing.transactions import transaction_of
from django_rwrouter.scope.context import current_block
from django_rwrouter.scope.state import THREAD, BlockKind, ClusterScope, RoutingState, this_thread

_LEVELS: Final = frozenset(
    {Reason.EVENTUAL, Reason.WINDOW, Reason.CAUSAL, Reason.STRONG, Reason.BOUNDED, Reason.USE_REPLICA}
)
"""Reasons that say what the code asked for where the read was decided."""
_FRAMES: Final = 12
"""How far up the stack Django's own code is looked for, which executes a statement of ``raw()``."""


def overrule(
    decision: Decision | None,
    statement: Statement,
    connection: BaseDatabaseWrapper,
    state: RoutingState,
    cluster: Cluster,
) -> Decision | None:
    """Return the decision that holds for a statement that came to a replica, if it is another one.

    On the path of every read: a read whose decision is settled costs one look at its tables.
    """
    topology = get_topology()
    if statement.writes:
        return None
    reads_primary = not topology.tables_on_primary.isdisjoint(statement.tables)
    if not reads_primary and (
        (decision is not None and is_settled(decision, state)) or _holds(decision, state, cluster)
    ):
        return None
    if decision is None:
        decision = _bound(statement, connection.alias, state)
        if decision is None:
            return None
    elif decision.model is None and connection.in_atomic_block:
        return None  # The code has begun a transaction by the replica's name.
    if reads_primary:
        route = None if decision.model is None else topology.route(decision.model)
        return (route or topology.raw_route(cluster.name)).decide(cluster.primary, Reason.PRIMARY_ONLY)
    better = substitute(decision, cluster, ())
    return None if better.alias == connection.alias else better


def move(decision: Decision, context: dict[str, Any]) -> dict[str, Any]:
    """Let the caller's cursor work where the decision says; return the context of the statement there."""
    cursor = context["cursor"]
    connection = connections[decision.alias]
    left = cursor.cursor
    replace_cursor(cursor, connection, chunked=bool(getattr(left, "name", None)))
    left.close()
    if hasattr(cursor, RAW_DECISION):
        setattr(cursor, RAW_DECISION, decision)
    return {**context, "connection": connection}


def _holds(decision: Decision | None, state: RoutingState, cluster: Cluster) -> bool:
    """Whether nothing of this moment speaks against the replica: the rules, for what can have changed."""
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    kind = None if block is None else block.kind
    if kind is BlockKind.PRIMARY or (scope.wrote and kind is not BlockKind.REPLICA):
        return False
    if _is_in_transaction(state, scope, cluster):
        return False
    if decision is None or decision.reason not in _LEVELS:
        return True
    if kind is BlockKind.REPLICA:
        return decision.reason is Reason.USE_REPLICA
    level = cluster.settings.consistency if block is None or block.level is None else block.level
    if level is Level.CAUSAL and decision.reason is Reason.WINDOW:  # What it is without positions.
        ours = scope.by_thread.get(this_thread())
        return ours is not None and not ours.situation.positions
    return decision.reason.code == level.value


def _is_in_transaction(state: RoutingState, scope: ClusterScope, cluster: Cluster) -> bool:
    ours = scope.by_thread.get(this_thread())
    primary = connections[cluster.primary] if ours is None else ours.primary
    transaction = transaction_of(primary, scope)
    return transaction is Transaction.BLOCK or (transaction is Transaction.VIEW and not state.safe)


def _bound(statement: Statement, alias: str, state: RoutingState) -> Decision | None:
    """Return the decision that bound a read which was announced long ago, if it was bound by the router.

    A table that the code both reads by the name of a replica and through a generic relation or ``raw()``
    bound to the same replica is taken for the latter.
    """
    is_raw: bool | None = None
    scope: RoutingState | None = state
    while scope is not None:
        for table in statement.tables:
            key = alias, table
            if key in scope.generic_reads:
                return scope.generic_reads[key]
            if key in scope.routed_reads:
                is_raw = _is_raw_query() if is_raw is None else is_raw
                if is_raw:
                    return scope.routed_reads[key]
        # Where a block remembers, outside any scope, the read was decided by the stand-in.
        scope = scope.outer or (THREAD.outside if scope.outside and scope is not THREAD.outside else None)
    return None


def _is_raw_query() -> bool:
    """Whether a queryset of ``raw()`` is being evaluated: it is bound when it is built."""
    frame = inspect.currentframe()
    for _step in range(_FRAMES):
        if frame is None:
            return False
        if isinstance(frame.f_locals.get("self"), RawQuery):
            return True
        frame = frame.f_back
    return False
