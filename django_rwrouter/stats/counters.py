"""Counts of one process, kept in memory by the minute until they are written.

Nothing here knows of Django, a database or a thread that writes: :mod:`django_rwrouter.stats.recorder` does.
What is guaranteed here: every count given is in exactly one row; a row is absolute, so that writing it twice
changes nothing; once it was said to be final it never comes back; and memory is bounded however long nothing
can be written.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeAlias

from django_rwrouter.stats.latency import BOUNDS
from django_rwrouter.stats.sums import (
    LOG_OF_EACH,
    MAX_ORIGINS,
    OTHER,
    Counts,
    Happening,
    Key,
    ServerEntry,
    Source,
    Sum,
)

if TYPE_CHECKING:
    from django.db.models import Model

RESOLUTION: Final = 60
"""Seconds that a bucket covers. Buckets start at whole minutes of UTC."""
MAX_PENDING: Final = 512
"""Statements that wait, at most, to be put into the bucket of their minute."""
LATE_SECONDS: Final = 1.0
"""How long before a minute a statement may have ended that is counted in it, having come late."""
MAX_BUCKETS: Final = 120
"""Buckets kept while nothing can be written; beyond that, the oldest are put together."""
DETAIL_LENGTH: Final = 200
"""Characters of an entry's detail that are kept."""
PROCESS_LENGTH: Final = 8
"""Characters of a process's key that an entry of the log keeps: it tells the processes of an hour apart."""
GIVEN_UP_AFTER: Final = 23 * 3600.0
"""Seconds after which a row that may have been written is not written again.

Whoever adds up the rows of all processes takes those of a process that was not heard of for
:data:`django_rwrouter.stats.rollup.ABANDONED_AFTER` (longer by an hour, for clocks that differ) as they are.
"""

Origin: TypeAlias = tuple[str, "type[Model] | None"]
"""What a read on the primary is of: the name of the view, empty where there is none, and the model."""


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
    final: bool = False
    """The row has been written with these values and never will be with others: it comes once more to say so.

    It may be gone already, and must then not be made again.
    """


@dataclass(slots=True, eq=False)
class _Bucket:
    process: str
    start: int
    counted: Sum = field(default_factory=Sum)
    servers: list[ServerEntry] = field(default_factory=list)
    changed: bool = True
    """Since it was last taken for writing."""
    offered_at: float | None = None
    """When it was first taken for writing: a row of it may exist since then, even if writing failed."""
    is_new: bool = False
    """Whether that was when it was last taken."""
    said_final: bool = False
    """Whether it was taken as final."""

    def row(self, *, final: bool = False) -> Row:
        """Return the counts as a row."""
        counts = self.counted.counts(RESOLUTION)
        if self.servers:
            counts["servers"] = self.servers
        return Row(process=self.process, resolution=RESOLUTION, start=self.start, data=counts, final=final)

    def absorb(self, other: _Bucket) -> None:
        """Add a newer bucket's counts to these, and leave that one empty."""
        both = Sum()
        for bucket in (self, other):
            both.add(bucket.start, bucket.counted.counts(RESOLUTION))
        self.counted, other.counted = both, Sum()
        self.changed = other.changed = True


