"""PostgreSQL: a byte position (LSN) in the write-ahead log, on a timeline.

A promotion begins a new timeline, and numbers of two timelines say nothing about each other.
Source: PostgreSQL documentation, "System Administration Functions" and "Timelines".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from django.db import Error, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation.trans_null import gettext_noop  # Needs no settings, as programs have none.

from django_rwrouter.databases import base, dialects

_LSN: Final = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})")
_POLL_SECONDS: Final = 0.001
_WAITS: Final = 190000
"""The first ``server_version`` that has ``WAIT FOR LSN``."""
_IDLE: Final = 0
"""libpq's ``PQTRANS_IDLE``."""
_STREAMING: Final = -1
"""In place of a timeline: not known, but the standby receives its log from another server."""
# The flush position covers what was committed. The insert position covers what is still open, too: with one
# idle transaction no replica would ever reach it. Only where commits do not wait for the flush, it has to do.
_PRIMARY: Final = (
    "SELECT CASE current_setting('synchronous_commit') WHEN 'off'"
    " THEN pg_current_wal_insert_lsn() ELSE pg_current_wal_flush_lsn() END::text,"
    " substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)"
)
# The functions of the first query raise on a standby.
_DESCRIPTION: Final = (
    "SELECT CASE WHEN pg_is_in_recovery() THEN NULL"
    " WHEN current_setting('synchronous_commit') = 'off' THEN pg_current_wal_insert_lsn()"
    " ELSE pg_current_wal_flush_lsn() END::text,"
    " CASE WHEN NOT pg_is_in_recovery()"
    " THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,"
    " host(inet_server_addr()), inet_server_port(), pg_postmaster_start_time()::text"
)
# A standby's timeline is shown to members of pg_monitor alone; NULL for others.
_REPLICA: Final = (
    "SELECT pg_last_wal_replay_lsn()::text, pg_is_in_recovery(),"
    " host(inet_server_addr()), inet_server_port(), pg_postmaster_start_time()::text,"
    " (SELECT received_tli FROM pg_stat_wal_receiver LIMIT 1),"
    " (SELECT pid FROM pg_stat_wal_receiver LIMIT 1)"
)
# As SET SESSION CHARACTERISTICS does.
_READ_ONLY: Final = (
    "SELECT set_config('default_transaction_read_only', 'on', false) WHERE pg_is_in_recovery()"
)
_SERVER_IS_READ_ONLY: Final = """
    SELECT pg_is_in_recovery() OR EXISTS (
        SELECT FROM pg_settings
        WHERE name = 'default_transaction_read_only'
        AND setting = 'on' AND source NOT IN ('client', 'session')
    )
"""
SUBSCRIBES: Final = """
    SELECT EXISTS (
        SELECT FROM pg_subscription JOIN pg_database ON pg_database.oid = subdbid
        WHERE subenabled AND datname = current_database()
    )
"""
"""Whether the database is the copy of another by logical replication. Everybody may see these columns."""
_REPLAYED: Final = "SELECT pg_last_wal_replay_lsn()::text"
_STANDBY: Final = (
    "SELECT pg_is_in_recovery(), pg_last_wal_receive_lsn()::text, pg_last_wal_replay_lsn()::text,"
    " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END,"
    " (SELECT pid FROM pg_stat_wal_receiver LIMIT 1) IS NOT NULL,"
    " (SELECT received_tli FROM pg_stat_wal_receiver LIMIT 1),"
    " current_setting('recovery_min_apply_delay') <> '0',"
    " (SELECT setting::bigint / 1000 FROM pg_settings WHERE name = 'recovery_min_apply_delay')"
)

# --- errors -------------------------------------------------------------------------------------

NOT_SUPPORTED: Final = "0A000"


