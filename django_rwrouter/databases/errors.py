"""What the errors of databases and their drivers mean; pure functions of the error."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)


class Loss(Enum):
    """What a read has lost, if it may be run again on another server."""

    SERVER = "server"
    """The server says itself that it does not answer now."""
    CONNECTION = "connection"
    """This connection. Whether another one can be opened is not known yet."""
    STATEMENT = "statement"
    """This run alone: the standby had to cancel it to go on replaying."""


_OPTION_PREVENTS_STATEMENT: Final = 1290
_READ_ONLY_TRANSACTION: Final = 1792
_READ_ONLY_MODE: Final = 1836
_MYSQL_READ_ONLY: Final = frozenset({_OPTION_PREVENTS_STATEMENT, _READ_ONLY_TRANSACTION, _READ_ONLY_MODE})
_MYSQL_CLIENT_ERRORS: Final = range(2000, 3000)
"""Errors that the client library makes when a connection fails (CR_MIN_ERROR to CR_MAX_ERROR)."""
_MYSQL_GONE: Final = frozenset({1053, 1077, 1152, 1159, 1160, 1161, 1184, 1927})
"""Errors by which a server tells that it is going, or that the connection was aborted or killed."""
_MYSQL_LOST_CONNECTION: Final = frozenset(
    {
        *(0, 2002, 2003, 2004, 2005, 2006, 2012, 2013, 2026, 2027, 2055),
        *(1152, 1158, 1159, 1160, 1161, 1184, 1927),
        *(3169, 4031),
    }
)
"""Of the client library: no connection, gone away, lost, TLS broken (2026), a packet cut off (2027); 0 is
for a connection that was closed on our side. Of the server: aborted, interrupted, killed (1927; 3169 on
MySQL), closed after ``wait_timeout`` (4031, MySQL from 8.0.24 on)."""
_MYSQL_LOST_SERVER: Final = frozenset({1040, 1047, 1053, 1077, 1079, 1203, 3032, 9001})
"""Shutting down (1053, 1077, 1079), no connection left (1040, 1203: a proxy's answer to a statement), a
Galera node outside its cluster (1047), MySQL's offline mode (3032), a ProxySQL without servers (9001)."""
_POSTGRESQL_LOST_SERVER: Final = frozenset({"08P01", "53300", "57P03"})
"""Not accepting connections; the first two are PgBouncer's answers to a statement."""
_MYSQL_REFUSED: Final = frozenset({1142, 1193, 1227, 1305, 1370})
"""No privilege for a table, a variable or a function (1142, 1227, 1370), or there is no such thing on this
server (1193, 1305)."""
_POSTGRESQL_REFUSED: Final = frozenset({"0A000", "42501", "42883"})
"""Not supported (Aurora, of functions of the log), no privilege, no such function."""
_READ_ONLY_OPTION: Final = re.compile(r"read[-_]only", re.IGNORECASE)


def code_of(error: BaseException) -> int | None:
    """Return the number of an error of MySQL or MariaDB."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) else None


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error of PostgreSQL; the library's own errors have none."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def loss(error: BaseException, vendor: str, *, closed: bool = False) -> Loss | None:
    """Tell what a read has lost that failed with ``error``, or ``None`` if it would fail elsewhere as well.

    Nothing is lost by a statement that was cancelled (by ``KILL QUERY``, ``statement_timeout``,
    ``max_statement_time``), by a deadlock, or by a mistake. ``closed`` says whether the driver takes the
    connection for closed: PostgreSQL's library has no code for that.
    """
    if not isinstance(error, Error):
        return None
    if vendor == "mysql":
        code = code_of(error)
        if code in _MYSQL_LOST_SERVER:
            return Loss.SERVER
        return Loss.CONNECTION if code in _MYSQL_LOST_CONNECTION else None
    if vendor == "postgresql":
        state = sqlstate(error)
        if state is None:
            broken = closed and isinstance(error, (OperationalError, InterfaceError))
            return Loss.CONNECTION if broken else None
        if state in _POSTGRESQL_LOST_SERVER:
            return Loss.SERVER
        if state == "40001":  # A read outside a transaction meets it as a recovery conflict alone.
            return Loss.CONNECTION if closed else Loss.STATEMENT
        return Loss.CONNECTION if state.startswith(("08", "57P")) else None
    return None


def was_never_reached(error: BaseException, vendor: str) -> bool:
    """Whether a new connection failed before the server itself has said a word.

    On PostgreSQL only where PgBouncer says so of the server behind it: libpq has no codes, and what it
    reports of a direct connection, a bare one shows as well. What PgBouncer's later versions quote of a
    server's refusal ("too many clients") shows that it was reached.
    """
    text = str(error)
    if vendor == "mysql":
        return code_of(error) in (2002, 2003) or "initial communication packet" in text
    return "server_login_retry" in text and ("cached error" not in text or "connect" in text)


def may_have_written(error: BaseException, vendor: str) -> bool:
    """Whether a single statement that failed may have changed something all the same."""
    if isinstance(error, (DataError, IntegrityError, ProgrammingError, NotSupportedError)):
        return False
    if isinstance(error, InterfaceError) or not isinstance(error, Error):
        return True
    if vendor == "mysql":
        code = code_of(error)
        return code is None or code in _MYSQL_CLIENT_ERRORS or code in _MYSQL_GONE
    if vendor == "postgresql":
        # No SQLSTATE: the connection broke. 08 and 57P are its own words for that.
        state = sqlstate(error)
        return state is None or state.startswith(("08", "57P"))
    return vendor != "sqlite"


def is_refusal(error: BaseException, vendor: str) -> bool:
    """Whether a server has answered that it does not do what it was asked for, or not for this user.

    Meant for the questions of this package alone, which are well-formed.
    """
    if not isinstance(error, Error):
        return False
    if vendor == "mysql":
        return code_of(error) in _MYSQL_REFUSED
    return vendor == "postgresql" and sqlstate(error) in _POSTGRESQL_REFUSED


def is_refused_write(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a statement because session or server are read-only."""
    if not isinstance(error, Error):
        return False
    if vendor == "mysql":
        return code_of(error) in _MYSQL_READ_ONLY
    if vendor == "postgresql":
        return sqlstate(error) == "25006"  # read_only_sql_transaction
    return vendor == "sqlite" and isinstance(error, OperationalError) and "readonly" in str(error)


def is_read_only_server(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a write because it is read-only as a whole.

    On PostgreSQL it may have been the session or the transaction alone: the error is the same.
    """
    if vendor == "mysql":
        code = code_of(error)
        if code == _OPTION_PREVENTS_STATEMENT:  # There are other options that do.
            return bool(_READ_ONLY_OPTION.search(str(error)))
        return code == _READ_ONLY_MODE
    return vendor == "postgresql" and is_refused_write(error, vendor)
