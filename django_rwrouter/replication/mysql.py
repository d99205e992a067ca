"""MySQL's steps. Source: MySQL Reference Manual, "SHOW REPLICA STATUS Statement"."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.positions.mysql import Interval, MySQLDriver, MySQLPosition
from django_rwrouter.replication import Progress
from django_rwrouter.replication.mysql_protocol import as_text, progress_of, replica_status

_PRIVILEGE: Final = "REPLICATION CLIENT"


class MySQLReader:
    """Asks MySQL. ``Retrieved_Gtid_Set`` is shown with the privilege ``REPLICATION CLIENT`` alone."""

    unit = "transactions"

    def written(self, cursor: Any) -> MySQLPosition | None:
        """Return all transactions that the primary has committed."""
        return MySQLDriver().read_primary(cursor)

    def progress(self, cursor: Any) -> Progress:
        """Return what the status shows, and then what was replayed: so this is never behind the other."""
        status = replica_status(cursor)
        progress = progress_of(status, "Replica", _PRIVILEGE)
        progress.replayed = MySQLDriver().read_replica(cursor).position
        if status:
            # What was retrieved since the relay log was begun; what was replayed had been received before.
            text = as_text(status.get("Retrieved_Gtid_Set")).replace("\n", "")
            progress.received = MySQLPosition.decode(text) if text else None
            if progress.replayed is not None:
                progress.received = (
                    progress.replayed
                    if progress.received is None
                    else progress.received.merge(progress.replayed)
                )
        return progress

    def gap(self, ahead: MySQLPosition, behind: MySQLPosition) -> int | None:
        """Return how many transactions are in the one set and not in the other."""
        return sum(
            _count(intervals) - _common(intervals, behind.sources.get(source, ()))
            for source, intervals in ahead.sources.items()
        )

    def text(self, position: MySQLPosition) -> str:
        """Return it as MySQL writes it."""
        return ", ".join(
            f"{source}:" + ":".join(f"{first}-{last}" if last > first else f"{first}" for first, last in all_)
            for source, all_ in sorted(position.sources.items())
        )


def _count(intervals: tuple[Interval, ...]) -> int:
    return sum(last - first + 1 for first, last in intervals)


def _common(some: tuple[Interval, ...], others: tuple[Interval, ...]) -> int:
    return sum(
        max(0, min(last, other_last) - max(first, other_first) + 1)
        for first, last in some
        for other_first, other_last in others
    )


READER: Final = MySQLReader()
