"""Asking one server where it stands, in bounded time, on a connection of the monitor's own."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import events, servers, sockets
from django_rwrouter.driver_errors import is_refusal
from django_rwrouter.own_connections import own_connection
from django_rwrouter.positions import Driver, Reading, get_driver
from django_rwrouter.state import silenced

if TYPE_CHECKING:
    from django_rwrouter.overrides import Override

SECOND_LOOK: Final = 0.02
"""Seconds after which a replica is asked again that has not reached the primary's newest sample yet. Most
have it after a fraction of a millisecond, and would seem a whole interval older if not asked."""
RENEW_SECONDS: Final = 60.0
"""For how long a connection is kept: an address may have come to lead to another server, or to one more."""


class Sample:
    """Where a primary stands in one round, for the replicas, which are asked right after it."""

    def __init__(self, *, expected: bool = True) -> None:
        self.position: Any = None
        self.done = threading.Event()
        if not expected:
            self.done.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one probe found."""

    alias: str
    began: float
    """Monotonic, before the question that was answered."""
    seconds: float = 0.0
    """That the answer took."""
    failure: str = ""
    """Why the server cannot be used; empty if it answered."""
    trouble: Exception | None = None
    """What went wrong that is not the server's fault."""
    reading: Reading | None = None
    """``None`` on a database without positions."""
    driver: Driver | None = None
    refusal: str = ""
    """Why it refuses to say where it stands, though it answers; empty if it does not refuse."""
    is_primary: bool = False
    """Whether a replica's alias is another name of the primary."""
    wanted: list[Override] | None = None
    """What operators want, where this was asked."""


class Prober:
    """The monitor's connection to one server. Used by one thread at a time, but for :meth:`abort`."""

    def __init__(self, alias: str, primary: str, timeout: float, *, reads_overrides: bool = False) -> None:
        self.alias = alias
        self.is_primary = alias == primary
        self._primary = primary
        self._timeout = timeout
        self._reads_overrides = reads_overrides
        self._connection: BaseDatabaseWrapper | None = None
        self._renew_at = 0.0
        self._refusal = ""
        """Why it refuses to say where it stands. It is asked again on the next connection."""
        self.reads_in_bounded_time = connections.create_connection(alias).vendor != "postgresql"
        """Whether the driver gives up an open connection that says nothing."""

    def probe(self, sample: Sample, *, patience: float = 0.0, fresh: bool = False) -> Finding:
        """Ask the server. Never raises.

        A replica waits at most ``patience`` seconds for the primary's sample, so as to be asked after it.
        ``fresh`` opens a new connection: that also finds out whether the server still takes any.
        """
        started = monotonic()
        fresh = fresh or started >= self._renew_at
        kept = self._is_open() and not fresh
        try:
            with silenced():
                try:
                    return self._probe(sample, patience, fresh=fresh)
                except Error:
                    self.close()
                    # A kept connection may have been ended alone, by an administrator or a proxy.
                    if not kept or monotonic() - started >= self._timeout:
                        raise
                    return self._probe(sample, 0.0, fresh=True)
        except Error as error:
            self.close()
            return Finding(alias=self.alias, began=started, failure=events.why(error))
        except Exception as error:  # noqa: BLE001  (a receiver of connection_created may raise anything)
            self.close()
            return Finding(alias=self.alias, began=started, trouble=error)
        finally:
            if self.is_primary:
                sample.done.set()

    def abort(self) -> None:
        """End a probe that another thread is waiting for, if it has an open connection."""
        connection = self._connection
        if connection is not None and connection.connection is not None:
            sockets.sever(connection.connection)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # It may be broken, in any way.
                connection.close()

    def disarm(self) -> None:
        """Let the connection be nobody's, in a forked child."""
        connection = self._connection
        if connection is not None and connection.connection is not None:
            sockets.disarm(connection.connection)

    def _probe(self, sample: Sample, patience: float, *, fresh: bool) -> Finding:
        if fresh:
            self.close()
        connection = self._connect()
        driver = get_driver(connection)
        if not self.is_primary and patience:
            sample.done.wait(patience)
        began = monotonic()
        reading = None
        if driver is None or self._refusal:
            if not connection.is_usable():
                raise OperationalError("It does not answer.")
        else:
            try:
                reading = (_describe if self.is_primary else _read)(connection, driver)
            except Error as error:
                if not is_refusal(error, connection.vendor):
                    raise
                self._refusal = events.why(error)
        seconds = monotonic() - began
        if self.is_primary:
            sample.position = None if reading is None else reading.position
            sample.done.set()
        elif driver is not None and reading is not None and _is_behind(driver, reading, sample):
            time.sleep(SECOND_LOOK)
            began = monotonic()
            reading = _read(connection, driver)
        return Finding(
            alias=self.alias,
            began=began,
            seconds=seconds,
            reading=reading,
            driver=driver,
            refusal=self._refusal,
            is_primary=not self.is_primary and self._leads_to_primary(),
            wanted=_load_overrides(connection) if self._reads_overrides else None,
        )

    def _is_open(self) -> bool:
        return self._connection is not None and self._connection.connection is not None

    def _connect(self) -> BaseDatabaseWrapper:
        if self._connection is None:
            connection = own_connection(self.alias, self._timeout)
            connection.inc_thread_sharing()  # Threads take turns.
            self._connection = connection
        if self._connection.connection is None:
            self._connection.ensure_connection()
            self._renew_at = monotonic() + RENEW_SECONDS
            self._refusal = ""
            sockets.remember(self._connection.connection)
        return self._connection

    def _leads_to_primary(self) -> bool:
        own, primary = map(connections.create_connection, (self.alias, self._primary))
        return servers.is_primary(own, primary)


def _load_overrides(connection: BaseDatabaseWrapper) -> list[Override]:
    from django_rwrouter import overrides  # It imports models, which the app registry has to be ready for.

    return overrides.load(connection)


def _describe(connection: BaseDatabaseWrapper, driver: Driver) -> Reading:
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        return driver.describe_primary(cursor)


def _read(connection: BaseDatabaseWrapper, driver: Driver) -> Reading:
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        return driver.read_replica(cursor)


def _is_behind(driver: Driver, reading: Reading, sample: Sample) -> bool:
    """Whether a replica has not reached the primary's newest sample, and might in a moment."""
    if sample.position is None or reading.position is None:
        return False
    position = driver.place(reading.position, sample.position) if reading.tentative else reading.position
    return position is not None and not position.covers(sample.position)
