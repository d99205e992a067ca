"""What the package needs of a database product: positions, a driver, a reader of replication progress.

A project that registers a product of its own (:func:`django_rwrouter.databases.register`) writes classes with
these methods; they need no base class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from django.db import Error

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


class Driver(Protocol):
    """The router's queries to one product: single statements on the raw cursor of the database's library.

    What a query raises is the library's own error: a server that cannot be asked is left to the caller.
    """

    @property
    def replicas_are_read_only(self) -> bool:
        """Whether a replica can never take writes, so that a server that does is none."""
        ...

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


class Reader(Protocol):
    """The queries of the page "Replication" to one product, on the raw cursor of the database's library."""

    @property
    def unit(self) -> str:
        """What :meth:`gap` counts: ``"transactions"`` and ``"bytes"`` are named on the page."""
        ...

    def written(self, cursor: Any) -> Any:
        """Return up to where the primary has written its log, or ``None``."""
        ...

    def progress(self, cursor: Any) -> Progress:
        """Return what a replica says of itself."""
        ...

    def gap(self, ahead: Any, behind: Any) -> int | None:
        """Return how much of the log lies between two places; ``None`` if they cannot be compared."""
        ...

    def text(self, position: Any) -> str:
        """Return a place in the log as the database writes it."""
        ...


class Loss(Enum):
    """What a read has lost, if it may be run again on another server."""

    SERVER = "server"
    """The server says itself that it does not answer now."""
    CONNECTION = "connection"
    """This connection. Whether another one can be opened is not known yet."""
    STATEMENT = "statement"
    """This run alone: the standby had to cancel it to go on replaying."""


class ErrorCodes:
    """What the errors of one product mean; pure functions of an error of ``django.db``.

    The answers here are those for a database of which nothing is known: they run nothing twice.
    """

    def loss(self, error: Error, *, closed: bool) -> Loss | None:
        """Return what a read has lost, or ``None`` if it would fail elsewhere as well."""
        return None

    def was_never_reached(self, error: BaseException) -> bool:
        """Whether a new connection failed before the server itself has said a word."""
        return False

    def may_have_written(self, error: Error) -> bool:
        """Whether a statement that failed may have changed something all the same."""
        return True

    def is_refusal(self, error: Error) -> bool:
        """Whether a server does not do what this package asked for, or not for this user."""
        return False

    def may_work_on_primary(self, error: Error) -> bool:
        """Whether a read may have failed only because a replica is one, or is late."""
        return False

    def is_unsupported(self, error: Error) -> bool:
        """Whether a replica cannot open a transaction as the settings ask, so that no write gets through."""
        return False

    def is_refused_write(self, error: Error) -> bool:
        """Whether a statement was refused because session or server are read-only."""
        return False

    def is_read_only_server(self, error: Error) -> bool:
        """Whether a write was refused because the server is read-only as a whole."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is registered of a database product."""

    code: str
    """The letter before an encoded position."""
    position: type[Position]
    driver: Driver
    reader: Reader | None
    """``None`` leaves the page "Replication" without progress."""
