"""The state of a server as this process knows it already."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.events.causes import NO_ANSWER
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.server_state import Condition, ServerState


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
