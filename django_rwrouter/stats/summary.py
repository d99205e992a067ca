"""Adds up the rows of many processes to what a person, a command or an exporter wants to know.

Pure: rows in, numbers out. Texts and drawings are made by whoever shows them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal

from django_rwrouter.stats import latency
from django_rwrouter.stats.sums import OTHER, Counts, ServerEntry, Sum

FAILURES: Final = frozenset({"replica_ejected", "failover", "statement_failed", "replica_write_refused"})
"""Events by whose subject a database has failed somebody."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time to look at, up to now, and how finely."""

    seconds: int
    step: int
    """Seconds of one point in a chart."""

    def steps(self, now: float) -> range:
        """Return the begin of each step, oldest first; the last one contains ``now``."""
        newest = int(now) // self.step * self.step
        return range(newest - self.seconds + self.step, newest + 1, self.step)


SPANS: Final[Mapping[str, Span]] = {
    "15m": Span(15 * 60, 60),
    "1h": Span(3600, 60),
    "24h": Span(86_400, 600),
    "7d": Span(7 * 86_400, 3600),
}
"""What is kept in such detail: see :data:`django_rwrouter.stats.rollup.TIERS`."""


@dataclass(slots=True)
class Usage:
    """Statements of one kind on one database."""

    count: int = 0
    microseconds: int = 0
    buckets: list[int] = field(default_factory=list)
    """How many took how long; see :data:`django_rwrouter.stats.latency.BOUNDS`."""

    @property
    def mean_milliseconds(self) -> float | None:
        """Mean time of a statement, or ``None`` where there was none."""
        return self.microseconds / self.count / 1000 if self.count else None

    @property
    def p50_milliseconds(self) -> float | None:
        """What half of the statements did not exceed, or ``None``; interpolated."""
        return _milliseconds(self.buckets, 0.5)

    @property
    def p95_milliseconds(self) -> float | None:
        """What 95 % of the statements did not exceed, or ``None``; interpolated."""
        return _milliseconds(self.buckets, 0.95)


@dataclass(slots=True)
class Database:
    """What one database was used for."""

    cluster: str
    alias: str
    is_primary: bool
    is_configured: bool = True
    """Whether the settings name it still."""
    reads: Usage = field(default_factory=Usage)
    writes: Usage = field(default_factory=Usage)
    would_be_reads: int = 0
    """Reads that it would have answered, had all that was decided in shadow mode been done."""
    share: float = 0.0
    """Its part of its cluster's reads, in percent."""
    replica_share: float = 0.0
    """A replica's part of what all replicas of its cluster read, in percent."""
    would_be_share: float = 0.0
    """The same in percent, of the reads that it would have answered."""
    errors: int = 0
    """How often it failed somebody: ejected, a statement failed or run elsewhere, a write refused."""

    def usage(self, operation: str) -> Usage:
        """Return the statements of one kind."""
        return self.reads if operation == "read" else self.writes


@dataclass(slots=True)
class Cause:
    """Reads that went somewhere for the same reason."""

    reason: str
    primary: int = 0
    """Reads that the primary answered, or would have answered."""
    replicas: int = 0
    """The same for replicas."""
    share: float = 0.0
    """Their part of all reads, in percent."""

    @property
    def reads(self) -> int:
        """All reads with this reason."""
        return self.primary + self.replicas


class TimeStep:
    """What was routed in one step of the time: a point of each chart."""

    def __init__(self, start: int, counted: Sum, primaries: Collection[str]) -> None:
        self.start = start
        """Its begin, seconds since 1970."""
        self.reads: Counter[str] = Counter()
        """By alias; under shadow, by the one that would have answered."""
        self.primary_reasons: Counter[str] = Counter()
        """Reads of the primary by reason: why it had to answer."""
        self.events: Counter[str] = Counter()
        """By name, such as ``read_spilled`` and ``failover``."""
        self.lag = {alias: most for alias, (most, *_last) in counted.lag.items()}
        """The most seconds that each replica was behind; only those that were measured."""
        self._latency: defaultdict[str, list[int]] = defaultdict(list)
        for (_cluster, alias, kind), buckets in counted.latency.items():
            if kind == "read":
                latency.add(self._latency[alias], buckets)
        for _cluster, alias, reason, count in counted.reads():
            self.reads[alias] += count
            if alias in primaries:
                self.primary_reasons[reason] += count
        for (name, _subject), times in counted.events.items():
            self.events[name] += times
        pinned = [times for (name, _subject), times in counted.events.items() if name == "pinned_request"]
        self.pinned_share = percent(max(pinned, default=0), self.events["request"])
        """Part of the requests whose client was pinned, in percent: of several clusters, the largest."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted in it."""
        return not (self.reads or self.events or self.lag)

    def milliseconds(self, alias: str, fraction: float) -> float | None:
        """Return what a fraction (0.95) of the reads on ``alias`` did not exceed, or ``None``."""
        return _milliseconds(self._latency.get(alias, []), fraction)


