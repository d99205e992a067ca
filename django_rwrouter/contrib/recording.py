"""What the statements of a request were, for those who show it while the request is still there to be asked.

One that listens to each statement finds out in which request it ran by a context variable: what a child task
or a worker thread of the request runs is seen too, and what other requests run is not.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.decision import Decision, Operation, Reason
from django_rwrouter.scope.context import current_block, current_scope
from django_rwrouter.scope.state import RoutingState
from django_rwrouter.signals import statement_routed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStatement:
    """One statement."""

    cluster: str
    alias: str
    """The database that ran it."""
    is_primary: bool
    operation: Operation
    """``"write"`` if it counts as one."""
    reason: Reason
    level: str
    """The level that was in force."""
    model: str
    """The label of the model that the router was asked for, or nothing."""
    would_be: str
    """Under ``ENABLED: "shadow"``, the replica that would have been read."""
    seconds: float
    sql: str
    """With placeholders."""
    steps: tuple[tuple[str, str, float], ...]
    """What its decision took beyond knowledge: each step's name, its database, and seconds."""


class Recording:
    """The statements of one request, from :meth:`begin` to :meth:`end`."""

    def __init__(self) -> None:
        self.statements: list[RecordedStatement] = []
        self.state: RoutingState | None = None
        """What the request remembered."""
        self._outer: tuple[Recording, ...] = ()
        self._seen: dict[str, list[tuple[str, str, float]]] = {}

    def begin(self) -> None:
        """Record what this context runs from now on."""
        self._outer = _recordings.get()
        _recordings.set((*self._outer, self))

    def end(self) -> None:
        """Stop. To be called in the context that called :meth:`begin`."""
        # Not by the variable's own reset token: that refuses to work in a copy of the context.
        _recordings.set(self._outer)

    def take(self, *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool) -> None:
        """Take in one statement."""
        cluster = get_topology().by_alias[alias]
        self.state = state = current_scope() or self.state
        steps = () if state is None else self._new_steps(cluster.name, state.scope(cluster.name).steps)
        self.statements.append(
            RecordedStatement(
                cluster=cluster.name,
                alias=alias,
                is_primary=alias == cluster.primary,
                operation="write" if wrote else "read",
                reason=decision.reason,
                level=level_in_force(cluster),
                model="" if decision.model is None else decision.model._meta.label,
                would_be=decision.would_be or "",
                seconds=seconds,
                sql=sql,
                steps=steps,
            )
        )

    def _new_steps(
        self, cluster: str, steps: list[tuple[str, str, float]]
    ) -> tuple[tuple[str, str, float], ...]:
        """Return the steps if no statement has had them: each decision that takes any makes a new list."""
        if self._seen.get(cluster) is steps:
            return ()
        self._seen[cluster] = steps
        return tuple(steps)


_recordings: Final[ContextVar[tuple[Recording, ...]]] = ContextVar("rwrouter_recordings", default=())


def listen() -> None:
    """Have the statements sent here; may be called again."""
    statement_routed.connect(_take, dispatch_uid="django_rwrouter.contrib.recording")


def level_in_force(cluster: Cluster) -> str:
    """Return the level of the innermost block that speaks of the cluster, or that of the settings."""
    block = current_block(cluster.name)
    level = cluster.settings.consistency if block is None or block.level is None else block.level
    return level.value


def _take(
    *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool, **_kwargs: object
) -> None:
    for recording in _recordings.get():
        recording.take(alias=alias, decision=decision, sql=sql, seconds=seconds, wrote=wrote)