class PostgreSQLErrors(base.ErrorCodes):
    """Errors by their SQLSTATE. ``08`` and ``57P`` are the server's words for a broken connection."""

    # Not accepting connections; the first two are PgBouncer's answers to a statement.
    lost_server = frozenset({"08P01", "53300", "57P03"})
    # Not supported (Aurora, of functions of the log), no privilege, no such function.
    refusals = frozenset({NOT_SUPPORTED, "42501", "42883"})
    # A schema, column, type, function or table; a privilege (42501). And what no standby can do: unlogged
    # tables, the isolation level "serializable" (0A000), the state of a session on the primary (55000).
    only_on_primary = frozenset(
        {"3F000", "42703", "42704", "42883", "42P01", "42501", NOT_SUPPORTED, "55000"}
    )
    refused_writes = ("25006",)
    missing_table = ("42P01",)
    meanings = {
        **dict.fromkeys(("08006", "08P01"), base.LOST),
        **dict.fromkeys(("28000", "28P01"), base.REFUSED_USER),
        "3D000": base.REFUSED_DATABASE,
        "53300": base.FULL,
        "57P01": base.STOPPING,
        "57P02": gettext_noop("has crashed"),
        "57P03": gettext_noop("is starting, or takes no connections yet"),
    }

    def code(self, error: BaseException) -> str | None:
        """Return the SQLSTATE; the library's own errors have none."""
        cause = error.__cause__ if isinstance(error, Error) else None
        return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)

    def loss(self, error: BaseException, *, closed: bool) -> base.Loss | None:
        """Tell by the SQLSTATE; where there is none, by whether the driver has closed the connection."""
        state = self.code(error)
        if state is None:
            broken = closed and isinstance(error, (OperationalError, InterfaceError))
            return base.Loss.CONNECTION if broken else None
        if state == "40001":  # A read outside a transaction meets it as a recovery conflict alone.
            return base.Loss.CONNECTION if closed else base.Loss.STATEMENT
        lost = base.Loss.CONNECTION if state.startswith(("08", "57P")) else None
        return super().loss(error, closed=closed) or lost

    def was_never_reached(self, error: BaseException) -> bool:
        """Tell only where PgBouncer says so of the server behind it.

        libpq has no codes, and what it reports of a direct connection, a bare one shows as well. What
        PgBouncer's later versions quote of a server's refusal ("too many clients") shows that it was reached.
        """
        text = str(error)
        return "server_login_retry" in text and ("cached error" not in text or "connect" in text)

    def hides_the_outcome(self, error: Error) -> bool:
        """Tell by the SQLSTATE."""
        state = self.code(error)
        return state is None or state.startswith(("08", "57P"))

    def is_unsupported(self, error: BaseException) -> bool:
        """Tell by the SQLSTATE: a standby runs nothing at the level "serializable"."""
        return self.code(error) == NOT_SUPPORTED

    def is_read_only_server(self, error: BaseException, connection: BaseDatabaseWrapper) -> bool:
        """Ask the server: the error is the same where the session or the transaction is read-only.

        In a transaction that has failed no question is possible, but servers from version 14 on have told it.
        """
        if not self.is_refused_write(error):
            return False
        if not connection.in_atomic_block and connection.autocommit:
            try:
                with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
                    cursor.execute(_SERVER_IS_READ_ONLY)
                    return bool(cursor.fetchone()[0])
            except Error:
                return True
        info = getattr(connection.connection, "info", None)
        return info is not None and info.parameter_status("in_hot_standby") == "on"


# --- positions ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PostgreSQLPosition:
    """A place in the log; ``timeline`` 0 means that it is not known."""

    timeline: int
    lsn: int
    """Bytes since the beginning of the log."""

    def covers(self, other: PostgreSQLPosition) -> bool:
        """Whether this is the same timeline, and as far or further."""
        return (
            isinstance(other, PostgreSQLPosition)
            and self.timeline == other.timeline
            and self.lsn >= other.lsn
        )

    def merge(self, other: PostgreSQLPosition) -> PostgreSQLPosition:
        """Return the further one; a later timeline is further."""
        return max(self, other, key=lambda position: (position.timeline, position.lsn))

    def gap(self, behind: PostgreSQLPosition) -> int | None:
        """Return the bytes between the two."""
        if self.timeline and behind.timeline and self.timeline != behind.timeline:
            return None
        return max(0, self.lsn - behind.lsn)

    def __str__(self) -> str:
        return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"

    def encode(self) -> str:
        """Return it as ``timeline@lsn``, in hexadecimal as PostgreSQL writes it."""
        return f"{self.timeline:X}@{self}"

    @classmethod
    def decode(cls, text: str) -> PostgreSQLPosition:
        """Read what :meth:`encode` writes; raises ``ValueError``."""
        timeline, _, lsn = text.partition("@")
        if not re.fullmatch("[0-9A-F]{1,8}", timeline):
            raise ValueError(f"{text!r} is not a place in a log")
        return cls(int(timeline, 16), _lsn(lsn))