class Summary:
    """What was routed in a span of time."""

    def __init__(
        self,
        rows: Iterable[tuple[int, Counts]],
        *,
        steps: Sequence[int],
        aliases: Mapping[str, tuple[str, bool]],
    ) -> None:
        """Add up rows (begin and counts).

        ``steps`` are the begins of the times to tell apart, oldest first (see :meth:`Span.steps`); a row from
        before counts towards the first. ``aliases`` are the databases of the settings: cluster, and whether
        it is the primary.
        """
        counted, by_step = Sum(), [Sum() for _step in steps]
        for start, counts in rows:
            counted.add(start, counts)
            by_step[max(0, bisect_right(steps, start) - 1)].add(start, counts)
        primaries = {alias for alias, (_cluster, is_primary) in aliases.items() if is_primary}
        self._counted = counted
        self.servers: dict[str, Sequence[ServerEntry]] = {}
        """What each process that has written lately knew of its servers, the newest first."""
        self.steps = [TimeStep(*step, primaries) for step in zip(steps, by_step, strict=True)]
        """What was routed by time, oldest first."""
        self.events: dict[str, Counter[str]] = {}
        """How often each event happened, by name and subject."""
        for (name, subject), times in counted.events.items():
            self.events.setdefault(name, Counter())[subject] = times
        self.log = sorted(counted.log, reverse=True)
        """Noted events, newest first; of many of one kind at once the first few. All are in ``events``."""
        self.databases = _databases(counted, aliases)
        """Cluster by cluster, the primary first."""
        self.reads = sum(database.reads.count for database in self.databases)
        self.writes = sum(database.writes.count for database in self.databases)
        self.shadow_reads = sum(int(count) for key, (count, _time) in counted.statements.items() if key[-1])
        """Reads decided in shadow mode: the primary answered where a replica would have."""
        self.causes = _causes(counted, primaries)
        """Those that led to the primary first, the most frequent first."""
        self.replica_share = percent(sum(cause.replicas for cause in self.causes), self.reads)
        """Part of all reads that replicas answered (under shadow: would have), in percent."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was counted."""
        return not (self.reads or self.writes or self.events)

    def total(self, event: str) -> int:
        """Return how often an event happened, whatever its subject."""
        return sum(self.events.get(event, Counter()).values())

    def processes_between(self, begin: float, end: float) -> int:
        """Return how many processes counted at the same time, at most, from ``begin`` to ``end``."""
        processes = self._counted.processes
        starts = sorted(processes)
        first = max(0, bisect_right(starts, begin) - 1)
        return max((processes[start] for start in starts[first:] if start <= end), default=0)

    def top(self, by: Literal["view", "model"], limit: int) -> list[tuple[str, Counter[str]]]:
        """Return the views, or the models, with the most reads on the primary, and all others as one.

        Each with its reads by reason; nameless where there is none, and :data:`sums.OTHER` for all others.
        """
        origins: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (reason, view, model), reads in self._counted.origins.items():
            origins[str(view if by == "view" else model)][reason] += reads
        rest = origins.pop(OTHER, Counter())
        ranked = sorted(origins.items(), key=lambda origin: (-origin[1].total(), origin[0]))
        for _name, reasons in ranked[limit:]:
            rest += reasons
        return [*ranked[:limit], *([(OTHER, rest)] if rest else [])]


def _databases(counted: Sum, aliases: Mapping[str, tuple[str, bool]]) -> list[Database]:
    databases = {
        alias: Database(cluster, alias, is_primary) for alias, (cluster, is_primary) in aliases.items()
    }

    def database(cluster: str, alias: str) -> Database:
        # Also what the settings do not name any more; it was a replica, as far as one can tell.
        return databases.setdefault(alias, Database(cluster, alias, is_primary=False, is_configured=False))

    for (cluster, alias, operation, *_why), (count, microseconds) in counted.statements.items():
        usage = database(cluster, alias).usage(operation)
        usage.count += int(count)
        usage.microseconds += int(microseconds)
    for (cluster, alias, operation), buckets in counted.latency.items():
        latency.add(database(cluster, alias).usage(operation).buckets, buckets)
    for cluster, alias, _reason, count in counted.reads():
        database(cluster, alias).would_be_reads += count
    for (name, subject), times in counted.events.items():
        if name in FAILURES and subject in databases:
            databases[subject].errors += times
    clusters = [cluster for cluster, _is_primary in aliases.values()]
    clusters += sorted({database.cluster for database in databases.values()})
    ordered = sorted(databases.values(), key=lambda database: clusters.index(database.cluster))
    for _cluster, group in groupby(ordered, attrgetter("cluster")):
        peers = list(group)
        reads = sum(peer.reads.count for peer in peers)
        on_replicas = sum(peer.reads.count for peer in peers if not peer.is_primary)
        would_be_reads = sum(peer.would_be_reads for peer in peers)
        for peer in peers:
            peer.share = percent(peer.reads.count, reads)
            peer.replica_share = 0.0 if peer.is_primary else percent(peer.reads.count, on_replicas)
            peer.would_be_share = percent(peer.would_be_reads, would_be_reads)
    return ordered


def _causes(counted: Sum, primaries: Collection[str]) -> list[Cause]:
    causes: dict[str, Cause] = {}
    for _cluster, alias, reason, count in counted.reads():
        cause = causes.setdefault(reason, Cause(reason))
        if alias in primaries:
            cause.primary += count
        else:
            cause.replicas += count
    reads = sum(cause.reads for cause in causes.values())
    for cause in causes.values():
        cause.share = percent(cause.reads, reads)
    return sorted(causes.values(), key=lambda cause: (not cause.primary, -cause.reads))


def percent(count: float, whole: float) -> float:
    """Return ``count`` as a part of ``whole``; 0 of nothing.

    At most 100: what is counted at a request's start and at its end may fall into different times.
    """
    return 100 * min(count, whole) / whole if whole else 0.0


def _milliseconds(buckets: Sequence[int], fraction: float) -> float | None:
    seconds = latency.percentile(buckets, fraction)
    return None if seconds is None else seconds * 1000
