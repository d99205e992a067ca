"""Decides which statements count as a client's write."""

from __future__ import annotations

from django_rwrouter.conf.clusters import Topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope.context import writes_are_tracked
from django_rwrouter.scope.state import RoutingState


def pins(statement: Statement, topology: Topology) -> bool:
    """Whether a write counts for the client that made it."""
    return statement.target not in topology.primary_only_tables and writes_are_tracked()


def note_write(state: RoutingState, cluster: str) -> None:
    """Remember a write for the scope and those around it, and say so where it comes too late for a client."""
    state.note_write(cluster)
    around: RoutingState | None = state
    while around is not None:
        if around.sealed and not (scope := around.scope(cluster)).wrote_late:
            scope.wrote_late = True
            emit.event(EventKind.LATE_WRITE, cluster)
        around = around.outer
