"""How many reads may be on the primary at once only because replicas lag."""

from __future__ import annotations

import threading


class Gate:
    """Lets so many in at once. A call of :meth:`enter` that succeeds must be followed by :meth:`leave`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = 0

    def enter(self, limit: int) -> bool:
        """Go in if fewer than ``limit`` are inside; tell whether that was so."""
        with self._lock:
            if self.inside >= limit:
                return False
            self.inside += 1
            return True

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
