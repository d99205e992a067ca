"""How far a server has got in the log that its primary writes.

One module for each database, with a value (a position) and a driver (the queries), registered by the name
that Django gives the database; MariaDB and MySQL share theirs and are told apart by the connection. A
database without a module here has no positions: the levels that need one fall back to ``window``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from django_rwrouter.databases.base import Driver, Position

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_DRIVERS: Final[dict[str, str]] = {
    "mariadb": "django_rwrouter.databases.mariadb.MariaDBDriver",
    "mysql": "django_rwrouter.databases.mysql.MySQLDriver",
    "postgresql": "django_rwrouter.databases.postgresql.PostgreSQLDriver",
}
_CODES: Final[dict[str, str]] = {
    "m": "django_rwrouter.databases.mariadb.MariaDBPosition",
    "y": "django_rwrouter.databases.mysql.MySQLPosition",
    "p": "django_rwrouter.databases.postgresql.PostgreSQLPosition",
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
    raise TypeError(f"{type(position).__qualname__} has no letter in django_rwrouter.databases.")


def decode(text: str) -> Position:
    """Read what :func:`encode` wrote; raises ``ValueError`` for anything else."""
    path = _CODES.get(text[:1])
    if path is None:
        raise ValueError(f"{text[:1]!r} stands for no kind of position")
    position: Position = _load(path).decode(text[1:])
    return position
