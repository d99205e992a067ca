"""Reads the statistics of all processes, with one query: for the panel, commands and exporters."""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import attrgetter
from typing import Literal, TypeVar

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.stats.own_table import TableMissingError
from django_rwrouter.stats.summary import Span, Summary
from django_rwrouter.stats.sums import Sum
from django_rwrouter.stats.table import RoutingStatistics, RoutingStatisticsQuerySet

T = TypeVar("T")

StatisticsState = Literal["here", "missing", "off", "elsewhere", "unreachable"]
"""Whether there are statistics: ``missing`` before ``migrate``, ``elsewhere`` with a backend of one's own."""


def report(span: Span, now: float | None = None) -> Summary | None:
    """Return what happened in the time up to now, or ``None`` where the table has not been made yet.

    One query. With another backend than ``"database"`` there is nothing to see.
    """
    now = time.time() if now is None else now
    steps = span.steps(now)
    rows = _ask(lambda table: table.recorded(steps[0]))
    if rows is None:
        return None
    aliases = {
        alias: (cluster.name, alias == cluster.primary)
        for cluster in get_topology().clusters.values()
        for alias in cluster.aliases
    }
    summary = Summary(((row.start, row.data) for row in rows), steps=steps, aliases=aliases)
    for row in sorted(rows, key=attrgetter("written", "start"), reverse=True):
        if row.written >= now - 3 * get_settings().stats.flush_seconds - 10 and "servers" in row.data:
            summary.servers.setdefault(row.process, row.data["servers"])
    return summary


def recorded(span: Span, now: float | None = None) -> tuple[StatisticsState, Summary | None]:
    """Return what happened in the time up to now, or why that is not known."""
    backend = get_settings().stats.backend
    if backend != "database":
        return "off" if backend == "off" else "elsewhere", None
    summary = report(span, now)
    return "here" if summary else "missing", summary


def totals() -> Sum | None:
    """Return all that was ever counted, or ``None`` where the table has not been made yet.

    One query. The numbers only grow, however old rows are merged and deleted: fit for counters of Prometheus.
    """
    rows = _ask(lambda table: table.in_total())
    if rows is None:
        return None
    total = Sum()
    for row in rows:
        total.add(row.start, row.data)
    return total


def _ask(question: Callable[[RoutingStatisticsQuerySet], T]) -> T | None:
    table = RoutingStatistics.objects.on_primary()
    try:
        with table.unseen():
            return question(table)
    except TableMissingError:
        return None
