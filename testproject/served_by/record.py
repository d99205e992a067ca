"""The statements that databases answered, recorded per request or per block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from django_rwrouter import Decision, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement that a database answered."""

    alias: str
    reason: Reason
    wrote: bool


# One mutable list: what a thread or a task of the same request appends is seen by its middleware.
_recorder: ContextVar[list[Statement] | None] = ContextVar("served_by_recorder", default=None)


@contextmanager
def recording() -> Iterator[list[Statement]]:
    """Yield a list that each statement run inside is appended to.

    Blocks nest: the outer one gets the statements of the inner one when that ends.
    """
    statements: list[Statement] = []
    outer = _recorder.get()
    token = _recorder.set(statements)
    try:
        yield statements
    finally:
        _recorder.reset(token)
        if outer is not None:
            outer.extend(statements)


def remember(*, alias: str, decision: Decision, wrote: bool, **_kwargs: object) -> None:
    """Append a statement to the record in force: the receiver of ``statement_routed``."""
    recorder = _recorder.get()
    if recorder is not None:
        recorder.append(Statement(alias=alias, reason=decision.reason, wrote=wrote))


@dataclass(slots=True)
class Served:
    """What one database did for a page."""

    alias: str
    writes: int = 0
    reads: int = 0
    reasons: list[Reason] = field(default_factory=list)
    """Why its reads came here, each reason once."""

    def as_text(self) -> str:
        """Return this in one line of plain ASCII."""
        parts = []
        if self.reads:
            reasons = ", ".join(reason.value for reason in self.reasons)
            parts.append(f"read={self.reads} ({reasons})")
        if self.writes:
            parts.append(f"write={self.writes}")
        return f"{self.alias} {' '.join(parts)}"


def summary(statements: Sequence[Statement]) -> list[Served]:
    """Add statements up by database, in the order in which the databases were first used."""
    by_alias: dict[str, Served] = {}
    for statement in statements:
        served = by_alias.setdefault(statement.alias, Served(statement.alias))
        if statement.wrote:
            served.writes += 1
        else:
            served.reads += 1
            if statement.reason not in served.reasons:
                served.reasons.append(statement.reason)
    return list(by_alias.values())


def as_text(statements: Sequence[Statement]) -> str:
    """Return the summary in one line of plain ASCII, fit for a header."""
    return "; ".join(served.as_text() for served in summary(statements)) or "none"
