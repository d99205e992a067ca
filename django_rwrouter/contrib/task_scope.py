"""The routing scope of background tasks, whichever library runs them.

A task is published in one process and runs later in another. It carries a token of what its publisher has
written, and runs in a scope of its own, like a request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import connections

from django_rwrouter import databases
from django_rwrouter.blocks import Region, consistency, routing_scope
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.decision import Level
from django_rwrouter.scope.context import Isolation, current_scope, current_state
from django_rwrouter.scope.state import RoutingState
from django_rwrouter.stores import exchange

_NEEDS_POSITION: Final = frozenset({Level.CAUSAL, Level.STRONG})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How a task's reads are treated; raises ``ValueError`` for an unknown level and a bad bound."""

    safe: bool = False
    """Like a GET: reads may go to replicas, at the project's level, until the task writes."""
    consistency: Level | str | None = None
    """The level of the task's reads, whatever ``safe`` says; the task may write all the same."""
    max_staleness: float | None = None
    """Seconds, for the level ``bounded``."""

    def __post_init__(self) -> None:
        self.block()

    def block(self) -> Region | None:
        """Return the block to put around the task."""
        if self.consistency is None:
            if self.max_staleness is not None:
                raise ValueError("max_staleness goes with consistency='bounded'; write both, or neither.")
            return None
        return consistency(self.consistency, max_staleness=self.max_staleness)


NO_OPTIONS: Final = TaskOptions()


def token_for_task(options: TaskOptions = NO_OPTIONS, *, saw_all: bool = False) -> str:
    """Return the token that a task needs to see what its publisher has written, or an empty string.

    Inside ``atomic()`` the token has no position, since nothing is committed yet. Outside any scope, where
    writes are not recorded, every database that this thread is connected to counts as written to. With
    ``saw_all`` every cluster does: for a publisher that stands for many tasks which wrote elsewhere.
    """
    topology = get_topology()
    if topology.inert:
        return ""
    scope = current_scope()
    state = scope or RoutingState(safe=False)
    if saw_all and scope is not None:
        state = RoutingState(safe=False)
        state.token = scope.known_token()
    if state is not scope:
        for cluster in topology.clusters.values():
            if saw_all or connections[cluster.primary].connection is not None:
                state.note_write(cluster.name)
    before = state.wants_position
    state.wants_position = before or options.consistency in _NEEDS_POSITION
    try:
        return exchange.issue(state).encode(databases.encode)
    finally:
        state.wants_position = before


class TaskScope:
    """The scope of one task, isolated from the scope around it. Entered once.

    If a task runs inside a request, as with eager tasks, the request takes over the task's writes.
    """

    __slots__ = ("_isolation", "_options", "_token")

    def __init__(self, options: TaskOptions = NO_OPTIONS, token: str = "") -> None:
        self._options = options
        self._token = token
        self._isolation = Isolation()

    def __enter__(self) -> None:
        """Open the scope."""
        block = self._options.block()
        outer = current_scope()
        self._isolation.__enter__()
        try:
            routing_scope(safe=self._options.safe, token=self._token).__enter__()
            current_state().outer = outer
            if block is not None:
                block.__enter__()
        except BaseException:
            self._isolation.__exit__()
            raise

    def __exit__(self, *_error: object) -> None:
        """Close the scope, and what is still open inside it."""
        self._isolation.__exit__()
