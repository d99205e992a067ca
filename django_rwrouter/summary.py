"""Adds up the rows of many processes to what a person, a command or an exporter wants to know.

Pure: rows in, numbers out. Texts and drawings are made by whoever shows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django_rwrouter.counters import Counts


@dataclass(slots=True)
class Usage:
    """Statements of one kind on one database."""

    count: int = 0
    microseconds: int = 0

    @property
    def mean_milliseconds(self) -> float | None:
        """Mean time of a statement, or ``None`` where there was none."""
        return self.microseconds / self.count / 1000 if self.count else None


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
    would_be_share: float = 0.0
    """The same in percent, of the reads that it would have answered."""


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
class Summary:
    """What was routed in a span of time."""

    databases: list[Database]
    """Cluster by cluster, the primary first."""
    causes: list[Cause]
    """Those that led to the primary first, the most frequent first."""
    minutes: dict[int, Counter[str]]
    """For each minute (its begin, seconds since 1970), reads by alias; would-be reads under shadow."""
    events: dict[str, Counter[str]]
    """How often each event happened, by name and subject."""
    shadow_reads: int
    """Reads decided in shadow mode: the primary answered where a replica would have."""

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


def summarize(
    rows: Iterable[tuple[int, Counts]],
    *,
    minutes: Sequence[int],
    aliases: Mapping[str, tuple[str, bool]],
) -> Summary:
    """Add up rows (begin and counts).

    ``minutes`` are the begins of the minutes to tell apart, oldest first; a row from before counts towards
    the first. ``aliases`` are the databases of the settings: cluster, and whether it is the primary.
    """
    databases = {
        alias: Database(cluster, alias, is_primary) for alias, (cluster, is_primary) in aliases.items()
    }
    causes: dict[str, Cause] = {}
    summary = Summary([], [], {minute: Counter() for minute in minutes}, {}, 0)

    def database(cluster: str, alias: str) -> Database:
        # Also what the settings do not name any more; it was a replica, as far as one can tell.
        if alias not in databases:
            databases[alias] = Database(cluster, alias, is_primary=False, is_configured=False)
        return databases[alias]

    for start, counts in rows:
        minute = summary.minutes.get(start, summary.minutes[minutes[0]])
        for entry in counts.get("statements", ()):
            cluster, alias, operation, reason, would_be, count, microseconds = entry[:7]
            used = database(cluster, alias)
            usage = used.reads if operation == "read" else used.writes
            usage.count += count
            usage.microseconds += microseconds
            if operation != "read":
                continue
            meant = database(cluster, would_be or alias)
            meant.would_be_reads += count
            minute[meant.alias] += count
            summary.shadow_reads += count if would_be else 0
            cause = causes.setdefault(reason, Cause(reason))
            if meant.is_primary:
                cause.primary += count
            else:
                cause.replicas += count
        for event in counts.get("events", ()):
            name, subject, times = event[:3]
            summary.events.setdefault(name, Counter())[subject] += times

    clusters = [cluster for cluster, _is_primary in aliases.values()]
    clusters += sorted({each.cluster for each in databases.values()} - set(clusters))
    summary.databases = sorted(databases.values(), key=lambda each: clusters.index(each.cluster))
    for each in summary.databases:
        peers = [peer for peer in summary.databases if peer.cluster == each.cluster]
        each.share = percent(each.reads.count, sum(peer.reads.count for peer in peers))
        each.would_be_share = percent(each.would_be_reads, sum(peer.would_be_reads for peer in peers))
    summary.causes = sorted(causes.values(), key=lambda each: (not each.primary, -each.reads))
    for cause in summary.causes:
        cause.share = percent(cause.reads, summary.reads)
    return summary


def percent(count: int, whole: int) -> float:
    """Return ``count`` as a part of ``whole``; 0 of nothing."""
    return 100 * count / whole if whole else 0.0
