"""Adds up the counts of many rows to the counts of one: purely, losing nothing, in whatever order.

The one thing that is bounded is the log: of each event about each subject the first few entries are kept,
more of them the longer the time that a row covers. Every entry remains counted among the events. Of the
origins of reads the most frequent are kept apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, TypeAlias

from django_rwrouter.stats import latency
from django_rwrouter.stats.counters import MAX_ORIGINS, OTHER, Counts

LogEntry: TypeAlias = tuple[float, str, str, str, str]
LOG_OF_EACH: Final = {60: 10, 600: 20, 3600: 40, 86400: 80}
"""By the seconds that a row covers: entries of each event about each subject that it keeps of a process."""
LONGEST_LOG: Final = 80
LOG_OF_ALL: Final = 200
"""The same of all processes together."""


class Sum:
    """The sum of rows that were given to :meth:`add`."""

    def __init__(self) -> None:
        self.statements: dict[tuple[str, str, str, str, str], tuple[int, int]] = {}
        """Statements and microseconds, by cluster, alias, operation, reason and would-be alias."""
        self.events: Counter[tuple[str, str]] = Counter()
        """How often, by name and subject."""
        self.latency: dict[tuple[str, str, str], list[int]] = {}
        """Statements in each bucket, by cluster, alias and operation."""
        self.origins: Counter[tuple[str, str, str]] = Counter()
        """Reads on the primary, by reason, view and model."""
        self._log: list[LogEntry] = []
        self._lag: dict[str, tuple[float, int, float]] = {}
        self._processes: Counter[int] = Counter()
        """Processes that counted, by when their rows begin."""

    def add(self, start: int, counts: Counts) -> None:
        """Add the counts of a row that begins at ``start``."""
        self._processes[start] += counts.get("processes", 1)
        for statement in counts.get("statements", ()):
            cluster, alias, operation, reason, would_be, count, microseconds = statement[:7]
            key = (cluster, alias, operation, reason, would_be)
            before = self.statements.get(key, (0, 0))
            self.statements[key] = (before[0] + count, before[1] + microseconds)
        for event in counts.get("events", ()):
            name, subject, times = event[:3]
            self.events[name, subject] += times
        for histogram in counts.get("latency", ()):
            cluster, alias, operation, buckets = histogram[:4]
            latency.add(self.latency.setdefault((cluster, alias, operation), []), buckets)
        for entry in counts.get("log", ()):
            when, name, subject, detail, process = (*entry, "")[:5]
            self._log.append((when, name, subject, detail, process))
        for reason, view, model, reads in counts.get("origins", ()):
            self.origins[reason, view, model] += reads
        for measured in counts.get("lag", ()):
            alias, most, last = measured[:3]
            before_most, when, before_last = self._lag.get(alias, (most, start, last))
            # Of the processes that measured at the same time, the one that saw it the furthest behind.
            when, last = max((when, before_last), (start, last))
            self._lag[alias] = (max(before_most, most), when, last)

    def counts(self, resolution: int) -> Counts:
        """Return the sum, for a row that covers so many seconds."""
        counts: Counts = {
            "statements": sorted((*key, *numbers) for key, numbers in self.statements.items()),
            "events": sorted((*key, times) for key, times in self.events.items()),
        }
        if processes := max(self._processes.values(), default=0):
            counts["processes"] = processes
        if self.latency:
            counts["latency"] = sorted((*key, buckets) for key, buckets in self.latency.items())
        if log := _bounded(self._log, LOG_OF_EACH.get(resolution, LONGEST_LOG)):
            counts["log"] = log
        if self.origins:
            counts["origins"] = _most_frequent(self.origins)
        if self._lag:
            counts["lag"] = sorted((alias, most, last) for alias, (most, _, last) in self._lag.items())
        return counts

    def grand_total(self) -> Counts:
        """Return the sum without what has a time: for the row with everything since ever."""
        counts = self.counts(LONGEST_LOG)
        for key in ("log", "lag", "origins", "processes"):
            counts.pop(key, None)  # type: ignore[misc]
        return counts


def _bounded(log: Iterable[LogEntry], of_each: int) -> list[LogEntry]:
    """Return the first entries of each name and subject, in the order of their time."""
    kept: list[LogEntry] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for entry in sorted(log):
        _when, name, subject, _detail, process = entry
        if seen[name, subject] < LOG_OF_ALL and seen[name, subject, process] < of_each:
            seen.update([(name, subject), (name, subject, process)])
            kept.append(entry)
    return kept


def _most_frequent(origins: dict[tuple[str, str, str], int]) -> list[tuple[str, str, str, int]]:
    """Return the most frequent origins, and the others as one for each reason."""
    kept: Counter[tuple[str, str, str]] = Counter()
    for place, (origin, reads) in enumerate(sorted(origins.items(), key=lambda each: (-each[1], each[0]))):
        kept[origin if place < MAX_ORIGINS else (origin[0], OTHER, OTHER)] += reads
    return sorted((*origin, reads) for origin, reads in kept.items())
