"""Records the statements of a request, for the debug toolbar and the ``Server-Timing`` header.

The receiver finds the recording of its request in a context variable: it covers child tasks and worker
threads of the request, and nothing of other requests.
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
    """A statement of the request."""

    cluster: str
    alias: str
    """The database that ran the statement."""
    is_primary: bool
    operation: Operation
    """``"write"`` if the statement counts as a write."""
    reason: Reason
    level: str
    """The level in force."""
    model: str
    """The label of the model that the router was asked for, or an empty string."""
    would_be: str
    """Under ``ENABLED: "shadow"``, the replica that would have answered."""
    seconds: float
    sql: str
    """The statement with its placeholders."""
    steps: tuple[tuple[str, str, float], ...]
    """The steps that its decision took: name, database, and seconds."""


class Recording:
    """The statements of one request, from :meth:`begin` to :meth:`end`."""

    def __init__(self) -> None:
        self.statements: list[RecordedStatement] = []
        self.state: RoutingState | None = None
        """The routing state of the request."""
        self._outer: tuple[Recording, ...] = ()
        self._seen: dict[str, list[tuple[str, str, float]]] = {}

    def begin(self) -> None:
        """Record the statements of this context from now on."""
        self._outer = _recordings.get()
        _recordings.set((*self._outer, self))

    def end(self) -> None:
        """Stop recording; called in the context that called :meth:`begin`."""
        # A reset token would be refused in a copy of the context.
        _recordings.set(self._outer)

    def take(self, *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool) -> None:
        """Record a statement (receiver of ``statement_routed``)."""
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
        """Return the steps of a decision once: they belong to its first statement."""
        if self._seen.get(cluster) is steps:
            return ()
        self._seen[cluster] = steps
        return tuple(steps)


_recordings: Final[ContextVar[tuple[Recording, ...]]] = ContextVar("rwrouter_recordings", default=())


def listen() -> None:
    """Connect the receiver; may be called again."""
    statement_routed.connect(_take, dispatch_uid="django_rwrouter.contrib.recording")


def level_in_force(cluster: Cluster) -> str:
    """Return the level of the innermost block that applies to the cluster, or that of the settings."""
    block = current_block(cluster.name)
    level = cluster.settings.consistency if block is None or block.level is None else block.level
    return level.value


def _take(
    *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool, **_kwargs: object
) -> None:
    for recording in _recordings.get():
        recording.take(alias=alias, decision=decision, sql=sql, seconds=seconds, wrote=wrote)
