"""Decides which statements count as a client's write."""

from __future__ import annotations

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope.context import InForce
from django_rwrouter.scope.state import RoutingState


def pins(statement: Statement, now: InForce) -> bool:
    """Whether a write counts for the client that made it. ``now`` is what is in effect."""
    return not now.untracked and statement.target not in get_topology().primary_only_tables


def note_write(state: RoutingState, cluster: str) -> None:
    """Remember a write for the scope and those around it, and say so where it comes too late for a client."""
    state.note_write(cluster)
    around: RoutingState | None = state
    while around is not None:
        if around.sealed and not (scope := around.scope(cluster)).wrote_late:
            scope.wrote_late = True
            emit.event(EventKind.LATE_WRITE, cluster)
        around = around.outer
