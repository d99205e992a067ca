"""How many reads may be on the primary at once only because replicas lag."""

from __future__ import annotations

import threading

from django_rwrouter import process


class Place:
    """Room for one read; given back when nobody holds it any more, so that none is ever lost."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __del__(self) -> None:
        self._gate.leave()


class Gate:
    """Lets so many in at once."""

    def __init__(self) -> None:
        # Re-entrant: a place may be given back by the garbage collector, inside enter().
        self._lock = threading.RLock()
        self.inside = 0

    def enter(self, limit: int) -> Place | None:
        """Return a place to hold on to, or ``None`` if ``limit`` are taken."""
        with self._lock:
            if self.inside >= limit:
                return None
            self.inside += 1
            return Place(self)

    def leave(self) -> None:
        """Make room for another."""
        with self._lock:
            self.inside -= 1


_gates: dict[str, Gate] = {}


def gate_of(cluster: str) -> Gate:
    """Return the gate of a cluster's primary."""
    try:
        return _gates[cluster]
    except KeyError:
        return _gates.setdefault(cluster, Gate())


def reset() -> None:
    """Forget everything, as in a new process."""
    _gates.clear()


process.owns(reset)
