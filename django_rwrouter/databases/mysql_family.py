"""What MariaDB and MySQL have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from django.db import DatabaseError, Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation.trans_null import gettext_noop  # Needs no settings, as programs have none.

from django_rwrouter.databases import base, dialects

_NOT_ALLOWED: Final = frozenset({1044, 1045, 1142, 1143, 1227})
"""ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED,
ER_SPECIFIC_ACCESS_DENIED."""
_SYNTAX: Final = 1064
"""ER_PARSE_ERROR: a version that does not know the statement."""

# --- errors -------------------------------------------------------------------------------------

OPTION_PREVENTS_STATEMENT: Final = 1290
READ_ONLY_MODE: Final = 1836
CLIENT_ERRORS: Final = range(2000, 3000)
"""Errors that the client library makes when a connection fails (CR_MIN_ERROR to CR_MAX_ERROR)."""
GONE: Final = frozenset({1053, 1077, 1152, 1159, 1160, 1161, 1184, 1927})
"""Errors by which a server tells that it is going, or that the connection was aborted or killed."""
LOST_CONNECTION: Final = frozenset(
    {
        *(0, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2027, 2055),
        *(1152, 1158, 1159, 1160, 1161, 1184, 1927),
        *(3169, 4031),
    }
)
"""Of the client library: no connection, gone away, lost, TLS broken (2026), a packet cut off (2027); 0 is
for a connection that was closed on our side. Of the server: aborted, interrupted, killed (1927; 3169 on
MySQL), closed after ``wait_timeout`` (4031, MySQL from 8.0.24 on)."""
CLOSED: Final = -1
"""mysql.connector's number for a connection that it has closed, and for mistakes of other classes."""
TIMED_OUT: Final = 3024
"""mysql.connector's number for an answer that did not come in time, with a class of its own; the server's for
a statement that took too long, which is a ``DatabaseError``."""
READ_ONLY_OPTION: Final = re.compile(r"read[-_]only", re.IGNORECASE)


