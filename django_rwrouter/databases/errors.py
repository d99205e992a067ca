"""What the errors of databases and their drivers mean: dispatched to what each product has registered."""

from __future__ import annotations

from typing import Final

from django.db import DataError, Error, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError

from django_rwrouter.databases.base import ErrorCodes, Loss
from django_rwrouter.databases.mysql_family import MySQLFamilyErrors
from django_rwrouter.databases.postgresql import PostgreSQLErrors
from django_rwrouter.databases.sqlite import SQLiteErrors

__all__ = [
    "Loss",
    "is_read_only_server",
    "is_refusal",
    "is_refused_write",
    "is_unsupported",
    "loss",
    "may_have_written",
    "may_work_on_primary",
    "register",
    "was_never_reached",
]

_UNKNOWN: Final = ErrorCodes()
_registered: Final[dict[str, ErrorCodes]] = {
    "mysql": MySQLFamilyErrors(),
    "postgresql": PostgreSQLErrors(),
    "sqlite": SQLiteErrors(),
}
"""By the ``vendor`` of Django's backend: MariaDB and MySQL share theirs."""


def register(vendor: str, codes: ErrorCodes) -> None:
    """Teach the package the errors of a database."""
    _registered[vendor] = codes


def _codes(vendor: str) -> ErrorCodes:
    return _registered.get(vendor, _UNKNOWN)


def loss(error: BaseException, vendor: str, *, closed: bool = False) -> Loss | None:
    """Tell what a read has lost that failed with ``error``, or ``None`` if it would fail elsewhere as well.

    Nothing is lost by a statement that was cancelled (by ``KILL QUERY``, ``statement_timeout``,
    ``max_statement_time``), by a deadlock, or by a mistake. ``closed`` says whether the driver takes the
    connection for closed: PostgreSQL's library has no code for that.
    """
    return _codes(vendor).loss(error, closed=closed) if isinstance(error, Error) else None


def was_never_reached(error: BaseException, vendor: str) -> bool:
    """Whether a new connection failed before the server itself has said a word."""
    return _codes(vendor).was_never_reached(error)


def may_have_written(error: BaseException, vendor: str) -> bool:
    """Whether a single statement that failed may have changed something all the same."""
    if isinstance(error, (DataError, IntegrityError, ProgrammingError, NotSupportedError)):
        return False
    if isinstance(error, InterfaceError) or not isinstance(error, Error):
        return True
    return _codes(vendor).may_have_written(error)


def is_refusal(error: BaseException, vendor: str) -> bool:
    """Whether a server has answered that it does not do what it was asked for, or not for this user.

    Meant for the questions of this package alone, which are well-formed.
    """
    return isinstance(error, Error) and _codes(vendor).is_refusal(error)


def may_work_on_primary(error: BaseException, vendor: str) -> bool:
    """Whether a read may have failed only because a replica is one, or is late.

    A mistake in the statement looks the same; only the primary can tell.
    """
    return isinstance(error, Error) and _codes(vendor).may_work_on_primary(error)


def is_unsupported(error: BaseException, vendor: str) -> bool:
    """Whether a replica cannot open a transaction as the settings ask, so that no write gets through."""
    return isinstance(error, Error) and _codes(vendor).is_unsupported(error)


def is_refused_write(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a statement because session or server are read-only."""
    return isinstance(error, Error) and _codes(vendor).is_refused_write(error)


def is_read_only_server(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a write because it is read-only as a whole.

    On PostgreSQL it may have been the session or the transaction alone: the error is the same.
    """
    return isinstance(error, Error) and _codes(vendor).is_read_only_server(error)
