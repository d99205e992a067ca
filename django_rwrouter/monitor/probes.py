"""Probes one server in bounded time, on a private connection of the monitor."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.databases import get_driver, get_product, what_is_refused
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.events import emit
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers import identity, sockets
from django_rwrouter.servers.server_state import ServerState

SECOND_LOOK: Final = 0.02
"""Seconds after which a replica that has not reached the primary's newest sample is asked again. Most reach
it within a fraction of a millisecond, and would otherwise seem a whole interval staler."""
BARE_PART: Final = 0.8
"""Part of the timeout (of a second at most) that a bare connection waits for a server's first byte: the
result is there when the server's second chance is over."""
RENEW_SECONDS: Final = 60.0
"""For how long a connection is kept: its address may lead to another server by now."""


class PrimarySample:
    """Where a primary stands in one round, for the replicas, which are asked right after it."""

    def __init__(self) -> None:
        self.position: Any = None
        self.at = 0.0
        """Monotonic seconds, before it was asked."""
        self.done = threading.Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of one probe."""

    alias: str
    began: float
    """Monotonic seconds, before the question that was answered."""
    seconds: float = 0.0
    """Duration of the answer."""
    failure: str = ""
    """Why the server cannot be used; empty if it answered."""
    trouble: Exception | None = None
    """An exception that is not the server's fault."""
    reading: Reading | None = None
    """``None`` on a database without positions."""
    driver: Driver | None = None
    refusal: str = ""
    """What its user lacks to be told the position, although it answers; empty if it does not refuse."""
    is_primary: bool = False
    """Whether a replica's alias is another name of the primary."""
    unreachable: bool = False
    """Whether a new connection received nothing from the server."""

    def state(self, cluster: str, position: str = "") -> ServerState:
        """Return what it says of the server, at a position in the log."""
        reading = self.reading
        return ServerState(
            alias=self.alias,
            cluster=cluster,
            role="unknown" if reading is None else reading.role,
            failure=self.failure,
            refused=self.refusal,
            position=position,
            server="" if reading is None else reading.server,
            probe_seconds=self.seconds,
            at=time.time(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeQuestion:
    """A question to one database, asked after its probe on the same connection.

    A missing answer says nothing about the server.
    """

    name: str
    """Its key in the snapshots that the processes of a host share."""
    database: Callable[[], str]
    """Returns the alias of the database to ask."""
    ask: Callable[[BaseDatabaseWrapper], Any]
    """Asks on an open connection and returns JSON's types; an exception means that there is no answer."""
    take_in: Callable[[Any], None]
    """Called with each answer, in the monitor's thread."""


QUESTIONS: Final[list[ProbeQuestion]] = []


def also_ask(question: ProbeQuestion) -> None:
    """Register a question to be asked in each round."""
    QUESTIONS.append(question)


def take_in(answers: Mapping[str, Any], report: Callable[[Exception], object]) -> None:
    """Pass the answers, by name, to the modules that registered the questions; report what these raise."""
    for question in QUESTIONS:
        if question.name in answers:
            try:
                question.take_in(answers[question.name])
            except Exception as error:  # noqa: BLE001  (one module must not keep the others from theirs)
                report(error)


def ask(
    connection: BaseDatabaseWrapper,
    primary: str,
    sample: PrimarySample,
    *,
    patience: float,
    catch_up: float = SECOND_LOOK,
    refusal: str = "",
) -> ProbeResult:
    """Ask a server where it stands, on a private connection; raise ``django.db.Error`` if it does not answer.

    A replica waits at most ``patience`` seconds for the primary's sample, so that it is asked after it, and
    is asked again for ``catch_up`` seconds until it has reached that. One that is known to refuse, by its
    ``refusal``, only has to answer.
    """
    alias, is_primary = connection.alias, connection.alias == primary
    connection.ensure_connection()
    driver = get_driver(connection)
    if not is_primary:
        sample.done.wait(patience)
    began = monotonic()
    reading = None
    if driver is None or refusal:
        if not connection.is_usable():
            raise OperationalError("It does not answer.")
    else:
        try:
            reading = (_describe if is_primary else _read)(connection, driver)
        except Error as error:
            if not get_product(connection).errors.is_refusal(error):
                raise
            refusal = what_is_refused(error)
    seconds = monotonic() - began
    if is_primary:
        sample.position, sample.at = None if reading is None else reading.position, began
        sample.done.set()
    another_name = not is_primary and identity.is_primary(
        *map(connections.create_connection, (alias, primary))
    )
    if not is_primary and not another_name and driver is not None and reading is not None:
        until = began + catch_up
        while began < until and _is_behind(driver, reading, sample):
            time.sleep(SECOND_LOOK)
            began = monotonic()
            reading = _read(connection, driver)
    return ProbeResult(
        alias=alias,
        began=began,
        seconds=seconds,
        reading=reading,
        driver=driver,
        refusal=refusal,
        is_primary=another_name,
    )


class Prober:
    """The monitor's connection to one server. Used by one thread at a time, but for :meth:`abort`."""

    def __init__(
        self, alias: str, primary: str, timeout: float, questions: Sequence[ProbeQuestion] = ()
    ) -> None:
        self.alias = alias
        self.is_primary = alias == primary
        self._primary = primary
        self._timeout = timeout
        self.questions = questions
        self._connection: BaseDatabaseWrapper | None = None
        self._renew_at = 0.0
        self._refusal = ""
        """What it refuses to tell its position for. It is asked again on the next connection."""
        self._peer: sockets.Peer | None = None
        """The address of the last connection."""
        self._knocking = threading.Lock()
        self._in_doubt = False
        """Whether the server did not answer the last time."""
        self.unreachable = False
        """Whether the last new connection received nothing from the server."""
        self._product = get_product(connections.create_connection(alias))
        self.reads_in_bounded_time = not self._product.reads_can_hang
        """Whether the driver has a read timeout."""

    def probe(self, sample: PrimarySample, *, patience: float = 0.0, fresh: bool = False) -> ProbeResult:
        """Probe the server, like :func:`ask`. Never raises.

        ``fresh`` opens a new connection, which also tests whether the server still takes any.
        """
        started = monotonic()
        fresh = fresh or started >= self._renew_at
        kept = self._raw is not None and not fresh
        try:
            with silenced():
                try:
                    finding = self._probe(sample, patience, fresh=fresh)
                except Error:
                    self.close()
                    # An administrator or a proxy may have ended the kept connection alone.
                    if not kept or monotonic() - started >= self._timeout:
                        raise
                    finding = self._probe(sample, 0.0, fresh=True)
                self._in_doubt = self.unreachable = False
                return finding
        except Error as error:
            self.close()
            self._in_doubt = True
            self.unreachable = self.unreachable or self._product.errors.was_never_reached(error)
            why = emit.why(error)
            # psycopg leaves an attempt that has timed out in a frame, to the garbage collector.
            traceback.clear_frames(error.__traceback__)
            return ProbeResult(alias=self.alias, began=started, failure=why, unreachable=self.unreachable)
        except Exception as error:  # noqa: BLE001  (a receiver of connection_created may raise anything)
            self.close()
            return ProbeResult(alias=self.alias, began=started, trouble=error)
        finally:
            if self.is_primary:
                sample.done.set()

    def ask_more(self) -> dict[str, Any]:
        """Ask the additional questions, on the connection of :meth:`probe`; return the answers. Never raises.

        A missing answer says nothing about the server: the table may be locked.
        """
        answers: dict[str, Any] = {}
        for question in self.questions:
            if self._connection is not None and self._raw is not None:
                with suppress(Exception), silenced():
                    answers[question.name] = question.ask(self._connection)
        return answers

    def abort(self) -> None:
        """Abort a probe that another thread runs, if its connection is open."""
        self._doubt()
        raw = self._raw
        if raw is not None:
            sockets.sever(raw)

    def _doubt(self) -> None:
        """Test in another thread whether the server answers at all, where the driver does not tell.

        libpq's attempt to connect may last two seconds, which is the least that it allows.
        """
        self._in_doubt = True
        peer, hello = self._peer, self._product.hello
        if not hello or peer is None or self._knocking.locked():
            return

        def knock() -> None:
            with self._knocking:
                answered = peer.answers(hello, min(self._timeout, 1.0) * BARE_PART)
                self.unreachable = self._in_doubt and not answered

        with suppress(RuntimeError):  # The system allows no more threads: then nothing is cut off.
            threading.Thread(target=knock, name=f"rwrouter-knock-{self.alias}", daemon=True).start()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # It may be broken in any way.
                connection.close()

    def disarm(self) -> None:
        """Detach the parent's connection, in a forked child."""
        if self._raw is not None:
            sockets.disarm(self._raw)

    def _probe(self, sample: PrimarySample, patience: float, *, fresh: bool) -> ProbeResult:
        if fresh:
            self.close()
        result = ask(self._connect(), self._primary, sample, patience=patience, refusal=self._refusal)
        self._refusal = result.refusal
        return result

    @property
    def _raw(self) -> Any:
        """The driver's open connection, if any."""
        connection = self._connection
        return None if connection is None else connection.connection

    def _connect(self) -> BaseDatabaseWrapper:
        connection = self._connection
        if connection is None:
            connection = self._connection = own_connection(self.alias, self._timeout)
            connection.inc_thread_sharing()  # Threads take turns.
        if connection.connection is None:
            connection.ensure_connection()
            self._renew_at = monotonic() + RENEW_SECONDS
            sockets.remember(connection.connection)
            self._peer = sockets.peer_of(connection.connection)
            self._refusal = ""
        return connection


def _describe(connection: BaseDatabaseWrapper, driver: Driver) -> Reading:
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        return driver.describe_primary(cursor)


def _read(connection: BaseDatabaseWrapper, driver: Driver) -> Reading:
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        return driver.read_replica(cursor)


def _is_behind(driver: Driver, reading: Reading, sample: PrimarySample) -> bool:
    """Whether a replica has not reached the primary's newest sample, and might in a moment."""
    if sample.position is None or reading.position is None:
        return False
    position = driver.place(reading.position, sample.position) if reading.tentative else reading.position
    return position is not None and not position.covers(sample.position)
