"""Who tells what happens to servers, where one process of a host watches them for all: that one, once.

What this process alone has met is told by itself, as soon as the watcher has looked and found nothing.
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

_told_elsewhere: Final[ContextVar[bool]] = ContextVar("rwrouter_told_elsewhere", default=False)


class OwnEjections:
    """Ejections that the reads of this process have caused."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Be as in a new process, which nobody watches for."""
        self.following = False
        """Whether another process watches for this one."""
        self.untold: dict[str, tuple[float, str]] = {}
        """By alias: when (monotonic) and why, until the watcher has looked."""
        self.told: set[str] = set()
        """Those that this process has told itself, and whose end it tells, too."""

    def hold(self, alias: str, reason: str) -> bool:
        """Whether to leave it to the watcher to tell of an ejection, for now."""
        if self.following:
            self.untold[alias] = monotonic(), reason
        return self.following


own_ejections: Final = OwnEjections()
process.owns(own_ejections.reset)


@contextmanager
def told_elsewhere() -> Iterator[None]:
    """What is found in this block, another process tells."""
    token = _told_elsewhere.set(True)
    try:
        yield
    finally:
        _told_elsewhere.reset(token)


def is_told_elsewhere() -> bool:
    """Whether another process tells what is found now."""
    return _told_elsewhere.get()


def once_for_a_host(tell: Callable[P, None]) -> Callable[P, None]:
    """Have an event told by the process that watches, and by no other."""

    @wraps(tell)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        if not _told_elsewhere.get():
            tell(*args, **kwargs)

    return told
