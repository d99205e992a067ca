"""Which statements count as a client's write."""

from __future__ import annotations

import logging

from django_rwrouter import stats
from django_rwrouter.conf.clusters import Topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.scope.context import writes_are_tracked
from django_rwrouter.scope.state import RoutingState

logger = logging.getLogger("django_rwrouter")


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
            stats.count_event("late_write", cluster)
            logger.warning(
                "A write was made while a streamed response was being sent, too late for the client's token:"
                " its next reads may miss it. Write before the response is returned.",
                extra={"cluster": cluster},
            )
        around = around.outer
