"""What a client brings with its request, and what it takes away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from django.db import Error, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_rwrouter import positions, process, servers, stats, token
from django_rwrouter.conf import SETTING, get_settings
from django_rwrouter.decision import Level
from django_rwrouter.knowledge import knowledge, server_of
from django_rwrouter.state import ClusterScope, RoutingState, on_event_loop
from django_rwrouter.stores import Store, get_store
from django_rwrouter.token import EMPTY, Mark, Position, Token
from django_rwrouter.topology import Cluster, get_topology

logger = logging.getLogger("django_rwrouter")


def stores() -> Sequence[Store]:
    """Return the stores in use; raises ``ImproperlyConfigured``."""
    return _stores(get_settings().stores)


def stores_may_block() -> bool:
    """Whether looking at a token may wait for a server."""
    return _may_block(stores())


@lru_cache(maxsize=16)
def _may_block(among: Sequence[Store]) -> bool:
    return any(store.blocks for store in among)


@lru_cache(maxsize=16)
def _stores(names: tuple[str, ...]) -> Sequence[Store]:
    return tuple(get_store(name) for name in names)


process.derives(_may_block.cache_clear, [SETTING])
process.derives(_stores.cache_clear, [SETTING])


class _FirstSights:
    """When this process first met tokens with a time in the future, that is, of a clock ahead of its own.

    Only signed tokens come here, so no stranger can fill it.
    """

    _LIMIT: Final = 4096

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def when(self, value: str, now: float, *, ahead: bool) -> float:
        """Return when the value was first met; not in the future, should our own clock be put back."""
        key = value.rpartition(":")[2]
        if not ahead and key not in self._times:
            return now
        with self._lock:
            first = min(self._times.pop(key, now), now)
            self._times[key] = first
            if len(self._times) > self._LIMIT:
                del self._times[next(iter(self._times))]
        return first


_first_sights: Final = _FirstSights()
process.owns(_first_sights.forget)


def accept(value: str) -> Token:
    """Read a token that came from outside; one that is no good is counted, and is as none at all."""
    if not value:
        return EMPTY
    found, flaw = token.decode(
        value, get_topology().lifetimes, time.time(), positions.decode, _first_sights
    )
    if flaw is not None:
        stats.note_event("token_rejected", flaw)
    return found


def load(request: HttpRequest) -> Token:
    """Return what the client brought, from all stores together."""
    found = EMPTY
    for store in stores():
        for value in store.load(request):
            found = found.merge(accept(value))
    return found


def issue(state: RoutingState) -> Token:
    """Return the token for what the scope has brought, written and seen, as of now.

    To be called after the outermost commit, which neither time nor position may be older than. May ask the
    primary where it stands, once for each cluster that was written to. Where that cannot be done (inside a
    transaction, on an event loop's own thread, where nothing may wait) the token carries the time alone.
    """
    may_wait = not on_event_loop()
    topology = get_topology()
    made: dict[str, Mark] = {}
    for name, scope in state.scopes():
        cluster = topology.clusters[name]
        if scope.wrote:
            made[name] = _mark_of_write(state, cluster, may_wait=may_wait)
        elif may_wait and cluster.settings.monotonic_reads:
            seen = _seen(scope, cluster)
            if seen is not None:
                made[name] = Mark(position=seen, seen_at=round(time.time(), 6))
    brought = state.token or EMPTY
    if state.token is None and (may_wait or not state.may_block):
        brought = state.known_token()
    if not made:
        return brought
    whole = brought.merge(Token(made))
    state.issued.append(whole)
    return whole


def _mark_of_write(state: RoutingState, cluster: Cluster, *, may_wait: bool) -> Mark:
    connection = connections[cluster.primary]
    if not _wants_position(state, cluster) or not positions.has_positions(connection.vendor):
        return Mark(round(time.time(), 6))
    position, blind_at = None, 0.0
    # Inside a transaction the position would be one before the commit.
    manual = connection.connection is not None and not connection.autocommit
    in_transaction = connection.in_atomic_block or manual
    if may_wait and not in_transaction and knowledge.has_positions(cluster.name, cluster.replica_aliases):
        position = servers.ask_primary(cluster, connection)
    at = round(time.time(), 6)
    if position is None:
        # The commit of an open transaction is still to come.
        blind_at = at + cluster.settings.pin_seconds if in_transaction else at
    return Mark(at, position, blind_at)


def _wants_position(state: RoutingState, cluster: Cluster) -> bool:
    settings = cluster.settings
    return bool(
        state.wants_position
        or settings.consistency in (Level.CAUSAL, Level.STRONG)
        or settings.monotonic_reads
        or settings.sync_replicas
    )


def _seen(scope: ClusterScope, cluster: Cluster) -> Position | None:
    """Return how far the servers had come that answered the scope's reads, as of now: they saw no more."""
    found: Position | None = None
    aliases = {alias for ours in scope.by_thread.values() for alias in ours.opened}
    for alias in aliases:
        try:
            connection = connections[alias]
            connection.ensure_connection()
            servers.ask_replica(cluster, connection)
        except Error as error:
            servers.pass_over(alias, error)
            continue
        position = knowledge.position(server_of(connection))
        found = position if found is None or position is None else found.merge(position)
    if scope.read_primary:
        position = servers.ask_primary(cluster, connections[cluster.primary])
        found = position if found is None or position is None else found.merge(position)
    return found


def must_save(state: RoutingState) -> bool:
    """Whether the client may have to be told anything."""
    clusters = get_topology().clusters
    for name, scope in state.scopes():
        if scope.wrote or (
            clusters[name].settings.monotonic_reads and (scope.read_primary or scope.replica is not None)
        ):
            return True
    return bool(state.token) and any(store.blocks for store in stores())


def may_wait(state: RoutingState) -> bool:
    """Whether saving may wait for a server, so that it must not be done on an event loop's thread."""
    topology = get_topology()
    return any(store.blocks for store in stores()) or any(
        (scope.wrote and _wants_position(state, topology.clusters[name]))
        or topology.clusters[name].settings.monotonic_reads
        for name, scope in state.scopes()
    )


def _must_tell_seen(state: RoutingState) -> bool:
    topology = get_topology()
    return any(
        topology.clusters[name].settings.monotonic_reads and (scope.read_primary or scope.replica)
        for name, scope in state.scopes()
    )


def save(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Give the client its token, if it wrote, or if a store has lost the one that it brought.

    Where ``SYNC_REPLICAS`` says so, it waits first until replicas have replayed what was written.
    """
    wrote = [name for name, scope in state.scopes() if scope.wrote]
    if wrote or _must_tell_seen(state):
        made = issue(state)
        if wrote:
            stats.count_event("pin_set")
            _wait_for_replicas(wrote, made)
        # A client that has seen nothing new is told nothing.
        keepers: Sequence[Store] = stores() if wrote or _says_more(made, state.token) else ()
    else:
        made = state.token or EMPTY
        # Logging out empties the session; the client is still the one that wrote a moment ago.
        keepers = [store for store in stores() if store.blocks and not store.load(request)]
    _keep_in(keepers, made, request, response)


def _keep_in(keepers: Sequence[Store], made: Token, request: HttpRequest, response: HttpResponseBase) -> None:
    if not keepers or not made:
        return
    value = made.encode(positions.encode)
    lifetimes = get_topology().lifetimes
    max_age = max(mark.lifetime(lifetimes[name]) for name, mark in made.marks.items() if name in lifetimes)
    for store in keepers:
        store.save(request, response, value, max_age)


def outlives_response(store: Store) -> bool:
    """Whether what a store saves reaches the client although the response's headers are gone."""
    return bool(getattr(store, "on_server", False))


def save_late(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Save what was written while a streamed body was sent, in the stores that can still do so."""
    if any(scope.wrote_late for _name, scope in state.scopes()):
        keepers = [store for store in stores() if outlives_response(store)]
        _keep_in(keepers, issue(state), request, response)


def _says_more(made: Token, brought: Token | None) -> bool:
    """Whether a token demands a position that the client's own does not."""
    for name, mark in made.marks.items():
        old = None if brought is None else brought.marks.get(name)
        if mark.position is not None and (
            old is None or old.position is None or not old.position.covers(mark.position)
        ):
            return True
    return False


def _wait_for_replicas(wrote: Sequence[str], made: Token) -> None:
    topology = get_topology()
    for name in wrote:
        cluster = topology.clusters[name]
        position = made.marks[name].position
        if not cluster.settings.sync_replicas:
            continue
        if position is None or not servers.wait_for_all(cluster, position):
            stats.count_event("sync_timeout", name)
            logger.warning(
                "A write was not replayed by %s replicas of %r within SYNC_TIMEOUT (%s s); the response goes"
                " out all the same, and the client's token keeps it from reading what is older.",
                cluster.settings.sync_replicas,
                name,
                cluster.settings.sync_timeout,
                extra={"cluster": name},
            )
