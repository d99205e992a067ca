"""Overruling a decision when its statement comes: the cursor is the last judge.

The router is asked for a model, before the statement exists. A query reads more tables than the model's own.
What speaks against the replica that the router chose is known once the statement is here; then it is run
where it belongs, in the cursor that the caller holds. What the code names itself is obeyed.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

from django_rwrouter.conf.clusters import Cluster, Topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.execution.announcements import RAW_DECISION
from django_rwrouter.execution.failover import replace_cursor


def overrule(
    decision: Decision, statement: Statement, cluster: Cluster, topology: Topology
) -> Decision | None:
    """Return the decision that holds for a statement that came to a replica, if it is another one.

    On the path of every read: one look at a set.
    """
    if decision.reason is Reason.EXPLICIT or statement.writes:
        return None
    if not topology.tables_on_primary.isdisjoint(statement.tables):
        route = None if decision.model is None else topology.route(decision.model)
        return (route or topology.raw_route(cluster.name)).decide(cluster.primary, Reason.PRIMARY_ONLY)
    return None


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