def is_mariadb(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection leads to MariaDB; never asks the server, and says no of one that was never open.

    By the version, which every backend keeps: not all of them tell the two products apart. A connection that
    is being opened has nothing kept yet, and to ask would go through the router again, without an end.
    """
    kept = vars(connection)
    version = kept.get("mysql_server_info") or kept.get("mysql_server_data", {}).get("version", "")
    return "mariadb" in str(version).lower()


def _is_connectors_loss(error: BaseException, code: int | None) -> bool:
    if code == CLOSED:
        return isinstance(error, OperationalError)
    return code == TIMED_OUT and not isinstance(error, DatabaseError)


class MySQLFamilyErrors(base.ErrorCodes):
    """Errors by their numbers."""

    # Shutting down (1053, 1077, 1079), no connection left (1040, 1203: a proxy's answer to a statement), a
    # Galera node outside its cluster (1047), MySQL's offline mode (3032), a ProxySQL without servers (9001).
    lost_server = frozenset({1040, 1047, 1053, 1077, 1079, 1203, 3032, 9001})
    # No privilege for a table, a variable or a function (1142, 1227, 1370), or there is no such thing on this
    # server (1193, 1305).
    refusals = frozenset({1142, 1193, 1227, 1305, 1370})
    # A database, column, table, index or function; a privilege (1142, 1143, 1370). So does whatever is
    # temporary.
    only_on_primary = frozenset({1049, 1054, 1128, 1146, 1176, 1191, 1305, 1142, 1143, 1370})
    # 1792 is the session's or the transaction's.
    refused_writes = frozenset({OPTION_PREVENTS_STATEMENT, 1792, READ_ONLY_MODE})
    missing_table = (1146,)
    meanings = {
        **dict.fromkeys(("1040", "1203"), base.FULL),
        **dict.fromkeys(("1044", "1049"), base.REFUSED_DATABASE),
        "1045": base.REFUSED_USER,
        "1047": gettext_noop("is outside its Galera cluster"),
        **dict.fromkeys(("1053", "1077", "1079"), base.STOPPING),
        **dict.fromkeys(("1152", "1158", "1159", "1160", "1161", "1184"), base.LOST),
        **dict.fromkeys(("1927", "3169", "4031"), gettext_noop("ended the connection")),
        **dict.fromkeys(("2002", "2003"), gettext_noop("refused the connection, or could not be reached")),
        "2005": gettext_noop("has a host name that is not known"),
        "2006": gettext_noop("went away"),
        "2013": gettext_noop("stopped answering, or went away"),
        "2026": gettext_noop("could not agree on an encrypted connection"),
        "3032": gettext_noop("is in offline mode"),
        "9001": gettext_noop("is not there behind its proxy"),
    }

    def code(self, error: BaseException) -> int | None:
        """Return the number."""
        code = error.args[0] if isinstance(error, Error) and error.args else None
        return code if isinstance(code, int) else None

    def loss(self, error: BaseException, *, closed: bool) -> base.Loss | None:
        """Tell by the number alone."""
        code = self.code(error)
        is_lost = code in LOST_CONNECTION or _is_connectors_loss(error, code)
        return super().loss(error, closed=closed) or (base.Loss.CONNECTION if is_lost else None)

    def was_never_reached(self, error: BaseException) -> bool:
        """Tell by the client library's numbers, by what it was reading, or by the class of mysql.connector.

        PyMySQL's error does not tell: there a silent server is found by its read_timeout alone.
        """
        return (
            self.code(error) in (2002, 2003)
            or "initial communication packet" in str(error)
            or type(error.__cause__).__name__ == "ConnectionTimeoutError"
        )

    def hides_the_outcome(self, error: Error) -> bool:
        """Tell by the number."""
        code = self.code(error)
        return code is None or code in CLIENT_ERRORS or code in GONE or _is_connectors_loss(error, code)

    def is_read_only_server(self, error: BaseException, connection: BaseDatabaseWrapper) -> bool:
        """Tell a read-only server from other options that prevent statements."""
        code = self.code(error)
        if code == OPTION_PREVENTS_STATEMENT:
            return bool(READ_ONLY_OPTION.search(str(error)))
        return code == READ_ONLY_MODE


def _lexer(string: str, double_quoted: str) -> re.Pattern[str]:
    """Return a lexer to which comments that may run, and hints, are tokens."""
    return dialects.lexer(
        string,
        double_quoted,
        dialects.BACKQUOTED,
        r"/\*(?:M?!|\+).*?\*/",
        skip=r"/\*(?!M?!|\+).*?\*/|--(?=[\x00-\x20\x7f])[^\n]*|\#[^\n]*",
        unterminated=r"""['"`]|/\*""",
    )


class MySQLFamily(base.Product):
    """What both say alike. Which server it is decides whether a session is the primary's."""

    errors = MySQLFamilyErrors()
    dialect = dialects.Dialect(
        lexers=(
            _lexer(dialects.ESCAPED_STRING, dialects.ESCAPED_DOUBLE_QUOTED),
            _lexer(dialects.PLAIN_STRING, dialects.DOUBLE_QUOTED),  # NO_BACKSLASH_ESCAPES
            _lexer(dialects.ESCAPED_STRING, dialects.DOUBLE_QUOTED),  # ANSI_QUOTES
        ),
        needs_semicolons=True,
        has_executable_comments=True,
        has_do=True,
        has_variables=True,
        reset_writes=True,
    )
    timeouts = ("connect_timeout", "read_timeout")
    driver_timeouts = {
        "MySQLdb": ("connect_timeout", "read_timeout", "write_timeout"),
        "pymysql": ("connect_timeout", "read_timeout", "write_timeout"),
        # Those of one statement from version 9.2 on.
        "mysql": ("connection_timeout", "read_timeout", "write_timeout"),
    }

    def read_only_statement(self, primary: Callable[[], str | None]) -> Sequence[Any]:
        """Set the session, where the server is not known to be the primary."""
        server = primary()
        return ("SET SESSION TRANSACTION READ ONLY",) if server is None else self.read_only_unless(server)

    def read_only_unless(self, primary: str) -> Sequence[Any]:
        """Return one statement that compares the server's identity, and sets the session."""
        raise NotImplementedError

    def missing_timeouts(self, options: Mapping[str, Any]) -> Sequence[str]:
        """Take either name of the first for it: mysql.connector has two."""
        connecting = options.get("connect_timeout") or options.get("connection_timeout")
        return super().missing_timeouts({**options, "connect_timeout": connecting})

    def patience(self, options: Mapping[str, Any]) -> float:
        """Return ``read_timeout``."""
        return float(options.get("read_timeout") or "inf")


# --- replication's progress -----------------------------------------------------------------------


def replica_status(cursor: Any) -> Mapping[str, Any] | None:
    """Return ``SHOW REPLICA STATUS`` by column, empty for no replica; ``None`` if it may not be seen."""
    return _shown(cursor, "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")


def log_status(cursor: Any) -> Mapping[str, Any] | None:
    """Return the binary log's status by column, empty without a log; ``None`` if it may not be seen."""
    return _shown(cursor, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")


def _shown(cursor: Any, *statements: str) -> Mapping[str, Any] | None:
    """Return the first row of the first statement that this version knows, by column."""
    for statement in statements:
        try:
            cursor.execute(statement)
        except Exception as error:
            code = error.args[0] if error.args else None
            if code in _NOT_ALLOWED:
                return None
            if code == _SYNTAX:
                continue
            raise
        row = cursor.fetchone()
        if row is None:
            return {}
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
    return None


class StatusDriver(base.Driver):
    """Asks a server of the family, whose status is shown with a privilege alone."""

    unit = "transactions"
    position: type[base.Position]
    word: str
    """What the server calls a replica in its columns."""
    received: str
    """The column of what it has got."""
    privilege: str

    def progress(self, cursor: Any) -> base.Progress:
        """Return what the status shows, and then what was replayed: so this is never behind the other."""
        status = replica_status(cursor)
        progress = progress_of(status, self.word, self.privilege)
        progress.replayed = self.read_replica(cursor).position
        text = as_text((status or {}).get(self.received)).replace("\n", "")
        if text:
            progress.received = self.position.decode(text)
            if progress.replayed is not None:
                # What was received before the thread or the relay log began anew is counted no more.
                progress.received = progress.received.merge(progress.replayed)
        return progress


def progress_of(status: Mapping[str, Any] | None, word: str, privilege: str) -> base.Progress:
    """Return what the status tells of the threads; ``word`` is what the server calls a replica."""
    if status is None:
        return base.Progress(privilege=privilege)
    if not status:
        return base.Progress(replicates=False, receives=False, replays=False)
    # Numbers alone: the texts of errors name host and user.
    return base.Progress(
        replicates=True,
        # "Connecting" and "Preparing" are no better than "No": nothing arrives.
        receives=str(status.get(f"{word}_IO_Running")) == "Yes",
        replays=str(status.get(f"{word}_SQL_Running")) == "Yes",
        receive_error=int(status.get("Last_IO_Errno") or 0),
        replay_error=int(status.get("Last_SQL_Errno") or 0),
        delay=int(status.get("SQL_Delay") or 0),
    )


def as_text(value: object) -> str:
    """Return a value that may have come as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
