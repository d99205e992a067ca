"""Counts, and how they add up: in memory, in the table and for whoever reads them, purely and in any order.

The one thing that is bounded is the log: of each event about each subject the first few entries are kept,
more of them the longer the time that a row covers. Every entry remains counted among the events. Of the
origins of reads the most frequent are kept apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypedDict

from django_rwrouter.stats import latency

if TYPE_CHECKING:
    from django.db.models import Model

LOG_OF_EACH: Final = {60: 5, 600: 20, 3600: 40, 86400: 80}
"""By the seconds that a row covers: entries of each event about each subject that it keeps of a process."""
LONGEST_LOG: Final = 80
LOG_OF_ALL: Final = 200
"""The same of all processes together."""
MAX_ORIGINS: Final = 100
"""Combinations of reason, view and model that a row keeps apart; the others are counted as one."""
OTHER: Final = "*"
"""The view and the model of what a row does not keep apart."""

Key: TypeAlias = tuple[str, str, str, str, str]
"""Cluster, alias, operation, reason and would-be alias of statements that are counted together."""
Source: TypeAlias = tuple[str, str, "type[Model] | str | None"]
"""Reason, view and model of reads on the primary: the model's class, or its label."""
ServerEntry: TypeAlias = Mapping[str, Any]
"""A server's state as JSON, which the statistics keep and do not read."""


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


class Counts(TypedDict, total=False):
    """What a row says, ready for JSON. Keys may be missing or new; readers skip those they do not know."""

    statements: list[tuple[str, str, str, str, str, int, int]]
    """Cluster, alias, operation, reason, would-be alias, statements, microseconds in all."""
    events: list[tuple[str, str, int]]
    """Name, subject, how often."""
    latency: list[tuple[str, str, str, list[int]]]
    """Cluster, alias, operation, statements in each bucket of :data:`stats.LATENCY_BOUNDS`."""
    log: list[tuple[float, str, str, str, str]]
    """Unix time, name, subject, detail and process of noted events: the first few of each."""
    origins: list[tuple[str, str, str, int]]
    """Reason, name of the view, label of the model, and how many reads the primary answered."""
    lag: list[tuple[str, float, float]]
    """Alias, the most seconds that it was behind in this time, and the last."""
    servers: list[ServerEntry]
    """What the process knew when it last wrote. Only in rows of processes."""
    processes: int
    """How many processes counted at the same time. Only in merged rows: another is of one."""


class Sum:
    """What was counted: by :class:`~django_rwrouter.stats.counters.Counters`, and in rows that were added."""

    def __init__(self) -> None:
        self.statements: defaultdict[Key, list[float]] = defaultdict(lambda: [0, 0])
        """Statements and microseconds."""
        self.events: Counter[tuple[str, str]] = Counter()
        """How often, by name and subject."""
        self.latency: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * latency.BUCKETS)
        """Statements in each bucket, by cluster, alias and operation."""
        self.origins: Counter[Source] = Counter()
        """Reads on the primary."""
        self.log: list[Happening] = []
        self.lag: dict[str, tuple[float, float, float]] = {}
        """By alias: the most seconds, when the last were measured, and these."""
        self.processes: Counter[int] = Counter()
        """Processes that counted, by when their rows begin."""

    def add(self, start: int, counts: Counts) -> None:
        """Add the counts of a row that begins at ``start``."""
        self.processes[start] += counts.get("processes", 1)
        for statement in counts.get("statements", ()):
            cluster, alias, operation, reason, would_be, count, microseconds = statement[:7]
            entry = self.statements[cluster, alias, operation, reason, would_be]
            entry[0] += count
            entry[1] += microseconds
        for event in counts.get("events", ()):
            name, subject, times = event[:3]
            self.events[name, subject] += times
        for histogram in counts.get("latency", ()):
            cluster, alias, operation, buckets = histogram[:4]
            latency.add(self.latency[cluster, alias, operation], buckets)
        self.log += [Happening(*entry[:5]) for entry in counts.get("log", ())]
        for reason, view, model, reads in counts.get("origins", ()):
            self.origins[reason, view, model] += reads
        for measured in counts.get("lag", ()):
            alias, most, last = measured[:3]
            before_most, when, before_last = self.lag.get(alias, (most, start, last))
            # Of the processes that measured at the same time, the one that saw it the furthest behind.
            self.lag[alias] = (max(before_most, most), *max((when, before_last), (start, last)))

    def reads(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield cluster, database (under shadow, the one that would have answered), reason and reads."""
        for (cluster, alias, operation, reason, would_be), (count, _time) in self.statements.items():
            if operation == "read":
                yield cluster, would_be or alias, reason, int(count)

    def counts(self, resolution: int) -> Counts:
        """Return the sum, for a row that covers so many seconds."""
        counts: Counts = {
            "statements": sorted(
                (*key, int(count), round(time)) for key, (count, time) in self.statements.items()
            ),
            "events": sorted((*key, times) for key, times in self.events.items()),
        }
        if processes := max(self.processes.values(), default=0):
            counts["processes"] = processes
        if self.latency:
            counts["latency"] = sorted(
                (cluster, alias, operation, latency.trimmed(buckets))
                for (cluster, alias, operation), buckets in self.latency.items()
            )
        if log := _bounded(self.log, LOG_OF_EACH.get(resolution, LONGEST_LOG)):
            counts["log"] = log
        if self.origins:
            counts["origins"] = _most_frequent(self.origins)
        if self.lag:
            counts["lag"] = sorted((alias, most, last) for alias, (most, _when, last) in self.lag.items())
        return counts

    def grand_total(self) -> Counts:
        """Return the sum without what has a time: for the row with the grand totals."""
        counts = self.counts(LONGEST_LOG)
        for key in ("log", "lag", "origins", "processes"):
            counts.pop(key, None)  # type: ignore[misc]
        return counts


def _bounded(log: Iterable[Happening], of_each: int) -> list[tuple[float, str, str, str, str]]:
    """Return the first entries of each name and subject, in the order of their time."""
    kept: list[tuple[float, str, str, str, str]] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for entry in sorted(log):
        _when, name, subject, _detail, process = entry
        if seen[name, subject] < LOG_OF_ALL and seen[name, subject, process] < of_each:
            seen.update([(name, subject), (name, subject, process)])
            kept.append(entry)
    return kept


def _most_frequent(origins: Mapping[Source, int]) -> list[tuple[str, str, str, int]]:
    """Return the most frequent origins, and the others as one for each reason."""
    labelled = [
        (reason, view, model if isinstance(model, str) else model._meta.label if model else "", reads)
        for (reason, view, model), reads in origins.items()
    ]
    labelled.sort(key=lambda origin: (origin[1] == OTHER, -origin[3], origin))
    kept: Counter[tuple[str, str, str]] = Counter()
    for place, (reason, view, label, reads) in enumerate(labelled):
        kept[(reason, view, label) if place < MAX_ORIGINS else (reason, OTHER, OTHER)] += reads
    return sorted((*origin, reads) for origin, reads in kept.items())
