"""The model for statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.own_table import OwnTable
from django_rwrouter.stats.sums import Counts

ROW_KEY: Final = ("process", "resolution", "start")
"""What names a row."""
MERGED: Final = ""
"""In place of a process: the row is of all of them."""
UPSERTED: Final = ["data", "written"]
VIEW: Final = "django_rwrouter.view_routing"
CHANGE: Final = "django_rwrouter.change_routing"
"""The permission to drain replicas and to throw the kill switch; of no use without the other."""
PRUNE_AT_ONCE: Final = 500
"""Rows that one statement deletes: a bound on how long it holds locks."""


class Recorded(NamedTuple):
    """A row as it is in the table: made faster than an instance of the model."""

    process: str
    start: int
    written: int
    data: Counts


class RoutingStatisticsQuerySet(OwnTable["RoutingStatistics"]):
    """Reads and writes statistics."""

    def put(self, rows: Sequence[Row]) -> None:
        """Write absolute values over whatever the same process wrote before for the same time.

        One statement, where the database has an upsert. Safe to repeat.
        """
        now = int(time.time())
        objects = [
            RoutingStatistics(
                process=row.process, resolution=row.resolution, start=row.start, written=now, data=row.data
            )
            for row in rows
        ]
        features = connections[self.db].features
        if features.supports_update_conflicts:
            # MySQL and MariaDB find the conflicting key themselves, and take no target.
            target = ROW_KEY if features.supports_update_conflicts_with_target else None
            self.bulk_create(objects, update_conflicts=True, update_fields=UPSERTED, unique_fields=target)
            return
        for entry in objects:
            key = {name: getattr(entry, name) for name in ROW_KEY}
            self.update_or_create(**key, defaults={name: getattr(entry, name) for name in UPSERTED})

    def finish(self, rows: Sequence[Row]) -> None:
        """Note that rows are final; those that are gone already stay gone."""
        keys = models.Q()
        for row in rows:
            keys |= models.Q(process=row.process, resolution=row.resolution, start=row.start)
        # By primary key: a look-up in an UPDATE would lock, on MySQL, the place of a row that is not there.
        if unfinished := list(self.filter(keys, final=False).values_list("pk", flat=True)):
            self.filter(pk__in=unfinished).update(final=True)

    def recorded(self, since: int) -> list[Recorded]:
        """Return the rows from ``since`` on (seconds since 1970): those of processes, and merged ones.

        Each count is in exactly one of them.
        """
        return _recorded(self.filter(resolution__gt=0, start__gte=since))

    def in_total(self) -> list[Recorded]:
        """Return the row of the grand totals, and those that are not in it yet.

        One statement, so that each count of all time is in exactly one of them, whatever is merged meanwhile.
        """
        return _recorded(self.filter(models.Q(resolution=0) | ~models.Q(process=MERGED)))

    def prune(self, before: int) -> int:
        """Delete merged rows that start before ``before`` (seconds since 1970); return how many.

        The grand totals stay. Harmless when several processes do it at once.
        """
        deleted = 0
        # By primary key: a range in a DELETE would lock, on MySQL, what other processes insert.
        old = self.filter(process=MERGED, resolution__gt=0, start__lt=before).values_list("pk", flat=True)
        while keys := list(old[:PRUNE_AT_ONCE]):
            deleted += self.filter(pk__in=keys).delete()[0]
        return deleted


def _recorded(rows: models.QuerySet[RoutingStatistics]) -> list[Recorded]:
    return [Recorded(*values) for values in rows.values_list(*Recorded._fields)]


class RoutingStatistics(models.Model):
    """What one process counted in one span of time.

    A row is written again and again while its span lasts, always with the whole counts so far.
    """

    # Whatever DEFAULT_AUTO_FIELD says: MySQL uses up a number for each upsert.
    id = models.BigAutoField(primary_key=True)
    process = models.CharField(max_length=32)
    """Random key of the process that counted; empty in rows that many were merged into."""
    resolution = models.PositiveIntegerField()
    """Seconds that the row covers; 0 in the row of the grand totals."""
    start = models.BigIntegerField()
    """Begin of the span in seconds since 1970 (UTC): a number, so that ``USE_TZ`` does not matter."""
    written = models.BigIntegerField(db_default=0)
    """When the process wrote it last, by its own clock; of the grand totals, when rows were merged last."""
    final = models.BooleanField(db_default=False)
    """Whether its process will not write it again."""
    data = models.JSONField()
    """The counts; see :class:`django_rwrouter.stats.sums.Counts`."""

    objects = RoutingStatisticsQuerySet.as_manager()

    class Meta:
        # What the admin's index calls the panel, below the name of the app.
        verbose_name = _("read/write routing")
        verbose_name_plural = _("read/write routing")
        # The rows are nobody's to edit.
        default_permissions = ()
        # Two permissions: to see the page, and to act on it.
        permissions = [
            ("view_routing", "Can view read/write routing"),
            ("change_routing", "Can drain replicas and switch routing off"),
        ]
        constraints = [
            # The process first: concurrent upserts of different processes then touch different
            # ends of the index, and do not deadlock on MySQL's gap locks.
            models.UniqueConstraint(fields=ROW_KEY, name="rwrouter_statistics_row")
        ]
        indexes = [models.Index(fields=["resolution", "start"], name="rwrouter_statistics_time")]

    def __str__(self) -> str:
        return f"{self.process} {self.start}+{self.resolution}"
