"""What the ladder looks at: who may be used, what was tried, and where each server is known to stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from django_rwrouter.balancers import Balancer
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.routing.steps import Attempts
from django_rwrouter.scope.state import Block, ClusterScope, OpenReplicas
from django_rwrouter.scope.token import Mark
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.identity import is_primary, server_of

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_rwrouter.databases.base import Position

ASK_AGAIN_SECONDS: Final = 1.0
"""A replica that was found to lag is left in peace for so long by those that need no position."""


@dataclass(slots=True, eq=False)
class Standings:
    """Where a cluster's servers stand, seen from one thread's connections; looked up when it is asked.

    Made once in a scope and thread, as Django never shares connections between threads.
    For a connection that is not open yet, where the server stands that was last found behind the alias: a
    guess, which opening the connection confirms.
    """

    cluster: Cluster
    primary: BaseDatabaseWrapper
    balancer: Balancer
    opened: OpenReplicas = field(default_factory=OpenReplicas)
    positions: bool = False
    """Whether the database has positions at all, and tells them; as of the newest decision."""
    now: float = 0.0
    """Unix time of the newest decision."""
    satisfied: dict[str, Position] = field(default_factory=dict)
    """By replica, a position that the server behind its connection is known to have replayed."""
    end_of_thread: object = None
    """Has all this forgotten when the thread ends (see ``when_thread_ends()``)."""
    _other_names: dict[str, bool] = field(default_factory=dict)
    """By alias, whether it is another name of the primary."""

    def reached(self, alias: str, position: Position) -> bool:
        """Whether a replica is known to have replayed a position."""
        connection = self.opened.get(alias)
        if connection is None or connection.connection is None:
            return knowledge.reached(knowledge.last_server(alias), position)
        if self.satisfied.get(alias) is position:
            return True
        # In a transaction, a replica shows the past in which it began.
        if connection.in_atomic_block or not connection.autocommit:
            return False
        if knowledge.reached(server_of(connection), position) or is_primary(connection, self.primary):
            self.satisfied[alias] = position
            return True
        return False

    def staleness(self, alias: str) -> float:
        """Return by how many seconds a replica is behind at most, as :meth:`reached` knows it."""
        connection = self.opened.get(alias)
        if connection is None or connection.connection is None:
            server = knowledge.last_server(alias)
        elif connection.in_atomic_block or not connection.autocommit:
            return math.inf
        else:
            server = server_of(connection)
        age = knowledge.staleness(self.cluster.name, server)
        return 0.0 if age == math.inf and self._is_another_name(alias) else age

    def asked_lately(self, alias: str) -> bool:
        """Whether a replica has said within a second where it stands, or a monitor asks that server.

        A monitor has one connection. Of the servers behind an address, those that it has not reached are
        asked by the threads that are attached to them.
        """
        last = knowledge.last_server(alias)
        server = server_of(self.opened[alias]) if alias in self.opened else last
        if knowledge.age(server) < ASK_AGAIN_SECONDS:
            return True
        cluster = self.cluster
        return server == last and health.watched and knowledge.knows(cluster.name, cluster.replica_aliases)

    def away(self) -> bool:
        """Whether the primary has not answered lately."""
        return health.is_away(self.cluster.name)

    def _is_another_name(self, alias: str) -> bool:
        """Whether an alias is another name of the primary; looked at once in a scope."""
        same = self._other_names.get(alias)
        if same is None:
            same = self._other_names[alias] = is_primary(connections[alias], self.primary)
        return same


@dataclass(slots=True, eq=False)
class Candidates:
    """What the ladder looks at in one turn."""

    replicas: Sequence[ReplicaSettings]
    """Those that may be used."""
    kept: ReplicaSettings | None
    """The one of them that the scope uses already: if it qualifies, no other is looked at."""
    standings: Standings
    tried: Attempts
    mark: Mark | None
    """The client's, of this cluster."""
    scope: ClusterScope
    block: Block | None

    def within(self, seconds: float) -> Sequence[ReplicaSettings]:
        """Return the replicas that are no more than so far behind; the kept one alone, if it is not."""
        staleness = self.standings.staleness
        if self.kept is not None and staleness(self.kept.alias) <= seconds:
            return (self.kept,)
        return [replica for replica in self.replicas if staleness(replica.alias) <= seconds]

    def having(self, position: Any) -> Sequence[ReplicaSettings]:
        """Return the replicas that are known to have replayed a position; the kept one alone, if it has."""
        reached = self.standings.reached
        if self.kept is not None and reached(self.kept.alias, position):
            return (self.kept,)
        return [replica for replica in self.replicas if reached(replica.alias, position)]
