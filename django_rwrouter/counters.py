"""Counts of one process, kept in memory by the minute until they are written.

Nothing here knows of Django, a database or a thread that writes: :mod:`django_rwrouter.stats` does. What is
guaranteed here: every count given is in exactly one row; a row is absolute, so that writing it twice
changes nothing; and memory is bounded however long nothing can be written.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

RESOLUTION: Final = 60
"""Seconds that a bucket covers. Buckets start at whole minutes of UTC."""
MAX_BUCKETS: Final = 120
"""Buckets kept while nothing can be written; beyond that, the oldest are put together."""


class Counts(TypedDict):
    """What a row says, ready for JSON. More keys may follow; readers skip those they do not know."""

    statements: list[tuple[str, str, str, str, str, int, int]]
    """Cluster, alias, operation, reason, would-be alias, statements, microseconds in all."""
    events: list[tuple[str, str, int]]
    """Name, subject, how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one process counted in one span of time: the absolute values, to put over any earlier ones."""

    process: str
    """Key of the process; with ``resolution`` and ``start`` it names the row."""
    resolution: int
    """Seconds that the row covers."""
    start: int
    """Begin of the span, in seconds since 1970 (UTC)."""
    data: Counts


@dataclass(slots=True, eq=False)
class _Bucket:
    process: str
    start: int
    statements: dict[tuple[str, str, str, str, str], list[float]] = field(default_factory=dict)
    events: dict[tuple[str, str], int] = field(default_factory=dict)
    changed: bool = True
    """Since it was last taken for writing."""
    offered: bool = False
    """Whether it was ever taken for writing: a row of it may then exist, even if writing failed."""

    def row(self) -> Row:
        return Row(
            process=self.process,
            resolution=RESOLUTION,
            start=self.start,
            data={
                "statements": [
                    (*key, int(count), round(seconds * 1e6))
                    for key, (count, seconds) in self.statements.items()
                ],
                "events": [(*key, count) for key, count in self.events.items()],
            },
        )

    def absorb(self, other: _Bucket) -> None:
        """Add another bucket's counts to these, and leave that one empty."""
        for key, (count, seconds) in other.statements.items():
            entry = self.statements.setdefault(key, [0, 0.0])
            entry[0] += count
            entry[1] += seconds
        for event, times in other.events.items():
            self.events[event] = self.events.get(event, 0) + times
        other.statements, other.events = {}, {}
        self.changed = other.changed = True


class Counters:
    """Thread-safe counters of statements and events, by the minute.

    ``clock`` returns seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.enabled = True
        """Whether anything is counted."""
        self.reset()

    def reset(self) -> None:
        """Start from zero under a new process key; also what a forked child does."""
        # Re-entrant: a signal handler or a finalizer may query while its own thread is counting.
        # New: in a forked child the old one may be held for ever, by a thread that is not there.
        self._lock = threading.RLock()
        self._process = uuid.uuid4().hex
        self._buckets: dict[int, _Bucket] = {}
        self._emptied: list[_Bucket] = []
        self._latest = -1
        self._current = _Bucket(self._process, 0)
        self._begin = self._end = 0.0

    def count_statement(
        self, cluster: str, alias: str, operation: str, reason: str, would_be: str, seconds: float
    ) -> None:
        """Count one statement that took ``seconds`` on ``alias``."""
        if not self.enabled:
            return
        key = (cluster, alias, operation, reason, would_be)
        with self._lock:
            # The time is read under the lock: a late thread cannot reopen a minute that is gone.
            if not self._begin <= (now := self._clock()) < self._end:
                self._turn_to(now)
            bucket = self._current
            entry = bucket.statements.get(key)
            if entry is None:
                entry = bucket.statements.setdefault(key, [0, 0.0])
            entry[0] += 1
            entry[1] += seconds
            bucket.changed = True

    def count_event(self, name: str, subject: str = "") -> None:
        """Count one event; ``subject`` says of what, such as an alias or a cause."""
        if not self.enabled:
            return
        key = (name, subject)
        with self._lock:
            if not self._begin <= (now := self._clock()) < self._end:
                self._turn_to(now)
            bucket = self._current
            bucket.events[key] = bucket.events.get(key, 0) + 1
            bucket.changed = True

    def take(self) -> list[Row]:
        """Return what has changed since it was last taken, oldest first, to be written.

        Rows that cannot be written, or may not have been, are to be given to :meth:`failed` before the next
        call; all others count as written then.
        """
        with self._lock:
            self._let_go()
            buckets = self._emptied + [self._buckets[start] for start in sorted(self._buckets)]
            changed = [bucket for bucket in buckets if bucket.changed]
            for bucket in changed:
                bucket.changed = False
                bucket.offered = True
            return [bucket.row() for bucket in changed]

    def failed(self, rows: Sequence[Row]) -> None:
        """Keep rows, to be taken again."""
        keys = {(row.process, row.start) for row in rows}
        with self._lock:
            for bucket in (*self._emptied, *self._buckets.values()):
                if (bucket.process, bucket.start) in keys:
                    bucket.changed = True

    def _let_go(self) -> None:
        """Drop the buckets that are written and can grow no more."""
        now = self._clock()
        for start, bucket in list(self._buckets.items()):
            if bucket.changed or start <= now < start + RESOLUTION:
                continue
            del self._buckets[start]
            if bucket is self._current:
                self._begin = self._end = 0.0
        self._emptied = [bucket for bucket in self._emptied if bucket.changed]

    def _turn_to(self, now: float) -> None:
        """Make the bucket of this minute the current one."""
        start = int(now) // RESOLUTION * RESOLUTION
        bucket = self._buckets.get(start)
        if bucket is None:
            if start <= self._latest:
                # The clock went back, to a minute whose row may be written: it must not be
                # overwritten with less, so what follows is counted as another process's.
                self._process = uuid.uuid4().hex
            self._put_together()
            bucket = self._buckets[start] = _Bucket(self._process, start)
            self._latest = start
        self._current, self._begin, self._end = bucket, start, start + RESOLUTION

    def _put_together(self) -> None:
        """Make room for one more bucket."""
        while len(self._buckets) >= MAX_BUCKETS:
            oldest, second, *_newer = sorted(self._buckets)
            absorbed = self._buckets.pop(second)
            self._buckets[oldest].absorb(absorbed)
            if absorbed.offered:
                # Its row may exist, and must then not count twice: it is written again, as empty.
                self._emptied.append(absorbed)
