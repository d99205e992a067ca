"""What is known of the replicas' positions, seen from one thread's connections."""

from __future__ import annotations

import math
from typing import Any, Final

from django.db import connections

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.scope.state import ClusterScope, ThreadConnections, this_thread
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.identity import is_primary, server_of

ASK_AGAIN_SECONDS: Final = 1.0
"""A replica that was found to lag is left in peace for so long by those that need no position."""


def reached(scope: ClusterScope, ours: ThreadConnections, alias: str, position: Any) -> bool:
    """Whether the server behind this thread's connection is known to have replayed a position.

    For a connection that is not open yet, whether the server that was last found behind the alias has: a
    guess, which opening the connection confirms.
    """
    key = (this_thread(), alias)
    if alias in ours.opened:
        if scope.satisfied.get(key) is position:
            return True
        connection = ours.opened[alias]
        # In a transaction, a replica shows the past in which it began.
        if connection.in_atomic_block or not connection.autocommit:
            return False
        if knowledge.reached(server_of(connection), position) or is_primary(connection, ours.primary):
            scope.satisfied[key] = position
            return True
        return False
    return knowledge.reached(knowledge.last_server(alias), position)


def staleness(cluster: str, ours: ThreadConnections, alias: str) -> float:
    """Return by how many seconds a replica is behind at most, as :func:`reached` knows it."""
    if alias in ours.opened:
        connection = ours.opened[alias]
        # In a transaction, a replica shows the past in which it began.
        if connection.in_atomic_block or not connection.autocommit:
            return math.inf
        age = knowledge.staleness(cluster, server_of(connection))
    else:
        age = knowledge.staleness(cluster, knowledge.last_server(alias))
    if age == math.inf and _is_another_name(ours, alias):
        return 0.0
    return age


def asked_lately(cluster: Cluster, ours: ThreadConnections, alias: str) -> bool:
    """Whether a replica has said within a second where it stands, or a monitor asks that server.

    A monitor has one connection. Of the servers behind an address, those that it has not reached are asked by
    the threads that are attached to them.
    """
    last = knowledge.last_server(alias)
    server = server_of(ours.opened[alias]) if alias in ours.opened else last
    if knowledge.age(server) < ASK_AGAIN_SECONDS:
        return True
    return server == last and health.watched and knowledge.knows(cluster.name, cluster.replica_aliases)


def _is_another_name(ours: ThreadConnections, alias: str) -> bool:
    """Whether an alias is another name of the primary; looked at once in a scope."""
    known = ours.same_as_primary.get(alias)
    if known is None:
        known = ours.same_as_primary[alias] = is_primary(connections[alias], ours.primary)
    return known
