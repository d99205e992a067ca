"""The few slots on a primary for reads whose replicas all lag (``SPILL_LIMIT``)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django_rwrouter import process

if TYPE_CHECKING:
    from django_rwrouter.scope.state import RoutingState


class Slot:
    """One read's slot; given back when nobody holds it any more, so that none is ever lost."""

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
        """Return a slot to hold on to, or ``None`` if ``limit`` are taken."""
        with self._lock:
            if self.taken >= limit:
                return None
            self.taken += 1
            return Slot(self)

    def give_back(self) -> None:
        """Make room for another read."""
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
    """Take a slot for a read of this thread; return whether there was one.

    A slot that an earlier decision has taken, whose statement never came, is used up first.
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
    """Give back the slot of this thread's read, which has been run."""
    state.spilled.pop((thread, cluster), None)


def reset() -> None:
    """Forget all slots, as in a new process."""
    _slots.clear()


process.owns(reset)