class PostgreSQLDriver(base.Driver):
    """Asks PostgreSQL 12 or later. Needs no privilege; ``pg_monitor`` lets it see a standby's timeline."""

    replicas_are_read_only = True
    unit = "bytes"

    def read_primary(self, cursor: Any) -> PostgreSQLPosition | None:
        """Return the end of the flushed log, and the timeline."""
        cursor.execute(_PRIMARY)
        lsn, timeline = cursor.fetchone()
        return PostgreSQLPosition(int(timeline, 16), _lsn(lsn))

    def describe_primary(self, cursor: Any) -> base.Reading:
        """Return the server, the end of its flushed log, and whether it is not in recovery."""
        cursor.execute(_DESCRIPTION)
        lsn, timeline, host, port, started = cursor.fetchone()
        position = None if lsn is None else PostgreSQLPosition(int(timeline, 16), _lsn(lsn))
        return base.Reading(f"{host}/{port}/{started}", position, writable=position is not None)

    def read_replica(self, cursor: Any) -> base.Reading:
        """Return the server, what it has replayed, and whether it is not in recovery.

        A logical subscriber has a log of its own: it takes writes as a primary does, and is none.
        """
        cursor.execute(_REPLICA)
        lsn, recovering, host, port, started, timeline, receiver = cursor.fetchone()
        server = f"{host}/{port}/{started}"
        if not recovering:
            cursor.execute(SUBSCRIBES)
            return base.Reading(server, None, writable=None if cursor.fetchone()[0] else True)
        if lsn is None:
            return base.Reading(server, None, writable=False)
        if timeline is not None:
            return base.Reading(server, PostgreSQLPosition(timeline, _lsn(lsn)), writable=False)
        # Anybody may see that there is a receiver, but not what it receives.
        streaming = receiver is not None
        position = PostgreSQLPosition(_STREAMING if streaming else 0, _lsn(lsn))
        return base.Reading(server, position, tentative=True, writable=False)

    def place(
        self, position: PostgreSQLPosition, primary: PostgreSQLPosition | None
    ) -> PostgreSQLPosition | None:
        """Put a position onto the primary's timeline.

        Before the first promotion there is one timeline only. After it, a former primary may have gone on by
        itself on the old one and be ahead in numbers; but then it cannot stream from the new one.
        """
        if primary is None or (primary.timeline > 1 and position.timeline != _STREAMING):
            return None
        return PostgreSQLPosition(primary.timeline, position.lsn)

    def wait(self, cursor: Any, position: PostgreSQLPosition, seconds: float) -> bool:
        """Wait in the server from version 19 on, with ``WAIT FOR LSN``; before, ask again and again.

        It is blind to timelines, as numbers are. It fails where the transaction holds a snapshot, and a
        failure would end somebody's transaction; a timeout of 0 means for ever.
        """
        session = cursor.connection.info
        if session.server_version >= _WAITS and session.transaction_status == _IDLE:
            milliseconds = max(1, round(seconds * 1000))
            cursor.execute(f"WAIT FOR LSN '{position}' WITH (TIMEOUT '{milliseconds}ms', NO_THROW)")
            return bool(cursor.fetchone()[0] == "success")

        def has_replayed() -> bool:
            cursor.execute(_REPLAYED)
            (text,) = cursor.fetchone()
            return text is not None and _lsn(text) >= position.lsn

        return base.poll(has_replayed, seconds, _POLL_SECONDS)

    def progress(self, cursor: Any) -> base.Progress:
        """Return what a standby tells everybody; only its timeline is a secret."""
        cursor.execute(_STANDBY)
        recovering, received, replayed, paused, streams, timeline, delayed, delay = cursor.fetchone()
        if not recovering:
            return base.Progress(replicates=False, receives=False, replays=False)
        replayed, received = _place(replayed, timeline), _place(received, timeline)
        if received is None or (replayed and replayed.lsn > received.lsn):
            received = replayed  # From an archive, or from before it began to stream.
        return base.Progress(
            replicates=True,
            receives=streams,
            replays=not paused,
            received=received,
            replayed=replayed,
            delay=max(1, delay) if delayed else 0,
        )


