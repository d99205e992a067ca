"""The state of a cluster's servers: surveyed now, or from what this process has measured already."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from time import monotonic
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver, get_product, what_is_refused
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.events.causes import NO_ANSWER, NO_ANSWER_WITHIN
from django_rwrouter.servers import identity
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.servers.survey import in_words, plain_cursor, survey

PATIENCE: Final = 1.0
"""Seconds that a replica has to reach the primary's position; most need less than a millisecond."""
PAUSE: Final = 0.02
"""Seconds between two polls of a replica that has not reached it."""


def known_state(cluster: Cluster, alias: str, answer: ServerState | None = None) -> ServerState:
    """Return the state of a server as this process knows it.

    ``answer`` is the state that the last probe or survey found. Without it, position and lag are those
    measured on the path of this process's reads.
    """
    state = _measured(cluster, alias) if answer is None else answer
    if alias != cluster.primary:
        standing = health.standing(alias)
        if standing.condition is not Condition.HEALTHY:
            return replace(state, condition=standing.condition, since=standing.since, why=standing.why)
    elif answer is None and health.is_away(cluster.name):
        state = replace(state, failure=NO_ANSWER)
    if state.failure:
        return replace(state, condition=Condition.UNREACHABLE, why=state.failure)
    return state


def _measured(cluster: Cluster, alias: str) -> ServerState:
    server = knowledge.last_server(alias)
    lag = knowledge.staleness(cluster.name, server)
    return ServerState(
        alias=alias,
        cluster=cluster.name,
        lag=lag if isfinite(lag) else None,
        position=position_text(knowledge.position(server)),
        server=server or "",
    )


class Floor:
    """The primary's position, which the replicas of a survey are compared with."""

    def __init__(self, timeout: float, patience: float = PATIENCE) -> None:
        self.timeout = timeout
        """How many seconds a replica waits for it."""
        self.patience = min(timeout, patience)
        """How many seconds a replica has to reach it."""
        self.position: Any = None
        self.at = 0.0
        """Monotonic, before it was asked."""
        self.answered = threading.Event()


def server_states(cluster: Cluster, timeout: float) -> Mapping[str, ServerState]:
    """Survey a cluster; return the state of each server by alias, within about ``timeout`` seconds."""
    floor = Floor(timeout)
    outcomes = survey(
        [cluster.primary, *(replica.alias for replica in cluster.replicas)],
        lambda connection: ask_state(cluster, connection, floor),
        timeout=timeout,
        deadline=timeout + floor.patience,
    )
    return {
        alias: outcome
        if isinstance(outcome, ServerState)
        else ServerState(alias=alias, cluster=cluster.name, failure=_why(outcome, timeout))
        for alias, outcome in outcomes.items()
    }


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return NO_ANSWER_WITHIN % {"seconds": f"{timeout:g}"}
    return in_words(error)


def ask_state(cluster: Cluster, connection: BaseDatabaseWrapper, floor: Floor) -> ServerState:
    """Ask one server where it stands. The primary sets the floor; a replica waits for it, and to reach it."""
    alias = connection.alias
    try:
        connection.ensure_connection()
        driver = get_driver(connection)
        if driver is None:
            failure = "" if connection.is_usable() else NO_ANSWER
            return ServerState(alias=alias, cluster=cluster.name, failure=failure)
        if alias != cluster.primary:
            return _replica(cluster, connection, driver, floor)
        floor.at = monotonic()
        with plain_cursor(connection) as cursor:
            reading = driver.describe_primary(cursor)
        floor.position = reading.position
        return _answer(cluster, alias, reading, reading.position)
    except Error as error:
        if not get_product(connection).errors.is_refusal(error):
            raise
        refused = what_is_refused(error)
        return ServerState(alias=alias, cluster=cluster.name, refused=refused, at=time.time())
    finally:
        if alias == cluster.primary:
            floor.answered.set()


def _replica(cluster: Cluster, connection: BaseDatabaseWrapper, driver: Driver, floor: Floor) -> ServerState:
    floor.answered.wait(floor.timeout)
    deadline = monotonic() + floor.patience
    while True:
        asked = monotonic()
        with plain_cursor(connection) as cursor:
            reading = driver.read_replica(cursor)
        position = reading.position
        if position is not None and reading.tentative:
            position = driver.place(position, floor.position)
        state = _answer(cluster, connection.alias, reading, position)
        if _is_another_name(cluster, connection.alias):
            return replace(state, lag=0.0)
        if floor.position is None or position is None:
            return state
        if position.covers(floor.position):
            return replace(state, lag=monotonic() - floor.at)
        if asked >= deadline:
            # The primary had logged something by `floor.at` that is missing here.
            return replace(state, lag_at_least=asked - floor.at)
        time.sleep(PAUSE)


def _is_another_name(cluster: Cluster, alias: str) -> bool:
    """Whether an alias leads to the primary itself, as in many development setups."""
    return identity.is_primary(*map(connections.create_connection, (alias, cluster.primary)))


def _answer(cluster: Cluster, alias: str, reading: Reading, position: Any) -> ServerState:
    return ServerState(
        alias=alias,
        cluster=cluster.name,
        role=reading.role,
        position=position_text(position),
        server=reading.server,
        at=time.time(),
    )


def position_text(position: Any) -> str:
    """Return a position as text; empty for ``None``."""
    return "" if position is None else str(position.encode())
