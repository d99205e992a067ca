"""Asks a server where it stands, and what else the monitor is to ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeAlias

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.databases import get_driver, get_product, what_is_refused
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.servers import identity
from django_rwrouter.servers.server_state import ServerState

SECOND_LOOK: Final = 0.02
"""Seconds after which a replica that has not reached the primary's newest sample is asked again. Most reach
it within a fraction of a millisecond, and would otherwise seem a whole interval staler."""


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
    take_in: Callable[[Any, float], None]
    """Called in the monitor's thread with each answer, and when it was asked for (monotonic seconds)."""


Answers: TypeAlias = Mapping[str, tuple[Any, float]]
"""By a question's name, its answer, and when it was asked (monotonic seconds)."""
QUESTIONS: Final[list[ProbeQuestion]] = []


def also_ask(question: ProbeQuestion) -> None:
    """Register a question to be asked in each round."""
    QUESTIONS.append(question)


def take_in(answers: Answers, report: Callable[[Exception], object]) -> None:
    """Pass the answers to the modules that registered the questions; report what these raise."""
    for question in QUESTIONS:
        if question.name in answers:
            try:
                question.take_in(*answers[question.name])
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
    reading, refusal = _where(connection, driver, refusal, is_primary=is_primary)
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


def _where(
    connection: BaseDatabaseWrapper, driver: Driver | None, refusal: str, *, is_primary: bool
) -> tuple[Reading | None, str]:
    """Return what a server says of itself, or what it refuses to say that for."""
    if driver is None or refusal:
        if not connection.is_usable():
            raise OperationalError("It does not answer.")
        return None, refusal
    try:
        return (_describe if is_primary else _read)(connection, driver), ""
    except Error as error:
        if not get_product(connection).errors.is_refusal(error):
            raise
        return None, what_is_refused(error)


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
