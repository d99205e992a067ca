"""Statistics: what was routed where, and why, and what happened.

Counting is cheap and exact, and happens in memory (``counters``). A thread of each process writes the counts
every ``STATS["FLUSH_SECONDS"]`` and at the end of the process (``flusher``, ``backends``). They are read by
``queries``, merged by ``rollup`` and prepared for display by ``summary``.
"""

from django_rwrouter.stats.backends import StatisticsBackend
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.latency import BOUNDS as LATENCY_BOUNDS
from django_rwrouter.stats.recorder import (
    count_event,
    count_statement,
    describe_servers_with,
    flush,
    note_event,
    note_lag,
    reset,
    start,
)
from django_rwrouter.stats.sums import Counts

__all__ = [
    "LATENCY_BOUNDS",
    "Counts",
    "Row",
    "StatisticsBackend",
    "count_event",
    "count_statement",
    "describe_servers_with",
    "flush",
    "note_event",
    "note_lag",
    "reset",
    "start",
]
