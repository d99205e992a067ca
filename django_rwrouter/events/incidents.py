"""Groups what many processes recorded about one outage into a single incident.

Pure. A process that ejects a replica notes it, and notes again when it restores it; the time between is its
part of the incident. Parts that overlap, or are no further apart than :data:`GAP`, are one incident.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django_rwrouter.events.kinds import EventKind
from django_rwrouter.stats.sums import Happening

ENDED_BY: Final[Mapping[str, str]] = {
    EventKind.REPLICA_EJECTED.value: EventKind.REPLICA_RESTORED.value,
    EventKind.PRIMARY_LOST.value: EventKind.PRIMARY_FOUND.value,
}
"""Events that last, and the events that end them. All others are over at once."""
BEGUN_BY: Final = {end: begin for begin, end in ENDED_BY.items()}
GAP: Final = 60.0
"""Seconds after which something that happens again is another incident: ``BreakerPolicy.steady_seconds``, by
which the breaker tells a replica that comes and goes."""

Holders = Mapping[str, Collection[str]]
"""By alias, the processes in whose eyes the server is out now: beginnings of their keys, as in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that happened, as all processes saw it."""

    name: str
    """Of the event, or of the one that began it."""
    subject: str
    begin: float
    """Seconds since 1970, like ``end``."""
    end: float | None
    """``None`` while it goes on, and where no process noted its end: those that saw it had ended."""
    goes_on: bool
    details: tuple[str, ...]
    """What the processes noted, the most frequent first."""
    processes: frozenset[str]
    """Those that noted it."""


class _Part(NamedTuple):
    """An incident as one process saw it."""

    beginning: Happening
    end: float | None
    """Infinite while it goes on; ``None`` if nobody noted it."""


def incidents(log: Iterable[Happening], holders: Holders) -> list[Incident]:
    """Return the incidents in a log: those that go on first, then the newest first."""
    groups: defaultdict[tuple[str, ...], list[Happening]] = defaultdict(list)
    for entry in sorted(log):
        name = BEGUN_BY.get(entry.name, entry.name)
        lasts = name in ENDED_BY
        groups[(name, entry.subject) if lasts else (name, entry.subject, entry.detail)].append(entry)
    together = [
        _incident(key, parts)
        for key, entries in groups.items()
        for parts in _together(_parts(entries, holders.get(key[1], ())))
    ]
    return sorted(together, key=lambda incident: (incident.goes_on, incident.begin), reverse=True)


def _parts(entries: Sequence[Happening], holders: Collection[str]) -> Iterator[_Part]:
    """Yield what each process saw, from its entries in the order of their time."""
    begun: dict[str, Happening] = {}
    unended: list[Happening] = []
    strangers: list[Happening] = []
    for entry in entries:
        if entry.name in BEGUN_BY:
            if beginning := begun.pop(entry.process, None):
                yield _Part(beginning, entry.when)
            else:
                strangers.append(entry)
        elif entry.name in ENDED_BY:
            if entry.process in begun:
                unended.append(begun[entry.process])
            begun[entry.process] = entry
        else:
            yield _Part(entry, entry.when)
    unended = sorted([*unended, *begun.values()])
    # Whoever ended what it did not begin has taken over from a process that is gone.
    for entry in strangers:
        gone = (
            beginning
            for beginning in unended
            if beginning.process not in holders and beginning.when <= entry.when
        )
        if beginning := next(gone, None):
            unended.remove(beginning)
            yield _Part(beginning, entry.when)
    for entry in unended:
        goes_on = entry.process in holders or (bool(holders) and entry is unended[-1])
        yield _Part(entry, math.inf if goes_on else None)


def _together(parts: Iterable[_Part]) -> Iterator[list[_Part]]:
    """Yield the parts of one incident after the other."""
    together: list[_Part] = []
    end = -math.inf
    for part in sorted(parts, key=lambda part: part.beginning.when):
        begin = part.beginning.when
        if together and begin > end + GAP:
            yield together
            together = []
        together.append(part)
        end = max(end, begin if part.end is None else part.end)
    if together:
        yield together


def _incident(key: tuple[str, ...], parts: list[_Part]) -> Incident:
    ends = [part.end for part in parts if part.end is not None]
    goes_on = math.inf in ends
    details = Counter(part.beginning.detail for part in parts)
    return Incident(
        name=key[0],
        subject=key[1],
        begin=parts[0].beginning.when,
        end=None if goes_on else max(ends, default=None),
        goes_on=goes_on,
        details=tuple(detail for detail, _count in details.most_common()),
        processes=frozenset(part.beginning.process for part in parts),
    )
