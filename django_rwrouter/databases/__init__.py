"""The registry of database products: one module for each.

A product that nobody has registered has no positions: the levels that need one fall back to ``window``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.databases.base import Driver, Position, Product
from django_rwrouter.databases.mariadb import Galera, MariaDB
from django_rwrouter.databases.mysql import MySQL
from django_rwrouter.databases.mysql_family import is_mariadb
from django_rwrouter.databases.postgresql import PostgreSQL
from django_rwrouter.databases.sqlite import SQLite

_REFUSED: Final = re.compile(r"\b(pg_\w+)|\bthe ([A-Z][A-Z ,()]*[A-Z]) privilege")
_UNKNOWN: Final = Product()
_products: Final[dict[str, Product]] = {}


def register(product: Product) -> None:
    """Teach the package a database product. Call it in an app's ``ready()``.

    Registering a name again replaces what was registered before, and what follows from it. Raises
    ``ValueError`` where the letter is none, or marks another kind of position: tokens could not be read.
    """
    name, code = product.name, product.code
    if product.position is not None:
        if len(code) != 1 or not code.isascii() or not code.isalpha():
            raise ValueError(f"code is {code!r}, and must be one letter from a to z or A to Z.")
        for other in _products.values():
            if other.name != name and other.code == code and other.position is not product.position:
                raise ValueError(
                    f"code {code!r} marks positions of {other.name!r} already: give {name!r} another."
                )
    _products[name] = product
    process.changed(setting=SETTING)


def by_name(name: str) -> Product:
    """Return the product of this name, or one of which nothing is known."""
    return _products.get(name, _UNKNOWN)


def get_product(connection: BaseDatabaseWrapper) -> Product:
    """Return a connection's product; never asks the server.

    MariaDB and MySQL share Django's backend, and are told apart once a connection was open.
    """
    name = connection.vendor
    if name == MySQL.name and is_mariadb(connection):
        name = MariaDB.name
    return _products.get(name, _UNKNOWN)


def code_of(error: BaseException) -> object:
    """Return the code of an error of any product, or ``None`` where it has none."""
    codes = (product.errors.code(error) for product in _products.values())
    return next((code for code in codes if code is not None), None)


def what_is_refused(error: BaseException) -> str:
    """Return the function or the privilege that a refusal names; its text may name host and user."""
    named = _REFUSED.search(str(error))
    return (named[1] or named[2]) if named else str(code_of(error) or type(error).__name__)


def meaning_of(code: str) -> str:
    """Return what a server did, as the product says that has this code; empty if none has."""
    meanings = (product.errors.meanings.get(code) for product in _products.values())
    return next(filter(None, meanings), "")


def timeouts_of(driver: str) -> Sequence[str]:
    """Return the options that bound how long a driver waits, by the name of its package."""
    timeouts = (product.driver_timeouts.get(driver) for product in _products.values())
    return next(filter(None, timeouts), ())


def has_positions(vendor: str) -> bool:
    """Whether there is a driver for what Django calls by this name."""
    return vendor in _products and _products[vendor].driver is not None


def get_driver(connection: BaseDatabaseWrapper) -> Driver | None:
    """Return the driver for an open connection, or ``None`` for a database without positions."""
    return get_product(connection).driver


def encode(position: Position) -> str:
    """Return a position as text, with the letter of its type in front."""
    for product in _products.values():
        if type(position) is product.position:
            return product.code + position.encode()
    raise TypeError(f"{type(position).__qualname__} has no letter: register() its product.")


def decode(text: str) -> Position:
    """Read what :func:`encode` wrote; raises ``ValueError`` for anything else."""
    for product in _products.values():
        if product.position is not None and product.code == text[:1]:
            return product.position.decode(text[1:])
    raise ValueError(f"{text[:1]!r} stands for no kind of position")


for _class in (MariaDB, Galera, MySQL, PostgreSQL, SQLite):
    register(_class())
for _name, _system in (("oracle", "oracle.db"), ("microsoft", "microsoft.sql_server")):
    _product = Product()  # Of which nothing but the name is known.
    _product.name, _product.system = _name, _system
    register(_product)
