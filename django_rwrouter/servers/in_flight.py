"""The statements in flight on each server, and the duration of finished reads, in this process."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from django_rwrouter import process

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Load:
    """The load that this process puts on one server.

    Written by any thread without a lock: each step is one operation on a dict or a number, and losing one of
    two reads that end at the same time does no harm, as only means of many are compared.
    """

    __slots__ = ("count", "running", "seconds")

    def __init__(self) -> None:
        self.running: dict[object, tuple[BaseDatabaseWrapper, float]] = {}
        """The statements in flight: by key, the connection and the start (performance counter)."""
        self.count = 0
        """Reads since the last :meth:`take`; only those that are comparable between replicas."""
        self.seconds = 0.0
        """Their total duration."""

    def younger_than(self, seconds: float) -> list[BaseDatabaseWrapper]:
        """Return the connections whose statement in flight began less than ``seconds`` ago."""
        since = perf_counter() - seconds
        return [connection for connection, began in list(self.running.values()) if began > since]

    def hung_probes(self, seconds: float) -> list[BaseDatabaseWrapper]:
        """Return the connections whose probe in flight began ``seconds`` ago or earlier."""
        before = perf_counter() - seconds
        return [
            connection
            for key, (connection, began) in list(self.running.items())
            if isinstance(key, registered) and key.is_probe and began <= before
        ]

    def take(self) -> tuple[int, float]:
        """Return the number of reads and their total duration, and start counting from zero."""
        taken = self.count, self.seconds
        self.count, self.seconds = 0, 0.0
        return taken


class registered:  # noqa: N801  (used like a function)
    """Registers a statement as in flight, so that ``cut_off()`` ends it, without counting it as a read.

    ``probe`` says whether it is one of this package's own. A generator would take twice the calls.
    """

    __slots__ = ("_connection", "_running", "is_probe")

    def __init__(self, connection: BaseDatabaseWrapper, *, probe: bool = True) -> None:
        self._running = loads[connection.alias].running
        self._connection = connection
        self.is_probe = probe

    def __enter__(self) -> None:
        self._running[self] = self._connection, perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._running.pop(self, None)


class _Loads(dict[str, Load]):
    def __missing__(self, alias: str) -> Load:
        return self.setdefault(alias, Load())


loads: Final = _Loads()
"""The load of each server by alias, created on first use."""
reset: Final = loads.clear

process.owns(reset)
