"""One look at all servers of a cluster, for a process that has no monitor: a command, an exporter's.

Each server is asked on a connection of its own, all at the same time, and none is waited for longer than the
timeout allows: one that is down, frozen or refuses is shown as such.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import events
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.events.causes import NO_ANSWER, NO_ANSWER_WITHIN
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers import identity

PATIENCE: Final = 1.0
"""Seconds that a replica is given to reach where its primary stood; most need less than a thousandth."""
PAUSE: Final = 0.02
"""Seconds between two questions to one that has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What one look at a server showed."""

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


def look(cluster: Cluster, timeout: float) -> Mapping[str, ServerState]:
    """Look at the primary and all replicas, by alias; takes little more than ``timeout`` seconds at most."""
    floor = _Floor()
    seen: dict[str, ServerState] = {}

    def look_at(alias: str) -> None:
        seen[alias] = _look_at(cluster, alias, floor, timeout)

    aliases = [cluster.primary, *(replica.alias for replica in cluster.replicas)]
    # Daemons: one that a server keeps waiting for ever must not keep the process.
    threads = [threading.Thread(target=look_at, args=(alias,), daemon=True) for alias in aliases]
    for thread in threads:
        thread.start()
    deadline = monotonic() + timeout + min(timeout, PATIENCE)
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    late = ServerState(failure=NO_ANSWER_WITHIN % {"seconds": f"{timeout:g}"})
    return {alias: seen.get(alias, late) for alias in aliases}


def _look_at(cluster: Cluster, alias: str, floor: _Floor, timeout: float) -> ServerState:
    try:
        with silenced(), closing(own_connection(alias, timeout)) as connection:
            connection.ensure_connection()
            driver = get_driver(connection)
            if driver is None:
                return ServerState() if connection.is_usable() else ServerState(failure=NO_ANSWER)
            if alias == cluster.primary:
                return _primary(connection, driver, floor)
            return _replica(cluster, connection, driver, floor, timeout)
    except Error as error:
        return ServerState(failure=events.why(error))
    except Exception as error:  # noqa: BLE001  (something to show; its text may hold anything)
        return ServerState(failure=type(error).__name__)
    finally:
        if alias == cluster.primary:
            floor.known.set()


def _primary(connection: BaseDatabaseWrapper, driver: Driver, floor: _Floor) -> ServerState:
    floor.at = monotonic()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
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
        with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
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
