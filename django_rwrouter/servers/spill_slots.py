"""The ``SPILL_LIMIT`` slots on a primary for reads whose replicas all exceed ``MAX_LAG``."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from django_rwrouter import process

if TYPE_CHECKING:
    from django_rwrouter.scope.state import RoutingState


class Slot:
    """The slot of one read: free once it is garbage collected, so that none is ever lost."""


_taken: Final[defaultdict[str, WeakSet[Slot]]] = defaultdict(WeakSet)
"""By cluster, the slots on its primary that reads of this process have taken."""
_lock = threading.RLock()  # Re-entrant: the garbage collector may run a finalizer that reads.


def reset() -> None:
    """Forget all slots, as in a new process."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _taken.clear()


process.owns(reset)


def taken(cluster: str) -> int:
    """Return how many slots on a cluster's primary are taken."""
    return len(_taken[cluster])


def take(state: RoutingState, thread: object, cluster: str, limit: int) -> bool:
    """Take a slot for a read of this thread; return whether one was free.

    A slot taken by an earlier decision whose statement was never run is reused.
    """
    key = (thread, cluster)
    if key not in state.spilled:
        with _lock:
            if taken(cluster) >= limit:
                return False
            state.spilled[key] = slot = Slot()
            _taken[cluster].add(slot)
    return True


def release(state: RoutingState, thread: object, cluster: str) -> None:
    """Give back the slot of this thread's read once it has run."""
    state.spilled.pop((thread, cluster), None)
