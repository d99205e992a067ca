"""Adds up the rows of many processes to what a person, a command or an exporter wants to know.

Pure: rows in, numbers out. Texts and drawings are made by whoever shows them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from django_rwrouter.stats import latency
from django_rwrouter.stats.counters import OTHER, Counts

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
    failures: Counter[str] = field(default_factory=Counter)
    """How often it failed, by the names of :data:`FAILURES`."""

    @property
    def errors(self) -> int:
        """How often it failed somebody: ejected, a statement failed or run elsewhere, a write refused."""
        return sum(self.failures.values())


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


@dataclass(slots=True)
class TimeStep:
    """What was routed in one step of the time: a point of each chart."""

    start: int
    """Its begin, seconds since 1970."""
    reads: Counter[str] = field(default_factory=Counter)
    """By alias; under shadow, by the one that would have answered."""
    primary_reasons: Counter[str] = field(default_factory=Counter)
    """Reads of the primary by reason: why it had to answer."""
    events: Counter[str] = field(default_factory=Counter)
    """By name, such as ``read_spilled`` and ``failover``."""
    pinned: Counter[str] = field(default_factory=Counter)
    """Requests of pinned clients, by cluster."""
    lag: dict[str, float] = field(default_factory=dict)
    """The most seconds that each replica was behind; only those that were measured."""
    buckets: dict[str, list[int]] = field(default_factory=dict)
    """How many reads took how long, by alias."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted in it."""
        return not (self.reads or self.events or self.lag)

    @property
    def pinned_share(self) -> float:
        """Part of the requests whose client was pinned, in percent: of several clusters, the largest."""
        return percent(max(self.pinned.values(), default=0), self.events["request"])

    def milliseconds(self, alias: str, fraction: float) -> float | None:
        """Return what a fraction (0.95) of the reads on ``alias`` did not exceed, or ``None``."""
        return _milliseconds(self.buckets.get(alias, []), fraction)


@dataclass(slots=True)
class OriginReads:
    """Reads on the primary of one view, or of one model."""

    name: str
    """Of the view or the model; empty for those of none, and :data:`counters.OTHER` for all others."""
    reads: int = 0
    share: float = 0.0
    """Their part of the primary's reads, in percent."""
    reasons: Counter[str] = field(default_factory=Counter)


class Happening(NamedTuple):
    """A noted event, one by one."""

    when: float
    """Seconds since 1970."""
    name: str
    subject: str
    """Of what, such as an alias."""
    detail: str
    process: str = ""
    """The beginning of the key of the process that noted it."""


