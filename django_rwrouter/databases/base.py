"""The interface of a database product: a :class:`Product` has all that differs, with defaults for the rest.

A project registers one of its own with :func:`django_rwrouter.databases.register`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)
from django.utils.translation.trans_null import gettext_noop  # Needs no settings, as programs have none.

from django_rwrouter.databases.dialects import Dialect

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from typing_extensions import Self  # typing's own came with Python 3.11


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

    def gap(self, behind: Any) -> int | None:
        """Return how much of the log lies between an earlier place and this one, in the driver's ``unit``.

        ``None`` if they cannot be compared. For people, who read the place itself as ``str()`` writes it.
        """
        ...

    def encode(self) -> str:
        """Return it as short text that :meth:`decode` reads: it travels in the client's token."""
        ...

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what :meth:`encode` wrote; raises ``ValueError`` for anything else."""
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

    @property
    def role(self) -> str:
        """``primary`` if the server takes writes, ``replica`` if not, ``unknown`` if it does not say."""
        return {True: "primary", False: "replica", None: "unknown"}[self.writable]


@dataclass(slots=True, kw_only=True)
class Progress:
    """What a replica says of itself."""

    received: Any = None
    """Up to where it has got the log; ``None`` if that cannot be seen."""
    replayed: Any = None
    """Up to where it has replayed it; ``None`` if it does not say."""
    replicates: bool | None = None
    """Whether it follows another server at all; ``None`` if that cannot be seen, as the next two."""
    receives: bool | None = None
    replays: bool | None = None
    receive_error: int = 0
    """The number of the error that stopped it, in the database's own list."""
    replay_error: int = 0
    delay: int = 0
    """Seconds that it is kept behind on purpose."""
    privilege: str = ""
    """What the user would have to be granted to see the rest; empty if everything can be seen."""


class Driver(Protocol):
    """The router's queries to one product: single statements on the raw cursor of the database's library.

    What a query raises is the library's own error: a server that cannot be asked is left to the caller.
    """

    @property
    def replicas_are_read_only(self) -> bool:
        """Whether a replica can never take writes, so that a server that does is none."""
        return False

    @property
    def unit(self) -> str:
        """What :meth:`Position.gap` counts; empty leaves the page "Replication" without progress.

        ``"transactions"`` and ``"bytes"`` are named on the page.
        """
        return ""

    def read_primary(self, cursor: Any) -> Position | None:
        """Return where the primary stands now: whatever was committed before is covered."""
        return self.describe_primary(cursor).position

    def describe_primary(self, cursor: Any) -> Reading:
        """Return which server this is, where it stands, and whether it takes writes.

        One that is in fact a replica is described, too, and may have no position.
        """
        return self.read_replica(cursor)

    def read_replica(self, cursor: Any) -> Reading:
        """Return which server this is, how far it has replayed, and whether it takes writes."""
        ...

    def place(self, position: Any, primary: Any) -> Position | None:
        """Put a tentative position into the primary's history; ``None`` if it cannot belong there.

        Others say themselves where they belong.
        """
        return position  # type: ignore[no-any-return]

    def wait(self, cursor: Any, position: Any, seconds: float) -> bool:
        """Wait until the server has replayed ``position``, for so many seconds; tell whether it has."""
        ...

    def progress(self, cursor: Any) -> Progress:
        """Return what a replica says of itself, for the page "Replication"."""
        return Progress()


def poll(has_reached: Callable[[], bool], seconds: float, pause: float) -> bool:
    """Ask a server that cannot wait itself again and again; return whether it has reached the position."""
    deadline = time.monotonic() + seconds
    while not has_reached():
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        time.sleep(min(pause, remaining))
    return True


class Loss(Enum):
    """What a read has lost, if it may be run again on another server."""

    SERVER = "server"
    """The server says itself that it does not answer now."""
    CONNECTION = "connection"
    """This connection. Whether another one can be opened is not known yet."""
    STATEMENT = "statement"
    """This run alone: the standby had to cancel it to go on replaying."""


FULL: Final = gettext_noop("has no connection left")
REFUSED_USER: Final = gettext_noop("refused user or password")
REFUSED_DATABASE: Final = gettext_noop("has no such database, or no right to it for this user")
STOPPING: Final = gettext_noop("is shutting down")
LOST: Final = gettext_noop("lost the connection")
"""Meanings of errors that every server has."""


