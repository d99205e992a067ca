"""Keeps the processes of a host from emitting the same event: the leader that probes the servers emits it.

A follower emits the ejections that it alone has met, once the leader has probed the server and found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from time import monotonic
from typing import Final, ParamSpec

from django_rwrouter import process

P = ParamSpec("P")

_emitted_elsewhere: Final[ContextVar[bool]] = ContextVar("rwrouter_emitted_elsewhere", default=False)


class OwnEjections:
    """The ejections that reads of this process have caused."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start afresh, as a process that follows nobody."""
        self.following = False
        """Whether another process probes the servers for this one."""
        self.pending: dict[str, tuple[float, str]] = {}
        """By alias, when (monotonic) and why, until the leader has probed the server."""
        self.emitted: set[str] = set()
        """Replicas whose ejection this process has emitted, so that it also emits their return."""

    def hold(self, alias: str, reason: str) -> bool:
        """Whether to leave an ejection to the leader for now; notes it if so."""
        if self.following:
            self.pending[alias] = monotonic(), reason
        return self.following


own_ejections: Final = OwnEjections()
process.owns(own_ejections.reset)


@contextmanager
def emitted_elsewhere() -> Iterator[None]:
    """Suppress events in this block: another process emits them."""
    token = _emitted_elsewhere.set(True)
    try:
        yield
    finally:
        _emitted_elsewhere.reset(token)


def is_emitted_elsewhere() -> bool:
    """Whether another process emits the events of this context."""
    return _emitted_elsewhere.get()


def once_for_a_host(emit: Callable[P, None]) -> Callable[P, None]:
    """Decorate a function so that only the process that probes the servers emits its event."""

    @wraps(emit)
    def emit_once(*args: P.args, **kwargs: P.kwargs) -> None:
        if not _emitted_elsewhere.get():
            emit(*args, **kwargs)

    return emit_once
