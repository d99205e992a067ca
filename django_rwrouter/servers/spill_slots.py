"""The ``SPILL_LIMIT`` slots on a primary for reads whose replicas all exceed ``MAX_LAG``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django_rwrouter import process

if TYPE_CHECKING:
    from django_rwrouter.scope.state import RoutingState


class Slot:
    """The slot of one read; given back when it is garbage collected, so that none is ever lost."""

    __slots__ = ("_slots",)

    def __init__(self, slots: SpillSlots) -> None:
        self._slots = slots

    def __del__(self) -> None:
        self._slots.give_back()


class SpillSlots:
    """The slots of one cluster's primary in this process."""

    def __init__(self) -> None:
        # Re-entrant: the garbage collector may give a slot back inside take().
        self._lock = threading.RLock()
        self.taken = 0

    def take(self, limit: int) -> Slot | None:
        """Return a slot, taken for as long as the caller keeps it, or ``None`` if ``limit`` are taken."""
        with self._lock:
            if self.taken >= limit:
                return None
            self.taken += 1
            return Slot(self)

    def give_back(self) -> None:
        """Free one slot."""
        with self._lock:
            self.taken -= 1


_slots: dict[str, SpillSlots] = {}


def slots_of(cluster: str) -> SpillSlots:
    """Return the slots of a cluster's primary."""
    try:
        return _slots[cluster]
    except KeyError:
        return _slots.setdefault(cluster, SpillSlots())


def take(state: RoutingState, thread: object, cluster: str, limit: int) -> bool:
    """Take a slot for a read of this thread; return whether one was free.

    A slot taken by an earlier decision whose statement was never run is reused.
    """
    key = (thread, cluster)
    if key in state.spilled:
        return True
    slot = slots_of(cluster).take(limit)
    if slot is None:
        return False
    state.spilled[key] = slot
    return True


def release(state: RoutingState, thread: object, cluster: str) -> None:
    """Give back the slot of this thread's read once it has run."""
    state.spilled.pop((thread, cluster), None)


def reset() -> None:
    """Forget all slots, as in a new process."""
    _slots.clear()


process.owns(reset)
