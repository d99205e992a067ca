"""How far a server has got in the log that its primary writes.

One module for each database, with a value (a position) and a driver (the queries), registered by the name
that Django gives the database; MariaDB and MySQL share theirs and are told apart by the connection. A
database without a module here has no positions: the levels that need one fall back to ``window``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from typing_extensions import Self  # typing's own came with Python 3.11

P = TypeVar("P", bound="Position")


@runtime_checkable
class Position(Protocol):
    """A place in a log. A value: it is compared by content and never changes."""

    def covers(self, other: Any) -> bool:
        """Whether a server at this place has replayed all that ``other`` stands for.

        ``False`` also where the two belong to different histories and cannot be compared.
        """
        ...

    def merge(self, other: Self) -> Self:
        """Return the place that stands for both; of two histories, the one that is further on."""
        ...

    def encode(self) -> str:
        """Return it as text that :func:`decode` reads."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server said of itself."""

    server: str
    """Which physical server this is; another one behind the same address says something else."""
    position: Position | None
    """Where it stands; ``None`` if it does not say (no log, no replication)."""
    tentative: bool = False
    """Whether it does not say which history its position belongs to."""
    writable: bool | None = None
    """Whether it takes writes, as a primary does; ``None`` if it does not say."""


class Driver(Protocol):
    """The queries of one database. All of them are single statements on the driver's own cursor."""

    replicas_are_read_only: bool
    """Whether a replica can never take writes, so that a server that does is none."""

    def read_primary(self, cursor: Any) -> Position | None:
        """Return where the primary stands now: whatever was committed before is covered."""
        ...

    def describe_primary(self, cursor: Any) -> Reading:
        """Return which server this is, where it stands, and whether it takes writes.

        One that is in fact a replica is described, too, and may have no position.
        """
        ...

    def read_replica(self, cursor: Any) -> Reading:
        """Return which server this is, how far it has replayed, and whether it takes writes."""
        ...

    def make_read_only(self, cursor: Any, primary: str | None) -> None:
        """Make the session read-only, by one statement, unless it leads to the primary.

        A pooler would hand that session to writers. ``primary`` is the primary's ``server``, if it is known.
        """
        ...

    def place(self, position: Any, primary: Any) -> Position | None:
        """Put a tentative position into the primary's history; ``None`` if it cannot belong there."""
        ...

    def wait(self, cursor: Any, position: Any, seconds: float) -> bool:
        """Wait until the server has replayed ``position``, for so many seconds; tell whether it has."""
        ...


Detect = Callable[["BaseDatabaseWrapper"], str]

_DRIVERS: Final[dict[str, str]] = {
    "mariadb": "django_rwrouter.positions.mariadb.MariaDBDriver",
    "mysql": "django_rwrouter.positions.mysql.MySQLDriver",
    "postgresql": "django_rwrouter.positions.postgresql.PostgreSQLDriver",
}
_CODES: Final[dict[str, str]] = {
    "m": "django_rwrouter.positions.mariadb.MariaDBPosition",
    "y": "django_rwrouter.positions.mysql.MySQLPosition",
    "p": "django_rwrouter.positions.postgresql.PostgreSQLPosition",
}
"""The letter before an encoded position, and the type that reads the rest."""


@cache
def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


@cache
def _make(path: str) -> Any:
    return _load(path)()


def product(connection: BaseDatabaseWrapper) -> str:
    """Return the database's name, with MariaDB and MySQL told apart."""
    if connection.vendor == "mysql" and getattr(connection, "mysql_is_mariadb", False):
        return "mariadb"
    return connection.vendor


def has_positions(vendor: str) -> bool:
    """Whether there is a driver for what Django calls by this name."""
    return vendor in _DRIVERS


def get_driver(connection: BaseDatabaseWrapper) -> Driver | None:
    """Return the driver for an open connection, or ``None`` for a database without positions."""
    path = _DRIVERS.get(product(connection))
    if path is None:
        return None
    driver: Driver = _make(path)
    return driver


def encode(position: Position) -> str:
    """Return a position as text, with the letter of its type in front."""
    for code, path in _CODES.items():
        if type(position).__qualname__ == path.rpartition(".")[2]:
            return code + position.encode()
    raise TypeError(f"{type(position).__qualname__} has no letter in django_rwrouter.positions.")


def decode(text: str) -> Position:
    """Read what :func:`encode` wrote; raises ``ValueError`` for anything else."""
    path = _CODES.get(text[:1])
    if path is None:
        raise ValueError(f"{text[:1]!r} stands for no kind of position")
    position: Position = _load(path).decode(text[1:])
    return position
