"""How far a server has got in the log that its primary writes.

One module for each product, with a value (a position), a driver (the router's queries) and a reader (those of
the page "Replication"), registered by the name that Django gives the database; MariaDB and MySQL share theirs
and are told apart by the connection. A database that nobody has registered has no positions: the levels that
need one fall back to ``window``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django_rwrouter.databases import errors
from django_rwrouter.databases.base import Driver, ErrorCodes, Position, Product, Reader
from django_rwrouter.databases.galera import GaleraPosition
from django_rwrouter.databases.mariadb import MariaDBDriver, MariaDBPosition, MariaDBReader
from django_rwrouter.databases.mysql import MySQLDriver, MySQLPosition, MySQLReader
from django_rwrouter.databases.mysql_family import is_mariadb
from django_rwrouter.databases.postgresql import PostgreSQLDriver, PostgreSQLPosition, PostgreSQLReader

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_products: Final[dict[str, Product]] = {}
"""By the name of the product."""


def register(
    name: str,
    *,
    code: str,
    position: type[Position],
    driver: Driver,
    reader: Reader | None = None,
    error_codes: ErrorCodes | None = None,
) -> None:
    """Teach the package where servers of a database product stand. Call it in an app's ``ready()``.

    ``name`` is what Django's backend calls the database (its ``vendor``); registering it again replaces what
    was registered before. ``code`` is the letter that marks this kind of position in tokens. One instance of
    ``driver``, ``reader`` and ``error_codes`` serves all threads. Raises ``ValueError`` where the letter
    marks another kind of position: tokens could not be read.
    """
    if len(code) != 1 or not code.isascii() or not code.isalpha():
        raise ValueError(f"code is {code!r}, and must be one letter from a to z or A to Z.")
    for other, registered in _products.items():
        if other != name and registered.code == code and registered.position is not position:
            raise ValueError(f"code {code!r} marks positions of {other!r} already: give {name!r} another.")
    if error_codes is not None:
        errors.register(name, error_codes)
    _products[name] = Product(code=code, position=position, driver=driver, reader=reader)


def product(connection: BaseDatabaseWrapper) -> str:
    """Return the database's name, with MariaDB and MySQL told apart."""
    if connection.vendor == "mysql" and is_mariadb(connection):
        return "mariadb"
    return connection.vendor


def has_positions(vendor: str) -> bool:
    """Whether there is a driver for what Django calls by this name."""
    return vendor in _products


def get_driver(connection: BaseDatabaseWrapper) -> Driver | None:
    """Return the driver for an open connection, or ``None`` for a database without positions."""
    registered = _products.get(product(connection))
    return None if registered is None else registered.driver


def get_reader(connection: BaseDatabaseWrapper) -> Reader | None:
    """Return what reads an open connection's replication progress, or ``None`` where nothing does."""
    registered = _products.get(product(connection))
    return None if registered is None else registered.reader


def encode(position: Position) -> str:
    """Return a position as text, with the letter of its type in front."""
    for registered in _products.values():
        if type(position) is registered.position:
            return registered.code + position.encode()
    raise TypeError(f"{type(position).__qualname__} has no letter: register() its product.")


def decode(text: str) -> Position:
    """Read what :func:`encode` wrote; raises ``ValueError`` for anything else."""
    for registered in _products.values():
        if registered.code == text[:1]:
            return registered.position.decode(text[1:])
    raise ValueError(f"{text[:1]!r} stands for no kind of position")


register("mariadb", code="m", position=MariaDBPosition, driver=MariaDBDriver(), reader=MariaDBReader())
# A node of Galera is a MariaDB server, whose driver sees at each question what it is.
register("galera", code="g", position=GaleraPosition, driver=MariaDBDriver(), reader=MariaDBReader())
register("mysql", code="y", position=MySQLPosition, driver=MySQLDriver(), reader=MySQLReader())
register(
    "postgresql", code="p", position=PostgreSQLPosition, driver=PostgreSQLDriver(), reader=PostgreSQLReader()
)
