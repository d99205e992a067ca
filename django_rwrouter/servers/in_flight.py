"""How each replica is doing for this process: the reads that run on it, how long they take, and its lag."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from django_rwrouter import process

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Load:
    """One replica's. Written by any thread without a lock: each step is one operation on a dict or a number.

    To lose one of two reads that end at the same time does no harm, as only means of many are looked at.
    """

    __slots__ = ("count", "fresh_at", "running", "seconds")

    def __init__(self) -> None:
        self.running: dict[object, tuple[BaseDatabaseWrapper, float]] = {}
        """The statements that run now: a key for each, its connection, and when it began (performance
        counter)."""
        self.count = 0
        """Reads since it was last taken, of those that compare with other replicas'."""
        self.seconds = 0.0
        """What they took, in all."""
        self.fresh_at = -math.inf
        """Monotonic time up to which it is known to have everything; the later, the less it lags."""

    @contextmanager
    def waiting(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Let a question of our own be seen among the reads that run, which is not counted as one.

        Whoever ends the reads that hang on a server ends it, too.
        """
        key = object()
        self.running[key] = connection, perf_counter()
        try:
            yield
        finally:
            self.running.pop(key, None)

    def younger_than(self, seconds: float) -> list[BaseDatabaseWrapper]:
        """Return the connections on which a statement runs that began less than so many seconds ago."""
        since = perf_counter() - seconds
        return [connection for connection, began in list(self.running.values()) if began > since]

    def take(self) -> tuple[int, float]:
        """Return how many reads there were and what they took, and begin anew."""
        taken = self.count, self.seconds
        self.count, self.seconds = 0, 0.0
        return taken


class _Loads(dict[str, Load]):
    def __missing__(self, alias: str) -> Load:
        return self.setdefault(alias, Load())


loads: Final = _Loads()
"""What each replica has to do, by its alias: one is made for an alias that has none."""
reset: Final = loads.clear
"""Forget everything."""

process.owns(reset)