class ErrorCodes:
    """What the errors of one product mean.

    A product with codes lists them; another one overrides the methods. What is left out is answered as for a
    database of which nothing is known: then nothing is run twice.
    """

    lost_server: Collection[object] = ()
    """A server says itself that it does not answer now."""
    refusals: Collection[object] = ()
    """A server does not do what this package asked for, or not for this user."""
    only_on_primary: Collection[object] = ()
    """What a replica may lack that the primary has."""
    refused_writes: Collection[object] = ()
    """The session, the transaction or the server is read-only."""
    missing_table: Collection[object] | None = None
    """``None`` where no code tells."""
    meanings: Mapping[str, str] = {}
    """What a server did, by the code as text: a translatable sentence about it, without the server."""

    def code(self, error: BaseException) -> object:
        """Return the code of an error of ``django.db``, or ``None`` where it has none."""
        return None

    def loss(self, error: BaseException, *, closed: bool) -> Loss | None:
        """Return what a read has lost, or ``None`` if it would fail elsewhere as well.

        Nothing is lost by a statement that was cancelled (by ``KILL QUERY``, ``statement_timeout``,
        ``max_statement_time``), by a deadlock, or by a mistake. ``closed`` says whether the driver takes the
        connection for closed: PostgreSQL's library has no code for that.
        """
        return Loss.SERVER if self.code(error) in self.lost_server else None

    def was_never_reached(self, error: BaseException) -> bool:
        """Whether a new connection failed before the server itself has said a word."""
        return False

    def may_have_written(self, error: BaseException) -> bool:
        """Whether a single statement that failed may have changed something all the same."""
        if isinstance(error, (DataError, IntegrityError, ProgrammingError, NotSupportedError)):
            return False
        if isinstance(error, InterfaceError) or not isinstance(error, Error):
            return True
        return self.hides_the_outcome(error)

    def hides_the_outcome(self, error: Error) -> bool:
        """Whether the connection may have broken before the outcome of a statement came."""
        return True

    def is_refusal(self, error: BaseException) -> bool:
        """Whether a server has answered that it does not do what it was asked for.

        Meant for the questions of this package alone, which are well-formed.
        """
        return self.code(error) in self.refusals

    def may_work_on_primary(self, error: BaseException) -> bool:
        """Whether a read may have failed only because a replica is one, or is late.

        A mistake in the statement looks the same; only the primary can tell.
        """
        return self.code(error) in self.only_on_primary

    def may_lack_table(self, error: BaseException) -> bool:
        """Whether a statement may have failed because its table does not exist."""
        return self.missing_table is None or self.code(error) in self.missing_table

    def is_unsupported(self, error: BaseException) -> bool:
        """Whether a replica cannot open a transaction as the settings ask, so that no write gets through."""
        return False

    def is_refused_write(self, error: BaseException) -> bool:
        """Whether a statement was refused because session or server are read-only."""
        return self.code(error) in self.refused_writes

    def is_read_only_server(self, error: BaseException, connection: BaseDatabaseWrapper) -> bool:
        """Whether a write was refused on ``connection`` because the server is read-only as a whole."""
        return False


class Busy(Exception):  # noqa: N818  (a state that passes)
    """Whoever else wrote to the database now would make the site's own writes fail."""


class Product:
    """A database product. One instance serves all threads.

    The values here are those of a database of which nothing is known: the router uses its replicas, and no
    level that needs a position.
    """

    name: str = ""
    """What Django's backend calls it (its ``vendor``)."""

    # --- positions ----------------------------------------------------------------------------------

    code: str = ""
    """The letter that marks its positions in tokens."""
    position: type[Position] | None = None
    driver: Driver | None = None
    """``None``, as without a ``position``: nobody can tell where a server stands."""

    # --- errors and sessions --------------------------------------------------------------------------

    errors: ErrorCodes = ErrorCodes()
    read_only_query: str = ""
    """A query that returns 1 or ``on`` in a session that is read-only."""
    supported_isolation: str = ""
    """What gives a replica's session the strongest isolation level that replicas have, where
    :meth:`ErrorCodes.is_unsupported` says that its default is none of these."""
    impatient_select: str = "SELECT %s"
    """A query that waits no longer than a quarter of a second for a lock, by a setting that ends with it: one
    of the session would reach others through a pooler."""

    def read_only_statement(self, primary: Callable[[], str | None]) -> Sequence[Any]:
        """Return the one statement that makes a replica's session read-only, and its parameters.

        Empty where no session can be made so. It must do nothing where the session leads to the primary, as
        a pooler would hand it to writers. ``primary()`` is the primary's ``server``, if that is known.
        """
        return ()

    @contextmanager
    def beginning(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Let a transaction of the site begin; it may wait for :meth:`writing`."""
        yield

    @contextmanager
    def writing(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Write statistics; raises :class:`Busy` where the site's own writes would suffer."""
        yield

    # --- connections ----------------------------------------------------------------------------------

    timeouts: Sequence[str] = ()
    """The options of ``OPTIONS`` that bound connecting and reading, and that each replica should have."""
    driver_timeouts: Mapping[str, Sequence[str]] = {}
    """By the driver's package, all options that bound how long it waits, in whole seconds."""
    reads_can_hang: bool = False
    """Whether no option of the driver ends a read from an open connection to a server that is frozen."""
    hello: bytes = b""
    """What a server answers with one byte before it asks who is there; empty where the driver itself tells
    that a server says nothing."""
    is_file: bool = False
    """Whether a database is a file: no server restarts, several aliases may share it, and its name is a path
    on the disk."""
    dialect: Dialect = Dialect()
    """How its statements are read."""
    system: str = "other_sql"
    """``db.system.name`` in OpenTelemetry's conventions."""

    def missing_timeouts(self, options: Mapping[str, Any]) -> Sequence[str]:
        """Return those of :attr:`timeouts` that ``OPTIONS`` do not have."""
        return [name for name in self.timeouts if not options.get(name)]

    def patience(self, options: Mapping[str, Any]) -> float:
        """Return the seconds after which the driver takes a silent server for gone, by its ``OPTIONS``."""
        return math.inf

    def is_serializable(self, options: Mapping[str, Any]) -> bool:
        """Whether ``OPTIONS`` ask for transactions that no replica can open."""
        return False
