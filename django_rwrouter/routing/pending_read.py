"""One read on its way to a decision: where it comes from, who may answer it, and where the servers stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from django.db import connections

from django_rwrouter import process
from django_rwrouter.balancers import Balancer, get_balancer
from django_rwrouter.conf.clusters import Cluster, ModelRoute
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.databases import has_positions
from django_rwrouter.routing.opening import is_forbidden, ping
from django_rwrouter.routing.steps import UNTRIED, Attempts
from django_rwrouter.scope.context import current_block, in_effect, in_force
from django_rwrouter.scope.generators import GeneratorRegions
from django_rwrouter.scope.state import THREAD, Block, ClusterScope, RoutingState, running_loop
from django_rwrouter.scope.token import Mark
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import is_primary, server_of
from django_rwrouter.servers.wrapper_installation import install

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    from django_rwrouter.databases.base import Position

ASK_AGAIN_SECONDS: Final = 1.0
"""A replica that was found to lag is left in peace for so long by those that need no position."""


@dataclass(slots=True, eq=False)
class Standings:
    """Where a cluster's servers stand, seen from one thread's connections; looked up when it is asked.

    For a connection that is not open yet, where the server stands that was last found behind the alias: a
    guess, which opening the connection confirms.
    """

    cluster: Cluster
    primary: BaseDatabaseWrapper
    balancer: Balancer
    has_driver: bool
    """Whether servers of this kind can tell positions at all."""
    opened: dict[str, BaseDatabaseWrapper] = field(default_factory=dict)
    """The thread's connections to replicas that were opened; some may be closed by now."""

    def is_ready(self, alias: str) -> bool:
        """Whether a replica's connection is open and usable: it may be pinged, as Django would do now."""
        return (
            alias in self.opened
            and (connection := self.opened[alias]).connection is not None
            and (health.all_well or not health.is_ejected(alias))
            and ("cursor" not in connection.__dict__ or not is_forbidden(connection))
            and ping(connection)
        )

    def reached(self, alias: str, position: Position) -> bool:
        """Whether a replica is known to have replayed a position."""
        if alias not in self.opened or (connection := self.opened[alias]).connection is None:
            return knowledge.reached(knowledge.last_server(alias), position)
        # In a transaction, a replica shows the past in which it began.
        if connection.in_atomic_block or not connection.autocommit:
            return False
        return knowledge.reached(server_of(connection), position) or is_primary(connection, self.primary)

    def staleness(self, alias: str) -> float:
        """Return by how many seconds a replica is behind at most, as :meth:`reached` knows it."""
        if alias not in self.opened or (connection := self.opened[alias]).connection is None:
            server = knowledge.last_server(alias)
        elif connection.in_atomic_block or not connection.autocommit:
            return math.inf
        else:
            server = server_of(connection)
        age = knowledge.staleness(self.cluster.name, server)
        return 0.0 if age == math.inf and is_primary(connections[alias], self.primary) else age

    def asked_lately(self, alias: str) -> bool:
        """Whether a replica has said within a second where it stands, or a monitor asks that server.

        A monitor has one connection. Of the servers behind an address, those that it has not reached are
        asked by the threads that are attached to them.
        """
        last = knowledge.last_server(alias)
        connection = self.opened.get(alias)
        server = last if connection is None or connection.connection is None else server_of(connection)
        if knowledge.age(server) < ASK_AGAIN_SECONDS:
            return True
        cluster = self.cluster
        return server == last and health.watched and knowledge.knows(cluster.name, cluster.replica_aliases)

    def away(self) -> bool:
        """Whether the primary has not answered lately."""
        return health.is_away(self.cluster.name)


def standings_of(cluster: Cluster, *, on_loop: bool, verify: bool = False) -> Standings:
    """Return where a cluster's servers stand, seen from the running thread's connections.

    Kept as long as the thread, as Django keeps its connections: ``connections[alias]`` costs as much as most
    of a decision. On an event loop Django has others for each task, and nothing is kept. ``verify`` finds
    out whether the thread was given another open connection to the primary, as tests share one.
    """
    here: Standings | None = None if on_loop else THREAD.standings.get(cluster.name)
    if (
        here is None
        or here.cluster is not cluster
        or (verify and connections[cluster.primary] is not here.primary)
    ):
        primary = install(connections[cluster.primary])
        balancer = get_balancer(cluster.settings.balancer)
        here = Standings(cluster, primary, balancer, has_positions(primary.vendor))
        if not on_loop:
            THREAD.standings[cluster.name] = here
    return here


def note_new_connection(cluster: Cluster, connection: BaseDatabaseWrapper) -> None:
    """Forget what the running thread knows of a connection that has just been opened anew."""
    here: Standings | None = THREAD.standings.get(cluster.name)
    if here is None:
        return
    here.opened.pop(connection.alias, None)
    if connection.alias == cluster.primary and connection is not here.primary:
        del THREAD.standings[cluster.name]
        health.version += 1  # Decisions that hold rest on the connection that is gone.


@dataclass(slots=True, eq=False)
class PendingRead:
    """One read on its way to a decision, and what was found out for it."""

    route: ModelRoute
    state: RoutingState
    scope: ClusterScope
    block: Block | None
    """The innermost that speaks of the cluster."""
    standings: Standings
    tried: Attempts
    instance_alias: str | None = None
    """The database of the object that the read follows."""
    on_loop: bool = False
    """Whether it runs on an event loop's own thread, where nothing may wait."""
    in_test: bool = False
    """Whether tests run: a test case of Django's may forbid the use of a connection."""
    decisions: dict[object, Any] = field(default_factory=dict)
    """``state.settled``, as it was before this was decided: what has replaced it may speak against it."""
    version: int = 0
    """That of :attr:`Health.version` then."""
    innermost: object = None
    """The innermost block, of whatever cluster, as the context variable has it."""
    positions: bool = False
    """Whether the database has positions, and tells them."""
    mark: Mark | None = None
    """What the client's token says of the cluster."""
    now: float = 0.0
    """Unix time, if there is a mark."""
    replicas: Sequence[ReplicaSettings] = ()
    """Those that may be used."""
    kept: ReplicaSettings | None = None
    """The one of them that the scope uses already: if it qualifies, no other is looked at."""

    def limited_to(self, seconds: float) -> PendingRead:
        """Return the same read, for which only replicas may be used that are no more than so far behind."""
        staleness = self.standings.staleness
        replicas = [replica for replica in self.replicas if staleness(replica.alias) <= seconds]
        return replace(self, replicas=replicas, kept=self.kept if self.kept in replicas else None)

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


def begin_read(route: ModelRoute, instance_alias: str | None = None) -> PendingRead:
    """Return a read of what is in force now, of which nothing is decided yet."""
    now, cluster, on_loop = in_force(), route.cluster, running_loop() is not None
    innermost = now.block
    if innermost.__class__ is GeneratorRegions:
        now = in_effect()
    state = now.state or THREAD.outside
    decisions, version = state.settled, health.version  # As they are before anything is looked at.
    in_test = process.in_test_environment()
    verify = in_test and cluster.name not in state.clusters
    scope = state.scope(cluster.name)
    block = None if now.block is None else current_block(cluster.name)
    here = standings_of(cluster, on_loop=on_loop, verify=verify)
    tried = UNTRIED
    if not health.all_well:
        tried, scope.steps = Attempts(unusable=health.unusable()), []
    return PendingRead(
        route,
        state,
        scope,
        block,
        here,
        tried,
        instance_alias,
        on_loop,
        in_test,
        decisions,
        version,
        innermost,
    )
