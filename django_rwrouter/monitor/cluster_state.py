"""The state of a cluster's servers: as this process knows it, or asked now, where no monitor watches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from time import monotonic
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.events import emit
from django_rwrouter.events.causes import NO_ANSWER, NO_ANSWER_WITHIN
from django_rwrouter.monitor.probes import PrimarySample, ask
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.servers.survey import survey

PATIENCE: Final = 1.0
"""Seconds that a replica has to reach the primary's position; most need less than a millisecond."""


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


def position_text(position: Any) -> str:
    """Return a position as text; empty for ``None``."""
    return "" if position is None else str(position.encode())


def server_states(cluster: Cluster, timeout: float) -> Mapping[str, ServerState]:
    """Ask a cluster's servers; return the state of each by alias, within about ``timeout`` seconds."""
    sample, catch_up = PrimarySample(), min(timeout, PATIENCE)
    outcomes = survey(
        cluster.aliases,
        lambda connection: ask_state(cluster, connection, sample, patience=timeout, catch_up=catch_up),
        timeout=timeout,
        deadline=timeout + catch_up,
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
    return emit.why(error)


def ask_state(
    cluster: Cluster,
    connection: BaseDatabaseWrapper,
    sample: PrimarySample,
    *,
    patience: float,
    catch_up: float,
) -> ServerState:
    """Ask one server, as :func:`ask` does, and compare a replica with the primary's sample."""
    try:
        result = ask(connection, cluster.primary, sample, patience=patience, catch_up=catch_up)
    finally:
        if connection.alias == cluster.primary:
            sample.done.set()
    reading, driver = result.reading, result.driver
    position = None if reading is None else reading.position
    if driver is not None and reading is not None and reading.tentative and position is not None:
        position = driver.place(position, sample.position)
    state = result.state(cluster.name, position_text(position))
    if result.is_primary:
        return replace(state, lag=0.0)  # Another name of it.
    if result.alias == cluster.primary or sample.position is None or position is None:
        return state
    if position.covers(sample.position):
        return replace(state, lag=monotonic() - sample.at)
    # The primary had logged something by then that is missing here.
    return replace(state, lag_at_least=result.began - sample.at)
