"""SQLite: no replication positions, and a single writer at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakSet

from django.db import Error, OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.databases import dialects
from django_rwrouter.databases.base import Busy, ErrorCodes, Product

ONLY_ON_PRIMARY: Final = "no such "
"""How an error begins that says that a table, column or function is not there."""
READ_ONLY_ERROR: Final = "readonly"
"""In the text of the error of a write in a read-only session or file; SQLite's library has no codes here."""
_LOCKED: Final = "is locked"
"""In the text of the error of whoever finds another writer, or readers in the way of an exclusive lock."""


class SQLiteErrors(ErrorCodes):
    """Errors by their texts."""

    def hides_the_outcome(self, error: Error) -> bool:
        """Return ``False``: a statement that fails is undone before its error is raised."""
        return False

    def may_work_on_primary(self, error: BaseException) -> bool:
        """Tell whether something is missing."""
        return isinstance(error, Error) and str(error).startswith(ONLY_ON_PRIMARY)

    def is_refused_write(self, error: BaseException) -> bool:
        """Tell by the text."""
        return isinstance(error, OperationalError) and READ_ONLY_ERROR in str(error)


class WriterGate:
    """Keeps the site's transactions and the statistics' short ones apart, in one process.

    SQLite fails a transaction that has read, and now writes, at once if another connection writes or has
    written since: no ``timeout`` helps. So the statistics are written while no transaction is open, and
    those of the site begin after that.
    """

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Be as in a new process; what a forked child does."""
        self._changed = threading.Condition()
        self._writer: int | None = None
        """The thread that writes statistics; its own ``BEGIN`` comes by here, too."""
        self._beginning = 0
        """How many transactions of the site are about to begin; they do not wait for each other."""
        self._seen: WeakSet[BaseDatabaseWrapper] = WeakSet()

    @contextmanager
    def beginning(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Let a transaction of the site begin, after a write of the statistics that is under way."""
        with self._changed:
            while self._writer not in {None, threading.get_ident()}:
                self._changed.wait()
            self._beginning += 1
            self._seen.add(connection)
        try:
            yield
        finally:
            with self._changed:
                self._beginning -= 1

    @contextmanager
    def writing(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Write in one transaction; raises :class:`Busy` where the site would be in its way.

        It waits for no lock, as transactions of the site wait for it. It locks the whole file: readers in a
        transaction of another process keep it from that, rather than being failed by it later.
        """
        with self._changed:
            if (
                self._writer
                or self._beginning
                or any(getattr(site.connection, "in_transaction", False) for site in self._seen)
            ):
                raise Busy
            self._writer = threading.get_ident()
        try:
            connection.settings_dict["OPTIONS"] |= {"timeout": 0, "transaction_mode": "EXCLUSIVE"}
            with transaction.atomic(using=connection.alias):
                yield
        except OperationalError as error:
            if _LOCKED in str(error):
                raise Busy from error
            raise
        finally:
            with self._changed:
                self._writer = None
                self._changed.notify_all()


gate: Final = WriterGate()
process.owns(gate.renew)


class SQLite(Product):
    """SQLite. What it has no word for stays as it is for an unknown database."""

    name = "sqlite"
    system = "sqlite"
    errors = SQLiteErrors()
    dialect = dialects.Dialect(
        lexers=(
            dialects.lexer(
                dialects.PLAIN_STRING,
                dialects.DOUBLE_QUOTED,
                dialects.BACKQUOTED,
                dialects.BRACKETED,
                # A parameter's name may end with anything in parentheses.
                r"[$@:\#](?:[A-Za-z0-9_$\x80-\U0010ffff]|::)+(?:\([^\t-\r )]*\))?",
                skip=rf"{dialects.COMMENT}|--[^\n]*",
                unterminated=r"""['"`\[]|/\*""",
                word=r"[A-Za-z_\x80-\ufefe\uff00-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*",
                space=r"[\t-\r \ufeff]",
            ),
        ),
        needs_semicolons=True,
    )
    read_only_query = "PRAGMA query_only"
    is_file = True
    beginning = staticmethod(gate.beginning)
    writing = staticmethod(gate.writing)

    def read_only_statement(self, primary: Callable[[], str | None]) -> Sequence[Any]:
        """Set the session, whichever file it leads to: nobody else gets this connection."""
        return ("PRAGMA query_only = ON",)