class Counters:
    """Thread-safe counters of statements and events, by the minute.

    ``clock`` returns seconds since 1970, ``ticks`` those by which statements are timed.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, ticks: Callable[[], float] = perf_counter
    ) -> None:
        self._clock = clock
        self._ticks = ticks
        self.begun: Callable[[], None] | None = None
        """Called whenever there is something to count in a minute of which nothing was counted before."""
        self.enabled = True
        """Whether anything is counted."""
        self.has_origins = True
        """Whether reads on the primary are counted by view and model, too."""
        self.reset()

    def reset(self) -> None:
        """Start from zero under a new process key; also what a forked child does."""
        # Re-entrant: a signal handler or a finalizer may query while its own thread is counting.
        # New: in a forked child the old one may be held for ever, by a thread that is not there.
        self._lock = threading.RLock()
        self._process = uuid.uuid4().hex
        self._buckets: dict[int, _Bucket] = {}
        self._closed: list[_Bucket] = []
        """Nothing is counted into these any more."""
        self._pending: deque[tuple[Key, float, float, Origin | None]] = deque()
        """Statements that have run and are in no bucket yet: key, when it ended, seconds, origin."""
        self._pending_count = MAX_PENDING  # So that the first tells at once that there is something to count.
        self._latest = -1
        self._current = _Bucket(self._process, 0)
        self._unwanted = _Bucket(self._process, 0)
        """Takes what is counted while that is not wanted."""
        self._begin = self._end = 0.0

    def count_statement(
        self,
        cluster: str,
        alias: str,
        operation: str,
        reason: str,
        would_be: str,
        seconds: float,
        origin: Origin | None = None,
        ended: float | None = None,
    ) -> None:
        """Count one statement that took ``seconds`` on ``alias``; with its ``origin``, if that matters.

        ``ended`` is when it did (performance counter), if not now. On the path of each statement: what is
        not done here is done for many at once, and an operation on a deque needs no lock.
        """
        if not self.enabled:
            return
        if ended is None:
            ended = self._ticks()
        self._pending.append(((cluster, alias, operation, reason, would_be), ended, seconds, origin))
        # Two threads may count as one here, which only puts off what has no exact time.
        self._pending_count += 1
        if self._pending_count > MAX_PENDING:
            with self._lock:
                self._put_in_buckets()

    def _put_in_buckets(self) -> None:
        """Count the statements that have run, each in the minute in which it ended; under the lock."""
        self._pending_count = 0
        # From ticks to the time of day: as the clock is now, should it have been put right since.
        epoch = self._clock() - self._ticks()
        next_statement = self._pending.popleft
        while True:
            try:
                key, ended, seconds, origin = next_statement()
            except IndexError:
                return
            at = epoch + ended
            if not self._begin - LATE_SECONDS <= at < self._end:
                self._begin_minute(at)
            counted = self._current.counted
            entry = counted.statements[key]
            entry[0] += 1
            entry[1] += seconds * 1e6
            counted.latency[key[:3]][bisect_left(BOUNDS, seconds)] += 1
            if origin is not None and self.has_origins:
                source: Source = (key[3], *origin)
                if source not in counted.origins and len(counted.origins) >= MAX_ORIGINS:
                    source = (key[3], OTHER, OTHER)
                counted.origins[source] += 1
            self._current.changed = True

    def count_event(self, name: str, subject: str = "") -> None:
        """Count one event; ``subject`` says of what, such as an alias or a cause."""
        with self._lock:
            self._bucket().counted.events[name, subject] += 1

    def note_event(self, name: str, subject: str = "", detail: str = "") -> None:
        """Count one event, and keep it with its time if it is one of the first of its kind in this minute."""
        with self._lock:
            bucket = self._bucket()
            bucket.counted.events[name, subject] += 1
            if bucket.counted.events[name, subject] <= LOG_OF_EACH[RESOLUTION]:
                when, process = round(self._clock(), 3), bucket.process[:PROCESS_LENGTH]
                bucket.counted.log.append(Happening(when, name, subject, detail[:DETAIL_LENGTH], process))

    def note_lag(self, alias: str, seconds: float | None) -> None:
        """Keep how many seconds a replica is behind; nothing where that is not known."""
        if seconds is None or not math.isfinite(seconds):
            return
        seconds = round(max(0.0, seconds), 3)
        with self._lock:
            bucket = self._bucket()
            most, *_last = bucket.counted.lag.get(alias, (seconds,))
            bucket.counted.lag[alias] = (max(most, seconds), bucket.start, seconds)

    def note_servers(self, servers: Sequence[ServerEntry]) -> None:
        """Keep what the process knows of its servers now."""
        with self._lock:
            self._bucket().servers = list(servers)

    def take(self, *, ending: bool = False) -> list[Row]:
        """Return what has changed since it was last taken, oldest first, to be written.

        After that come, as final, the rows that are written and can grow no more: those of minutes that
        are over. If the process is ``ending`` no row grows any more: what is counted from here on is as
        another process's. Rows that cannot be written, or may not have been, are to be given to
        :meth:`failed` before the next call; all others count as written then.
        """
        with self._lock:
            self._put_in_buckets()
            now = self._clock()
            self._close(now, everything=ending)
            self._closed = [
                bucket for bucket in self._closed if not bucket.said_final and not _is_given_up(bucket, now)
            ]
            buckets = self._closed + [self._buckets[start] for start in sorted(self._buckets)]
            changed = [bucket for bucket in buckets if bucket.changed]
            finished = [bucket for bucket in self._closed if not bucket.changed]
            for bucket in changed:
                bucket.changed = False
                bucket.is_new = bucket.offered_at is None
                bucket.offered_at = bucket.offered_at or now
            for bucket in finished:
                bucket.said_final = True
            return [bucket.row() for bucket in changed] + [bucket.row(final=True) for bucket in finished]

    def failed(self, rows: Sequence[Row], *, unsent: Sequence[Row] = ()) -> None:
        """Keep rows, to be taken again: those that may have been written, and those that were not sent."""
        taken = {(row.process, row.start): (row.final, False) for row in rows}
        taken |= {(row.process, row.start): (row.final, True) for row in unsent}
        with self._lock:
            for bucket in (*self._closed, *self._buckets.values()):
                final, is_unsent = taken.get((bucket.process, bucket.start), (None, False))
                if final is None:
                    continue
                bucket.said_final = False
                bucket.changed = bucket.changed or not final
                if is_unsent and bucket.is_new:
                    bucket.offered_at = None

    def _close(self, now: float, *, everything: bool) -> None:
        """Put aside the buckets that are written and can grow no more."""
        for start, bucket in list(self._buckets.items()):
            is_needed = bucket.changed or start <= now < start + RESOLUTION
            if is_needed and not everything and not _is_given_up(bucket, now):
                continue
            self._closed.append(self._buckets.pop(start))
            if bucket is self._current:
                self._begin = self._end = 0.0

    def _bucket(self) -> _Bucket:
        """Return the bucket of this minute, which is about to be changed; under the lock."""
        if not self.enabled:
            return self._unwanted
        if not self._begin <= (now := self._clock()) < self._end:
            self._put_in_buckets()  # First what has run in the minutes before.
            self._begin_minute(now)
        self._current.changed = True
        return self._current

    def _begin_minute(self, now: float) -> None:
        start = int(now) // RESOLUTION * RESOLUTION
        bucket = self._buckets.get(start)
        if bucket is None:
            if start <= self._latest:
                # The clock went back, or the process was about to end: the row of this minute may be
                # written, and must not be overwritten with less. What follows is as another process's.
                self._process = uuid.uuid4().hex
            self._put_together()
            bucket = self._buckets[start] = _Bucket(self._process, start)
            self._latest = start
            if self.begun is not None:
                self.begun()
        # As the clock's: a float is compared with a float in less time, for each statement.
        self._current, self._begin, self._end = bucket, float(start), float(start + RESOLUTION)

    def _put_together(self) -> None:
        """Make room for one more bucket."""
        while len(self._buckets) >= MAX_BUCKETS:
            # Rather those of which no row can exist: then there is nothing to take back.
            unseen = [start for start in sorted(self._buckets) if self._buckets[start].offered_at is None]
            oldest, second, *_newer = unseen if len(unseen) > 1 else sorted(self._buckets)
            absorbed = self._buckets.pop(second)
            self._buckets[oldest].absorb(absorbed)
            if absorbed.offered_at is not None:
                # Its row may exist, and must then not count twice: it is written again, as empty.
                self._closed.append(absorbed)


def _is_given_up(bucket: _Bucket, now: float) -> bool:
    """Whether a row may have been written so long ago that it may have been added up by now."""
    return bucket.changed and bucket.offered_at is not None and now - bucket.offered_at > GIVEN_UP_AFTER
