"""PostgreSQL's steps. Source: PostgreSQL documentation, "Recovery Information Functions"."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.positions.postgresql import PostgreSQLDriver, PostgreSQLPosition
from django_rwrouter.replication import Progress

_STANDBY: Final = (
    "SELECT pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,"
    " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,"
    " (SELECT pid FROM pg_stat_wal_receiver LIMIT 1) IS NOT NULL,"
    " (SELECT received_tli FROM pg_stat_wal_receiver LIMIT 1),"
    " current_setting('recovery_min_apply_delay') <> '0',"
    " (SELECT setting::bigint / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay')"
)


class PostgreSQLReader:
    """Asks PostgreSQL 12 or later. A standby shows everybody where it is; only its timeline is a secret."""

    unit = "bytes"

    def written(self, cursor: Any) -> PostgreSQLPosition | None:
        """Return the end of the flushed log."""
        return PostgreSQLDriver().read_primary(cursor)

    def progress(self, cursor: Any) -> Progress:
        """Return what a standby tells everybody."""
        cursor.execute(_STANDBY)
        recovering, received, replayed, paused, streams, timeline, delayed, delay = cursor.fetchone()
        if not recovering:
            return Progress(replicates=False, receives=False, replays=False)
        progress = Progress(replicates=True, receives=streams, replays=not paused)
        progress.replayed = _place(replayed, timeline)
        progress.received = _place(received, timeline)
        if progress.received is None or (progress.replayed and progress.replayed.lsn > progress.received.lsn):
            # Replayed from an archive, or from before it began to stream.
            progress.received = progress.replayed
        progress.delay = max(1, delay) if delayed else 0
        return progress

    def gap(self, ahead: PostgreSQLPosition, behind: PostgreSQLPosition) -> int | None:
        """Return the bytes between the two."""
        if ahead.timeline and behind.timeline and ahead.timeline != behind.timeline:
            return None
        return max(0, ahead.lsn - behind.lsn)

    def text(self, position: PostgreSQLPosition) -> str:
        """Return it as PostgreSQL writes it."""
        return position.encode().partition("@")[2]


def _place(text: str | None, timeline: int | None) -> PostgreSQLPosition | None:
    return PostgreSQLPosition.decode(f"{timeline or 0:X}@{text}") if text else None


READER: Final = PostgreSQLReader()
