"""Records the statements of a request, for the debug toolbar and the ``Server-Timing`` header.

The receiver finds the recording of its request in a context variable: it covers child tasks and worker
threads of the request, and nothing of other requests.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.decision import Decision, Operation
from django_rwrouter.scope.context import current_block, current_scope
from django_rwrouter.scope.state import RoutingState
from django_rwrouter.signals import statement_routed


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStatement:
    """A statement of the request, in types that every store of the debug toolbar can keep."""

    alias: str
    is_primary: bool
    operation: Operation
    """``"write"`` if the statement counts as a write."""
    reason: str
    """The value of a :class:`~django_rwrouter.decision.Reason`."""
    level: str
    model: str
    """The label of the model that the router was asked for, or an empty string."""
    would_be: str
    """Under ``ENABLED: "shadow"``, the replica that would have answered."""
    milliseconds: float
    sql: str
    """The statement with its placeholders."""
    steps: list[tuple[str, str, float]]
    """The steps that its decision took: name, database, and milliseconds."""


class Recording:
    """The statements of one request, or of what else runs in the ``with`` block; entered once."""

    def __init__(self) -> None:
        self.statements: list[RecordedStatement] = []
        self.state: RoutingState | None = None
        """The routing state of the request."""
        self._outer: tuple[Recording, ...] = ()
        self._seen: dict[str, list[tuple[str, str, float]]] = {}

    def __enter__(self) -> None:
        self._outer = _recordings.get()
        _recordings.set((*self._outer, self))

    def __exit__(self, *_error: object) -> None:
        # A reset token would be refused in a copy of the context.
        _recordings.set(self._outer)

    def take(self, *, alias: str, decision: Decision, sql: str, seconds: float, wrote: bool) -> None:
        """Record a statement (receiver of ``statement_routed``)."""
        cluster = get_topology().by_alias[alias]
        self.state = state = current_scope() or self.state
        steps = [] if state is None else state.scope(cluster.name).steps
        if steps and self._seen.get(cluster.name) is steps:
            steps = []  # They belong to the first statement of their decision.
        else:
            self._seen[cluster.name] = steps
        self.statements.append(
            RecordedStatement(
                alias=alias,
                is_primary=alias == cluster.primary,
                operation="write" if wrote else "read",
                reason=decision.reason.value,
                level=level_in_force(cluster),
                model="" if decision.model is None else decision.model._meta.label,
                would_be=decision.would_be or "",
                milliseconds=seconds * 1000,
                sql=sql,
                steps=[(name, database, seconds * 1000) for name, database, seconds in steps],
            )
        )


_recordings: Final[ContextVar[tuple[Recording, ...]]] = ContextVar("rwrouter_recordings", default=())


def listen() -> None:
    """Connect the receiver; may be called again."""
    statement_routed.connect(_take, dispatch_uid="django_rwrouter.contrib.statement_recording")


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
