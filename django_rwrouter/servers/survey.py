"""Ask all servers at once, each on a private connection and in a thread of its own, until a deadline.

A server that is down, frozen or refuses costs the others nothing, and is reported as such: for commands, for
pages, and for exporters in a process without a monitor.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import events, process
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.events.causes import NO_ANSWER, NO_ANSWER_WITHIN
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers import identity

T = TypeVar("T")

PATIENCE: Final = 1.0
"""Seconds that a replica is given to reach where its primary stood; most need less than a thousandth."""
PAUSE: Final = 0.02
"""Seconds between two questions to one that has not."""


# --- any question -------------------------------------------------------------------------------


class _Inquiry(Generic[T]):
    """One server being asked, in a thread of its own."""

    def __init__(self, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float) -> None:
        self.alias = alias
        self.outcome: T | Exception = TimeoutError()
        self._ask = ask
        self._timeout = timeout
        # A daemon: one that a server keeps waiting for ever must not keep the process.
        self.thread = threading.Thread(target=self._run, name=f"rwrouter-survey-{alias}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with silenced(), closing(own_connection(self.alias, self._timeout)) as connection:
                self.outcome = self._ask(connection)
        except Exception as error:  # noqa: BLE001  (for the caller to report, not for a thread to die of)
            self.outcome = error


_inquiries: Final[dict[tuple[str, str], _Inquiry[Any]]] = {}
"""By topic and alias, the last inquiry of those that are shared."""
_lock = threading.Lock()


def _reset() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _inquiries.clear()


process.owns(_reset)


def survey(
    aliases: Collection[str],
    ask: Callable[[BaseDatabaseWrapper], T],
    *,
    timeout: float,
    deadline: float,
    topic: str = "",
) -> Mapping[str, T | Exception]:
    """Ask servers at the same time, and return by alias what ``ask`` returned, or raised.

    ``ask`` gets a private connection that is not open yet. ``timeout`` seconds bound what its driver can
    bound; after ``deadline`` seconds in all, whoever has not answered is reported as a ``TimeoutError``. With
    a ``topic``, a server that has not answered the last question of that topic is not asked another: however
    many people look, and however often, a frozen one costs one thread.
    """
    end = monotonic() + deadline
    if topic:
        with _lock:
            inquiries = [_shared(topic, alias, ask, timeout) for alias in aliases]
    else:
        inquiries = [_Inquiry(alias, ask, timeout) for alias in aliases]
    for inquiry in inquiries:
        inquiry.thread.join(max(0.0, end - monotonic()))
    return {inquiry.alias: inquiry.outcome for inquiry in inquiries}


def _shared(topic: str, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float) -> _Inquiry[T]:
    inquiry = _inquiries.get((topic, alias))
    if inquiry is None or not inquiry.thread.is_alive():
        inquiry = _inquiries[topic, alias] = _Inquiry(alias, ask, timeout)
    return inquiry


def in_words(error: Exception) -> str:
    """Return a few words for what ``ask`` raised: of errors that are not Django's, not even the code."""
    return events.why(error) if isinstance(error, Error) else type(error).__name__


@contextmanager
def plain_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open a cursor of the driver's own on a private connection."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        yield cursor


# --- where servers stand ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What is known of a server: from a survey, from this process's monitor, or from its reads."""

    role: str = "unknown"
    """``primary``, ``replica``, or ``unknown`` where the database does not say."""
    failure: str = ""
    """Why it could not be asked; empty if it answered."""
    lag: float | None = None
    """By how many seconds a replica is behind at most, or ``None`` where that is not known."""
    lag_at_least: float | None = None
    """By how many seconds it is behind at least, where it has not reached what it was measured by."""
    position: str = ""
    """Where it stands in the log, as text; empty where it does not say."""


class _Floor:
    """Where the primary stands, for the replicas that are asked after it."""

    def __init__(self) -> None:
        self.position: Any = None
        self.at = 0.0
        """Monotonic, before it was asked."""
        self.known = threading.Event()


def server_states(cluster: Cluster, timeout: float) -> Mapping[str, ServerState]:
    """Return the state of a cluster's servers, by alias; takes little more than ``timeout`` seconds."""
    floor = _Floor()
    outcomes = survey(
        [cluster.primary, *(replica.alias for replica in cluster.replicas)],
        lambda connection: _state(cluster, connection, floor, timeout),
        timeout=timeout,
        deadline=timeout + min(timeout, PATIENCE),
    )
    return {
        alias: outcome if isinstance(outcome, ServerState) else ServerState(failure=_why(outcome, timeout))
        for alias, outcome in outcomes.items()
    }


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return NO_ANSWER_WITHIN % {"seconds": f"{timeout:g}"}
    return in_words(error)


def _state(cluster: Cluster, connection: BaseDatabaseWrapper, floor: _Floor, timeout: float) -> ServerState:
    try:
        connection.ensure_connection()
        driver = get_driver(connection)
        if driver is None:
            return ServerState() if connection.is_usable() else ServerState(failure=NO_ANSWER)
        if connection.alias == cluster.primary:
            return _primary(connection, driver, floor)
        return _replica(cluster, connection, driver, floor, timeout)
    finally:
        if connection.alias == cluster.primary:
            floor.known.set()


def _primary(connection: BaseDatabaseWrapper, driver: Driver, floor: _Floor) -> ServerState:
    floor.at = monotonic()
    with plain_cursor(connection) as cursor:
        reading = driver.describe_primary(cursor)
    floor.position = reading.position
    floor.known.set()
    return ServerState(role=_role(reading), position=_text(reading.position))


def _replica(
    cluster: Cluster, connection: BaseDatabaseWrapper, driver: Driver, floor: _Floor, timeout: float
) -> ServerState:
    floor.known.wait(timeout)
    deadline = monotonic() + min(timeout, PATIENCE)
    while True:
        asked = monotonic()
        with plain_cursor(connection) as cursor:
            reading = driver.read_replica(cursor)
        position = reading.position
        if position is not None and reading.tentative:
            position = driver.place(position, floor.position)
        seen = ServerState(role=_role(reading), position=_text(position))
        if _is_another_name(cluster, connection.alias):
            return replace(seen, lag=0.0)
        if floor.position is None or position is None:
            return seen
        if position.covers(floor.position):
            return replace(seen, lag=monotonic() - floor.at)
        if asked >= deadline:
            # It lacks something that the primary had logged by then.
            return replace(seen, lag_at_least=asked - floor.at)
        time.sleep(PAUSE)


def _is_another_name(cluster: Cluster, alias: str) -> bool:
    """Whether an alias leads to the primary itself, as on a developer's machine."""
    return identity.is_primary(*map(connections.create_connection, (alias, cluster.primary)))


def _role(reading: Reading) -> str:
    return {True: "primary", False: "replica", None: "unknown"}[reading.writable]


def _text(position: Any) -> str:
    return "" if position is None else str(position.encode())
