"""What MariaDB and MySQL have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from django.db import DatabaseError, Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.databases.base import ErrorCodes, Loss, Progress

_NOT_ALLOWED: Final = frozenset({1044, 1045, 1142, 1143, 1227})
"""ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED,
ER_SPECIFIC_ACCESS_DENIED."""
_SYNTAX: Final = 1064
"""ER_PARSE_ERROR: a version that does not know the statement."""

TIMEOUTS: Final = {
    "MySQLdb": ("connect_timeout", "read_timeout", "write_timeout"),
    "pymysql": ("connect_timeout", "read_timeout", "write_timeout"),
    "mysql": ("connection_timeout", "read_timeout", "write_timeout"),
}
"""By the driver's package, the options that bound how long it waits, in whole seconds. The last driver has
those of one statement from version 9.2 on."""

# --- errors -------------------------------------------------------------------------------------

OPTION_PREVENTS_STATEMENT: Final = 1290
READ_ONLY_TRANSACTION: Final = 1792
READ_ONLY_MODE: Final = 1836
READ_ONLY_ERRORS: Final = frozenset({OPTION_PREVENTS_STATEMENT, READ_ONLY_TRANSACTION, READ_ONLY_MODE})
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
LOST_SERVER: Final = frozenset({1040, 1047, 1053, 1077, 1079, 1203, 3032, 9001})
"""Shutting down (1053, 1077, 1079), no connection left (1040, 1203: a proxy's answer to a statement), a
Galera node outside its cluster (1047), MySQL's offline mode (3032), a ProxySQL without servers (9001)."""
REFUSED: Final = frozenset({1142, 1193, 1227, 1305, 1370})
"""No privilege for a table, a variable or a function (1142, 1227, 1370), or there is no such thing on this
server (1193, 1305)."""
ONLY_ON_PRIMARY: Final = frozenset({1049, 1054, 1128, 1146, 1176, 1191, 1305, 1142, 1143, 1370})
"""What a replica may lack that the primary has: a database, column, table, index or function; a privilege
(1142, 1143, 1370). So does whatever is temporary."""
READ_ONLY_OPTION: Final = re.compile(r"read[-_]only", re.IGNORECASE)


def is_mariadb(connection: BaseDatabaseWrapper) -> bool:
    """Whether a connection leads to MariaDB; never asks the server, and says no of one that was never open.

    By the version, which every backend keeps: not all of them tell the two products apart.
    """
    kept = vars(connection).keys() & {"mysql_server_data", "mysql_server_info"}
    if connection.connection is None and not kept:
        return False
    return "mariadb" in str(getattr(connection, "mysql_server_info", "")).lower()


def code_of(error: BaseException) -> int | None:
    """Return the number of an error."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) else None


def _is_connectors_loss(error: Error, code: int | None) -> bool:
    if code == CLOSED:
        return isinstance(error, OperationalError)
    return code == TIMED_OUT and not isinstance(error, DatabaseError)


class MySQLFamilyErrors(ErrorCodes):
    """Errors by their numbers."""

    def loss(self, error: Error, *, closed: bool) -> Loss | None:
        """Tell by the number alone."""
        code = code_of(error)
        if code in LOST_SERVER:
            return Loss.SERVER
        if _is_connectors_loss(error, code):
            return Loss.CONNECTION
        return Loss.CONNECTION if code in LOST_CONNECTION else None

    def was_never_reached(self, error: BaseException) -> bool:
        """Tell by the client library's numbers, by what it was reading, or by the class of mysql.connector.

        PyMySQL's error does not tell: there a silent server is found by its read_timeout alone.
        """
        return (
            code_of(error) in (2002, 2003)
            or "initial communication packet" in str(error)
            or type(error.__cause__).__name__ == "ConnectionTimeoutError"
        )

    def may_have_written(self, error: Error) -> bool:
        """Tell whether the connection broke before the outcome came."""
        code = code_of(error)
        return code is None or code in CLIENT_ERRORS or code in GONE or _is_connectors_loss(error, code)

    def is_refusal(self, error: Error) -> bool:
        """Tell by the number."""
        return code_of(error) in REFUSED

    def may_work_on_primary(self, error: Error) -> bool:
        """Tell by the number."""
        return code_of(error) in ONLY_ON_PRIMARY

    def is_refused_write(self, error: Error) -> bool:
        """Tell by the number."""
        return code_of(error) in READ_ONLY_ERRORS

    def is_read_only_server(self, error: Error) -> bool:
        """Tell a read-only server from other options that prevent statements."""
        code = code_of(error)
        if code == OPTION_PREVENTS_STATEMENT:
            return bool(READ_ONLY_OPTION.search(str(error)))
        return code == READ_ONLY_MODE


# --- replication's progress -----------------------------------------------------------------------


def replica_status(cursor: Any) -> Mapping[str, Any] | None:
    """Return ``SHOW REPLICA STATUS`` by column, empty for no replica; ``None`` if it may not be seen."""
    for statement in ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
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


def progress_of(status: Mapping[str, Any] | None, word: str, privilege: str) -> Progress:
    """Return what the status tells of the threads; ``word`` is what the server calls a replica."""
    if status is None:
        return Progress(privilege=privilege)
    if not status:
        return Progress(replicates=False, receives=False, replays=False)
    # Numbers alone: the texts of errors name host and user.
    return Progress(
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
