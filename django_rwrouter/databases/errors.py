"""What the errors of databases and their drivers mean; pure functions of the error.

The codes of each product stand in its own module.
"""

from __future__ import annotations

from enum import Enum

from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from django_rwrouter.databases import mysql_family, postgresql, sqlite


class Loss(Enum):
    """What a read has lost, if it may be run again on another server."""

    SERVER = "server"
    """The server says itself that it does not answer now."""
    CONNECTION = "connection"
    """This connection. Whether another one can be opened is not known yet."""
    STATEMENT = "statement"
    """This run alone: the standby had to cancel it to go on replaying."""


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
        if code in mysql_family.LOST_SERVER:
            return Loss.SERVER
        return Loss.CONNECTION if code in mysql_family.LOST_CONNECTION else None
    if vendor == "postgresql":
        state = sqlstate(error)
        if state is None:
            broken = closed and isinstance(error, (OperationalError, InterfaceError))
            return Loss.CONNECTION if broken else None
        if state in postgresql.LOST_SERVER:
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
        return code is None or code in mysql_family.CLIENT_ERRORS or code in mysql_family.GONE
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
        return code_of(error) in mysql_family.REFUSED
    return vendor == "postgresql" and sqlstate(error) in postgresql.REFUSED


def may_work_on_primary(error: BaseException, vendor: str) -> bool:
    """Whether a read may have failed only because a replica is one, or is late.

    A mistake in the statement looks the same; only the primary can tell.
    """
    if not isinstance(error, Error):
        return False
    if vendor == "mysql":
        return code_of(error) in mysql_family.ONLY_ON_PRIMARY
    if vendor == "postgresql":
        return sqlstate(error) in postgresql.ONLY_ON_PRIMARY
    return vendor == "sqlite" and str(error).startswith(sqlite.ONLY_ON_PRIMARY)


def is_unsupported(error: BaseException) -> bool:
    """Whether PostgreSQL does not support what it was asked for, as "serializable" on a standby."""
    return sqlstate(error) == postgresql.NOT_SUPPORTED


def is_refused_write(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a statement because session or server are read-only."""
    if not isinstance(error, Error):
        return False
    if vendor == "mysql":
        return code_of(error) in mysql_family.READ_ONLY_ERRORS
    if vendor == "postgresql":
        return sqlstate(error) == postgresql.READ_ONLY_TRANSACTION
    return vendor == "sqlite" and isinstance(error, OperationalError) and sqlite.READ_ONLY_ERROR in str(error)


def is_read_only_server(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a write because it is read-only as a whole.

    On PostgreSQL it may have been the session or the transaction alone: the error is the same.
    """
    if vendor == "mysql":
        code = code_of(error)
        if code == mysql_family.OPTION_PREVENTS_STATEMENT:  # There are other options that do.
            return bool(mysql_family.READ_ONLY_OPTION.search(str(error)))
        return code == mysql_family.READ_ONLY_MODE
    return vendor == "postgresql" and is_refused_write(error, vendor)