class Summary:
    """What was routed in a span of time, once all its rows were given to :meth:`add`."""

    def __init__(self, steps: Sequence[int], aliases: Mapping[str, tuple[str, bool]]) -> None:
        self._starts = steps
        self._clusters = [cluster for cluster, _is_primary in aliases.values()]
        self._databases = {
            alias: Database(cluster, alias, is_primary) for alias, (cluster, is_primary) in aliases.items()
        }
        self._causes: dict[str, Cause] = {}
        self.steps = [TimeStep(start) for start in steps]
        """What was routed by time, oldest first."""
        self.events: dict[str, Counter[str]] = {}
        """How often each event happened, by name and subject."""
        self.shadow_reads = 0
        """Reads decided in shadow mode: the primary answered where a replica would have."""
        self.log: list[Happening] = []
        """Noted events, newest first; of many of one kind at once the first few. All are in ``events``."""
        self.origins: Counter[tuple[str, str, str]] = Counter()
        """Reads on the primary, by reason, view and model."""
        self.processes: Counter[int] = Counter()
        """How many processes counted at the same time, by when their rows begin."""

    def add(self, start: int, counts: Counts) -> None:
        """Add a row that begins at ``start``."""
        # What is from before the first step counts towards it.
        step = self.steps[max(0, bisect_right(self._starts, start) - 1)]
        self.processes[start] += counts.get("processes", 1)
        self._add_statements(step, counts)
        for event in counts.get("events", ()):
            name, subject, times = event[:3]
            self.events.setdefault(name, Counter())[subject] += times
            step.events[name] += times
            if name == "pinned_request":
                step.pinned[subject] += times
            elif name in FAILURES and subject in self._databases:
                self._databases[subject].failures[name] += times
        for histogram in counts.get("latency", ()):
            cluster, alias, operation, buckets = histogram[:4]
            latency.add(self._usage(cluster, alias, operation).buckets, buckets)
            if operation == "read":
                latency.add(step.buckets.setdefault(alias, []), buckets)
        for alias, most, *_last in counts.get("lag", ()):
            step.lag[alias] = max(most, step.lag.get(alias, 0.0))
        self.log.extend(Happening(*entry[:5]) for entry in counts.get("log", ()))
        for reason, view, model, reads in counts.get("origins", ()):
            self.origins[reason, view, model] += reads

    def _add_statements(self, step: TimeStep, counts: Counts) -> None:
        for entry in counts.get("statements", ()):
            cluster, alias, operation, reason, would_be, count, microseconds = entry[:7]
            usage = self._usage(cluster, alias, operation)
            usage.count += count
            usage.microseconds += microseconds
            if operation != "read":
                continue
            meant = self._database(cluster, would_be or alias)
            meant.would_be_reads += count
            step.reads[meant.alias] += count
            self.shadow_reads += count if would_be else 0
            cause = self._causes.setdefault(reason, Cause(reason))
            if meant.is_primary:
                cause.primary += count
                step.primary_reasons[reason] += count
            else:
                cause.replicas += count

    def _database(self, cluster: str, alias: str) -> Database:
        # Also what the settings do not name any more; it was a replica, as far as one can tell.
        if alias not in self._databases:
            self._databases[alias] = Database(cluster, alias, is_primary=False, is_configured=False)
        return self._databases[alias]

    def _usage(self, cluster: str, alias: str, operation: str) -> Usage:
        database = self._database(cluster, alias)
        return database.reads if operation == "read" else database.writes

    @cached_property
    def databases(self) -> list[Database]:
        """Cluster by cluster, the primary first."""
        databases = self._databases.values()
        clusters = [*self._clusters, *sorted({database.cluster for database in databases})]
        ordered = sorted(databases, key=lambda database: clusters.index(database.cluster))
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

    @cached_property
    def causes(self) -> list[Cause]:
        """Those that led to the primary first, the most frequent first."""
        for cause in self._causes.values():
            cause.share = percent(cause.reads, self.reads)
        return sorted(self._causes.values(), key=lambda cause: (not cause.primary, -cause.reads))

    @property
    def reads(self) -> int:
        """All reads."""
        return sum(database.reads.count for database in self.databases)

    @property
    def writes(self) -> int:
        """All writes."""
        return sum(database.writes.count for database in self.databases)

    @property
    def replica_share(self) -> float:
        """Part of all reads that replicas answered (under shadow: would have), in percent."""
        return percent(sum(cause.replicas for cause in self.causes), self.reads)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was counted."""
        return not (self.reads or self.writes or self.events)

    def total(self, event: str) -> int:
        """Return how often an event happened, whatever its subject."""
        return sum(self.events.get(event, Counter()).values())

    def processes_between(self, begin: float, end: float) -> int:
        """Return how many processes counted at the same time, at most, from ``begin`` to ``end``."""
        starts = sorted(self.processes)
        first = max(0, bisect_right(starts, begin) - 1)
        return max((self.processes[start] for start in starts[first:] if start <= end), default=0)

    def top(self, by: Literal["view", "model"], limit: int) -> list[OriginReads]:
        """Return the views, or the models, with the most reads on the primary, and all others as one."""
        origins: dict[str, OriginReads] = {}
        for (reason, view, model), reads in self.origins.items():
            name = view if by == "view" else model
            origin = origins.setdefault(name, OriginReads(name))
            origin.reads += reads
            origin.reasons[reason] += reads
        rest = origins.pop(OTHER, OriginReads(OTHER))
        ranked = sorted(origins.values(), key=lambda origin: (-origin.reads, origin.name))
        for origin in ranked[limit:]:
            rest.reads += origin.reads
            rest.reasons += origin.reasons
        top = [*ranked[:limit], *([rest] if rest.reads else [])]
        for origin in top:
            origin.share = percent(origin.reads, self.origins.total())
        return top


def summarize(
    rows: Iterable[tuple[int, Counts]],
    *,
    steps: Sequence[int],
    aliases: Mapping[str, tuple[str, bool]],
) -> Summary:
    """Add up rows (begin and counts).

    ``steps`` are the begins of the times to tell apart, oldest first (see :meth:`Span.steps`); a row from
    before counts towards the first. ``aliases`` are the databases of the settings: cluster, and whether it is
    the primary.
    """
    summary = Summary(steps, aliases)
    for start, counts in rows:
        summary.add(start, counts)
    summary.log.sort(reverse=True)
    return summary


def percent(count: float, whole: float) -> float:
    """Return ``count`` as a part of ``whole``; 0 of nothing.

    At most 100: what is counted at a request's start and at its end may fall into different times.
    """
    return 100 * min(count, whole) / whole if whole else 0.0


def _milliseconds(buckets: Sequence[int], fraction: float) -> float | None:
    seconds = latency.percentile(buckets, fraction)
    return None if seconds is None else seconds * 1000