def _lsn(text: str) -> int:
    match = _LSN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a place in a log")
    return (int(match[1], 16) << 32) + int(match[2], 16)


def _place(text: str | None, timeline: int | None) -> PostgreSQLPosition | None:
    return PostgreSQLPosition(timeline or 0, _lsn(text)) if text else None


# --- statements -----------------------------------------------------------------------------------

# A string goes on after a line break, and is read as it began.
_MORE: Final = r"(?:[\t\v\f ]|--[^\r\n]*)*[\r\n](?:[\t-\r ]|--[^\r\n]*[\r\n])*"
_E_STRING: Final = rf"[eE]{dialects.ESCAPED_STRING}(?:{_MORE}{dialects.ESCAPED_STRING})*"


def _lexer(string: str) -> re.Pattern[str]:
    return dialects.lexer(
        string,
        _E_STRING,
        dialects.DOUBLE_QUOTED,
        skip=rf"{dialects.COMMENT}|--[^\r\n]*",
        unterminated=r"""['"]|/\*""",
    )


def _marks(string: str) -> re.Pattern[str]:
    """Return what is in the way of nested comments and dollar quotes, and these themselves."""
    return re.compile(
        rf"""{_E_STRING}|{string}|{dialects.DOUBLE_QUOTED}|{dialects.WORD}|--[^\r\n]*|/\*|['"]"""
        r"""|\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$""",
        re.DOTALL,
    )


class PostgreSQL(base.Product):
    """PostgreSQL 12 or later."""

    name = "postgresql"
    system = "postgresql"
    code = "p"
    position = PostgreSQLPosition
    driver = PostgreSQLDriver()
    errors = PostgreSQLErrors()
    dialect = dialects.Dialect(
        # The second with standard_conforming_strings = off.
        lexers=(_lexer(dialects.PLAIN_STRING), _lexer(dialects.ESCAPED_STRING)),
        marks=(_marks(dialects.PLAIN_STRING), _marks(dialects.ESCAPED_STRING)),
        needs_semicolons=True,
        has_unicode_names=True,
        has_copy=True,
        has_describe=False,
    )
    read_only_query = "SHOW transaction_read_only"
    supported_isolation = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    impatient_select = "SET LOCAL lock_timeout = 250; SELECT %s"
    timeouts = ("connect_timeout",)
    driver_timeouts = {"psycopg": timeouts, "psycopg2": timeouts}
    reads_can_hang = True
    hello = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"  # SSLRequest

    def read_only_statement(self, primary: Callable[[], str | None]) -> Sequence[Any]:
        """Set the session of a standby alone: any other server may be the primary."""
        return (_READ_ONLY,)

    def patience(self, options: Mapping[str, Any]) -> float:
        """Return ``tcp_user_timeout``, which is in milliseconds."""
        return float(options.get("tcp_user_timeout") or "inf") / 1000

    def is_serializable(self, options: Mapping[str, Any]) -> bool:
        """Look at what libpq sends, and at what Django's backend sets: no standby has that level."""
        words = str(options.get("options", "")).replace("\\", "").replace("'", "")
        level = getattr(options.get("isolation_level"), "name", "")
        return "default_transaction_isolation=serializable" in words or level == "SERIALIZABLE"
