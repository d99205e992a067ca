"""Merges the rows of processes into rows of all of them, minutes into hours, and hours into days.

The processes do it themselves, one at a time, each step in one transaction that begins by taking the lock:
an UPDATE of the row with the grand totals. Whoever is killed in the middle has changed nothing, and holds no
lock.

Each count is in exactly one row of time, and in the grand totals once the row of its process is merged. Only
rows that their process will never write again are merged: those that it has called final, and those of
processes that were not heard of for :data:`ABANDONED_AFTER`.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from django.db import DatabaseError, models, transaction

from django_rwrouter.stats.counters import GIVEN_UP_AFTER, Row
from django_rwrouter.stats.sums import Sum
from django_rwrouter.stats.table import MERGED, RoutingStatistics, RoutingStatisticsQuerySet


class Tier(NamedTuple):
    """For how long rows of one resolution are kept before they are merged into coarser ones."""

    resolution: int
    kept: int
    coarser: int


TIERS: Final = (Tier(60, 2 * 3600, 600), Tier(600, 26 * 3600, 3600), Tier(3600, 8 * 86_400, 86_400))
"""All in seconds. :data:`django_rwrouter.stats.summary.SPANS` looks back no further than each is kept."""
EVERY: Final = 30
"""Seconds between two roll-ups, whichever process makes them."""
SETTLED_AFTER: Final = 180
"""Seconds from the begin of a minute after which its rows are merged.

A final row could be merged at once; this leaves time for a statement that a network or a frozen server
holds up.
"""
ABANDONED_AFTER: Final = round(GIVEN_UP_AFTER) + 3600
"""Seconds without a sign of it after which the rows of a process are merged though they are not final."""
AT_ONCE: Final = 400
"""Rows of processes, and as many merged ones, that one transaction takes: a bound on how long it lasts."""
LONGEST: Final = 40
"""Transactions that one roll-up makes; the next one goes on."""


def boundary(tier: Tier, now: int) -> int:
    """Return the begin of the oldest row of a tier that stays as it is. A whole coarser row at a time."""
    return (now - tier.kept) // tier.coarser * tier.coarser


def place(start: int, now: int) -> tuple[int, int]:
    """Return resolution and start of the merged row for what began at ``start``, by its age."""
    for tier in TIERS:
        if start >= boundary(tier, now):
            return tier.resolution, start // tier.resolution * tier.resolution
    coarsest = TIERS[-1].coarser
    return coarsest, start // coarsest * coarsest


def roll_up(table: RoutingStatisticsQuerySet, retention: float, now: int | None = None) -> int:
    """Merge what is due, unless another process does or has done so lately; return how many rows went.

    ``table`` is bound to its database; ``retention`` is in seconds. Raises what the database raises: where
    two meet, one of them may be turned away, and nothing is lost.
    """
    fixed, now = now is not None, int(time.time()) if now is None else now
    totals = table.filter(process=MERGED, resolution=0, start=0)
    written = totals.values_list("written", flat=True).first()
    if written is None:
        empty = {"written": 0, "data": Sum().grand_total()}
        table.get_or_create(process=MERGED, resolution=0, start=0, defaults=empty)
    elif abs(now - written) < EVERY:
        return 0
    # A clock that was wrong may have left a time that lies ahead.
    due = models.Q(written__lte=now - EVERY) | models.Q(written__gte=now + EVERY)
    gone = 0
    for _turn in range(LONGEST):
        merged = _merge(table, totals.filter(due), now, round(now - retention))
        gone += merged or 0
        if not merged:
            break
        # It is ours still if nobody else has taken it since.
        due = models.Q(written=now)
        now = now if fixed else int(time.time())
    return gone + table.prune(round(now - retention))


def _merge(
    table: RoutingStatisticsQuerySet, lock: models.QuerySet[RoutingStatistics], now: int, oldest: int
) -> int | None:
    """Merge some rows in one transaction; return how many, or ``None`` if it is not our turn."""
    with transaction.atomic(using=table.db):
        # The first statement of the transaction: everything is read after the lock is ours, whatever the
        # isolation level. Who waited for it finds that it is not due any more.
        if not lock.update(written=now):
            return None
        sources = [*_settled(table, now)[:AT_ONCE], *_aged(table, now)[:AT_ONCE]]
        if not sources:
            return 0
        sums: dict[tuple[int, int], Sum] = {}
        for row in sources:
            if row.start >= oldest:
                sums.setdefault(place(row.start, now), Sum()).add(row.start, row.data)
        totals = table.get(process=MERGED, resolution=0, start=0)
        total = Sum()
        for row in (totals, *(row for row in sources if row.process != MERGED)):
            total.add(row.start, row.data)
        table.filter(pk=totals.pk).update(data=total.grand_total())
        _write(table, sums)
        deleted, _by_model = table.filter(pk__in=[row.pk for row in sources]).delete()
        if deleted != len(sources):
            # Impossible under the lock; rather merge nothing than something twice.
            raise DatabaseError(f"Of {len(sources)} rows to merge, {len(sources) - deleted} were gone.")
        return len(sources)


def _settled(table: RoutingStatisticsQuerySet, now: int) -> RoutingStatisticsQuerySet:
    """Return the rows of processes that will not be written again."""
    silent = now - ABANDONED_AFTER
    settled = models.Q(final=True, start__lte=now - SETTLED_AFTER) | models.Q(
        # Versions of this package that do not know the column leave it at 0.
        written__lte=silent,
        start__lte=silent,
    )
    rows: RoutingStatisticsQuerySet = table.filter(settled).exclude(process=MERGED).order_by("start", "pk")
    return rows


def _aged(table: RoutingStatisticsQuerySet, now: int) -> RoutingStatisticsQuerySet:
    """Return the merged rows that are to become part of coarser ones."""
    aged = models.Q()
    for tier in TIERS:
        aged |= models.Q(resolution=tier.resolution, start__lt=boundary(tier, now))
    rows: RoutingStatisticsQuerySet = table.filter(aged, process=MERGED).order_by("start", "pk")
    return rows


def _write(table: RoutingStatisticsQuerySet, sums: dict[tuple[int, int], Sum]) -> None:
    """Put sums on top of the merged rows that are there already."""
    if not sums:
        return
    keys = models.Q()
    for resolution, start in sums:
        keys |= models.Q(process=MERGED, resolution=resolution, start=start)
    for row in table.filter(keys):
        sums[row.resolution, row.start].add(row.start, row.data)
    table.put(
        [
            Row(process=MERGED, resolution=resolution, start=start, data=total.counts(resolution))
            for (resolution, start), total in sums.items()
        ]
    )
