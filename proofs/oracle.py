"""One who knows everything: the fewest reads on the primary that a promise allows, in hindsight.

For each read of a run, the oracle looks at when each replica had what the read has to see. If any had it
when the answer came, no primary was needed. It does not make a read wait; what it finds is a lower bound for
whoever must decide before the answer is there, and does not wait either.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica was seen to have replayed a position."""

    at: float
    """Seconds; not before the last look that did not see it."""
    position: int


@dataclass(frozen=True, slots=True)
class Write:
    """A write that its client was told of."""

    client: int
    acknowledged: float
    position: int


@dataclass(frozen=True, slots=True)
class Read:
    """A read, from its request to its answer."""

    client: int
    sent: float
    answered: float


class Replay:
    """When one replica had replayed what."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        ordered = sorted(seen, key=lambda each: each.at)
        self._positions: list[int] = []
        self._times: list[float] = []
        for each in ordered:
            # Only what is new: a position that goes back says nothing about when it was first there.
            if not self._positions or each.position > self._positions[-1]:
                self._positions.append(each.position)
                self._times.append(each.at)

    def had(self, position: int, at: float) -> bool:
        """Whether the replica had replayed a position at that time."""
        index = bisect_left(self._positions, position)
        return index < len(self._positions) and self._times[index] <= at


def fewest_on_primary(
    reads: Sequence[Read], writes: Sequence[Write], replays: Mapping[str, Replay], *, of_all: bool = False
) -> int:
    """Return how many of the reads no replica could have answered without being stale.

    A read has to see what its own client was told of before it sent the read; with ``of_all``, what anybody
    was told of (the level ``strong``).
    """
    needed = _Newest(writes, of_all=of_all)
    found = 0
    for read in reads:
        position = needed.before(read.client, read.sent)
        if position and not any(replay.had(position, read.answered) for replay in replays.values()):
            found += 1
    return found


class _Newest:
    """The newest position that was acknowledged before a time."""

    def __init__(self, writes: Sequence[Write], *, of_all: bool) -> None:
        self._of_all = of_all
        self._by_client: dict[int, list[tuple[float, int]]] = {}
        for write in writes:
            client = 0 if of_all else write.client
            insort(self._by_client.setdefault(client, []), (write.acknowledged, write.position))
        for acknowledged in self._by_client.values():
            newest = 0
            for index, (at, position) in enumerate(acknowledged):
                newest = max(newest, position)
                acknowledged[index] = (at, newest)

    def before(self, client: int, at: float) -> int:
        acknowledged = self._by_client.get(0 if self._of_all else client, [])
        index = bisect_left(acknowledged, (at, -1))
        return acknowledged[index - 1][1] if index else 0
