"""Loads a client's token from the request, and saves it with the response."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial, reduce
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, SupportsIndex

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_rwrouter import databases, process, stats
from django_rwrouter.conf import SETTING, get_settings
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope import token
from django_rwrouter.scope.state import ClusterScope, RoutingState, running_loop
from django_rwrouter.scope.token import EMPTY, FirstSights, Mark, Token
from django_rwrouter.servers import asking, waiting
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.identity import server_of
from django_rwrouter.stores import NotKept, Store, get_store
from django_rwrouter.stores.cookie import CookieStore
from django_rwrouter.stores.session import SessionStore, require_session, session_is_saved

if TYPE_CHECKING:
    from django_rwrouter.databases.base import Position

logger = logging.getLogger("django_rwrouter")


class StoresInUse(NamedTuple):
    """The stores that ``STORE`` names, and what follows from them."""

    stores: Sequence[Store]
    readers: Sequence[Store]
    """The stores, and the cookie that stands in for those that may fail."""
    may_block: bool
    """Whether looking at a token may wait for a server."""
    refreshing: Sequence[Store]
    """Those that have to see what is saved of a client's session."""


@cache
def in_use() -> StoresInUse:
    """Return the stores in use; raises ``ImproperlyConfigured``."""
    stores = tuple(get_store(name) for name in get_settings().stores)
    may_block = any(store.blocks for store in stores)
    has_cookie = any(isinstance(store, CookieStore) for store in stores)
    readers = (*stores, SUBSTITUTE) if may_block and not has_cookie else stores
    refreshing = tuple(store for store in stores if isinstance(store, SessionStore))
    return StoresInUse(stores, readers, may_block, refreshing)


SUBSTITUTE: Final = CookieStore()
"""Carries the token where a store that asks a server or a disk could not keep it."""
process.derives(in_use.cache_clear, [SETTING])


RETRY_SECONDS: Final = 1.0
"""How long a store that failed is not asked again: what it waits for may be a timeout of seconds."""


@dataclass(slots=True)
class _Outage:
    """What is remembered of a store that failed."""

    retry_at: float = 0.0
    """Monotonic time before which it is not asked."""
    lost_at: float = 0.0
    """Unix time at which a token was last lost; until it expires, each client counts as a writer."""
    over: bool = False
    """Whether the store has answered since."""


_outages: Final[dict[Store, _Outage]] = {}
process.owns(_outages.clear, settings=[SETTING, "CACHES"])


def _knows(store: Store, request: HttpRequest) -> bool:
    """Whether a store can tell the request's client from others, so that it may have a token."""
    knows: Callable[[HttpRequest], bool] | None = getattr(store, "knows", None)
    return knows is None or knows(request)


def _is_suspended(store: Store) -> bool:
    outage = _outages.get(store)
    return outage is not None and monotonic() < outage.retry_at


def _note_failure(store: Store, error: Exception) -> None:
    name = type(store).__name__
    stats.count_event(EventKind.STORE_FAILED.code, name)
    outage = _outages.get(store)
    if outage is None or outage.over:
        outage = _outages[store] = _Outage(lost_at=outage.lost_at if outage else 0.0)
        logger.warning(
            "%s failed (%s): its clients read from the primary, and their tokens go into a cookie,"
            " until it answers again.",
            name,
            type(error).__name__,
            exc_info=error,
            extra={"store": name},
        )
    outage.retry_at = monotonic() + RETRY_SECONDS


def _note_success(store: Store) -> None:
    outage = _outages.get(store)
    if outage is not None and not outage.over:
        outage.over = True
        logger.info("%s answers again.", type(store).__name__)
    if outage is not None and not _written_at(outage.lost_at):
        _outages.pop(store, None)


def _values(store: Store, request: HttpRequest) -> Sequence[str] | None:
    """Return the tokens that a store has for the client, or ``None`` while it fails."""
    if _outages and _is_suspended(store):
        return None if _knows(store, request) else ()
    try:
        values = store.load(request)
        if values.__class__ not in {list, tuple, str}:
            values = tuple(values)  # What can be looked at only once would be empty afterwards.
        # No call for each request. A string is a sequence of strings, and none of them is a token.
        for value in (None,) if isinstance(values, str) else values:
            if not isinstance(value, str):
                raise TypeError(f"load() returned {values!r}; it must return a list of strings")  # noqa: TRY301
    except ImproperlyConfigured:
        raise
    except Exception as error:  # noqa: BLE001  (whatever the client of a cache, a disk or a database raises)
        _note_failure(store, error)
        return None
    if _outages:
        _note_success(store)
    return values


_first_sights: Final = FirstSights()
process.owns(_first_sights.forget)


def accept(value: str | bytes) -> Token:
    """Read a token that came from outside; one that is no good is counted, and is as none at all."""
    if not value:
        return EMPTY
    # Redis returns bytes, and whatever else came out of a message is no token.
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    read, flaw = token.decode(text, get_topology().lifetimes, time.time(), databases.decode, _first_sights)
    if flaw is not None:
        stats.note_event(EventKind.TOKEN_REJECTED.code, flaw)
    return read


def load(request: HttpRequest) -> Token:
    """Return what the client brought, from all stores together."""
    brought = EMPTY
    for store in in_use().readers:
        values = _values(store, request)
        if values is None:
            brought = brought.merge(_written_at(time.time()))
            continue
        for value in values:
            marks = accept(value)
            brought = marks if brought is EMPTY else brought.merge(marks)
        if _outages and (outage := _outages.get(store)) is not None and _knows(store, request):
            brought = brought.merge(_written_at(outage.lost_at))
    return brought


def _written_at(when: float) -> Token:
    """Return the token of a client that wrote to every cluster at that time, as far as it still lives."""
    now = time.time()
    lifetimes = get_topology().lifetimes
    marks = {
        name: _mark_without_position(when, cluster).alive(lifetimes[name], now)
        for name, cluster in get_topology().clusters.items()
    }
    return Token({name: mark for name, mark in marks.items() if mark is not None})


def issue(state: RoutingState, used: Sequence[tuple[Cluster, ClusterScope]] | None = None) -> Token:
    """Return the token for what the scope has brought, written and seen, as of now.

    To be called after the outermost commit, which neither time nor position may be older than. May ask the
    primary where it stands, once for each cluster that was written to. Where that cannot be done (inside a
    transaction, on an event loop's own thread, where nothing may wait) the token carries the time alone.
    """
    made: dict[str, Mark] = {}
    for cluster, scope in used or _used(state):
        if scope.wrote:
            made[cluster.name] = _mark_of_write(state, cluster)
        elif cluster.settings.monotonic_reads and not running_loop():
            mark = _mark_of_reads(state, scope, cluster)
            if mark is not None:
                made[cluster.name] = mark
    brought = state.token
    if brought is None:
        # Where nobody may look, the client counts as one that has just written.
        may_look = not state.may_block or not running_loop()
        brought = state.known_token() if may_look else _written_at(time.time())
    if not made:
        return brought
    whole = brought.merge(Token(made))
    state.issued.append(whole)
    return whole


def _mark_of_write(state: RoutingState, cluster: Cluster) -> Mark:
    if not (state.wants_position or cluster.needs_positions):
        return Mark(round(time.time(), 6))
    connection = connections[cluster.primary]
    if not databases.has_positions(connection.vendor):
        return Mark(round(time.time(), 6))
    position, blind_at = None, 0.0
    # Inside a transaction the position would be one before the commit.
    manual = connection.connection is not None and not connection.autocommit
    in_transaction = connection.in_atomic_block or manual
    if (
        not in_transaction
        and knowledge.has_positions(cluster.name, cluster.replica_aliases)
        and not running_loop()
    ):
        position = asking.ask_primary(cluster, connection)
    at = round(time.time(), 6)
    if position is None:
        # The commit of an open transaction is still to come.
        blind_at = at + cluster.settings.pin_seconds if in_transaction else at
    return Mark(at, position, blind_at)


def _mark_without_position(at: float, cluster: Cluster) -> Mark:
    """Return the mark of a write that a store has lost, as the cluster's own level needs it."""
    has_positions = cluster.needs_positions and databases.has_positions(connections[cluster.primary].vendor)
    return Mark(at, None, at if has_positions else 0.0)


def _mark_of_reads(state: RoutingState, scope: ClusterScope, cluster: Cluster) -> Mark | None:
    """Return the mark of what the scope's reads have seen: no more than the servers that answered have now.

    Where one of these does not say how far it is, the mark has the time alone, as that of a write would.
    """
    if not (
        databases.has_positions(connections[cluster.primary].vendor)
        and knowledge.has_positions(cluster.name, cluster.replica_aliases)
    ):
        return None
    positions: list[Position | None] = []
    # Other threads of the request may route reads meanwhile.
    for alias in {alias for alias, _table in list(state.routed_reads)}.intersection(cluster.replica_aliases):
        try:
            connection = connections[alias]
            connection.ensure_connection()
            asking.ask_replica(cluster, connection)
            positions.append(knowledge.position(server_of(connection)))
        except Error as error:
            asking.pass_over(alias, error)
            positions.append(None)
    if scope.read_primary:
        positions.append(asking.ask_primary(cluster, connections[cluster.primary]))
    if not positions:
        return None
    at = round(time.time(), 6)
    seen = [position for position in positions if position is not None]
    if len(seen) < len(positions):
        return Mark(blind_at=at, seen_at=at)
    return Mark(position=reduce(lambda one, other: one.merge(other), seen), seen_at=at)


def _used(state: RoutingState) -> list[tuple[Cluster, ClusterScope]]:
    """Return the clusters that the scope has used and the settings, which may have changed, still name."""
    clusters = get_topology().clusters
    return [(clusters[name], state.clusters[name]) for name in [*state.clusters] if name in clusters]


def begin(state: RoutingState, request: HttpRequest) -> None:
    """Have the session watched from the beginning: another middleware may end it before a view is found."""
    if in_use().refreshing:
        require_session(request)
    watch_session(state, request)


def watch_session(state: RoutingState, request: HttpRequest) -> None:
    """Look at the client's token before its session is emptied, and keep it before the session is deleted.

    Where looking would have to wait on an event loop's thread, the client counts as one that just wrote.
    """
    session = getattr(request, "session", None)
    if not isinstance(session, SessionBase) or isinstance(session, _Watched):
        return
    if django_settings.SESSION_COOKIE_NAME in request.COOKIES:
        # The session must not hold the scope, which holds the request, which holds the session.
        vars(session)["_scope"] = weakref.ref(state)
        session.__class__ = _watched(session.__class__)


class _Watched(SessionBase):
    """Mixed into the class of a request's session."""

    _scope: Callable[[], RoutingState | None] | None = None
    """``None`` for another session of the same class."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Have copies, which may be pickled, be of the session's own class."""
        session: Any = object.__new__(type(self).__bases__[1])
        vars(session).update({name: value for name, value in vars(self).items() if name != "_scope"})
        make, arguments, *rest = session.__reduce_ex__(protocol)
        return partial(make, *arguments), (), *rest  # The pickler wants __newobj__() to make this very class.

    def clear(self) -> None:
        state = None if self._scope is None else self._scope()
        if state is not None and state.token is None and not state.loading:
            if running_loop():
                state.token = _written_at(time.time())
            else:
                state.known_token()
        super().clear()

    def delete(self, session_key: str | None = None) -> None:
        if self._scope is not None:
            _keep_remains(self, session_key)
        super().delete(session_key)

    async def adelete(self, session_key: str | None = None) -> None:
        if self._scope is not None:
            await sync_to_async(_keep_remains)(self, session_key)
        await super().adelete(session_key)


@cache
def _watched(session_class: type[SessionBase]) -> type[SessionBase]:
    return type(session_class.__name__, (_Watched, session_class), {"__module__": session_class.__module__})


def _keep_remains(session: SessionBase, key: str | None) -> None:
    longest = max(max(lifetime) for lifetime in get_topology().lifetimes.values())
    for store in in_use().refreshing:
        if not _is_suspended(store):
            try:
                store.leave(session, session.session_key if key is None else key, accept, longest)  # type: ignore[attr-defined]
            except Exception as error:  # noqa: BLE001  (as in _values)
                _note_failure(store, error)


def _moving(request: HttpRequest, response: HttpResponseBase) -> Sequence[Store]:
    """Return the stores that will know the client by another session than before."""
    return [store for store in in_use().stores if hasattr(store, "moves") and store.moves(request, response)]


def must_save(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether the client may have to be told anything, or a store has to see what is saved of its session."""
    clusters = get_topology().clusters
    for name in [*state.clusters]:
        scope = state.clusters[name]
        if name in clusters and (
            scope.wrote
            or (clusters[name].settings.monotonic_reads and (scope.read_primary or scope.replica is not None))
        ):
            return True
    used = in_use()
    if used.may_block and (state.token or _moving(request, response)):
        return True
    if not used.refreshing:
        return False
    session = getattr(request, "session", None)
    return session is not None and session_is_saved(session)


def may_wait(state: RoutingState) -> bool:
    """Whether saving may wait for a server, so that it must not be done on an event loop's thread."""
    return in_use().may_block or any(
        (scope.wrote and (state.wants_position or cluster.needs_positions))
        or cluster.settings.monotonic_reads
        for cluster, scope in _used(state)
    )


def save(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Give the client its token, if it wrote, or if a store has lost the one that it brought.

    Where ``SYNC_REPLICAS`` says so, it waits first until replicas have replayed what was written.
    """
    used = _used(state)
    wrote = [cluster for cluster, scope in used if scope.wrote]
    moving = _moving(request, response) if in_use().may_block else ()
    if moving and state.token is not None:
        state.token = state.token.merge(load(request))  # Others may have written since it was loaded.
    if wrote or any(
        cluster.settings.monotonic_reads and (scope.read_primary or scope.replica) for cluster, scope in used
    ):
        made = issue(state, used)
        if wrote:
            stats.count_event(EventKind.PIN_SET.code)
            for cluster in wrote:
                if cluster.settings.sync_replicas:
                    _wait_for_replicas(cluster, made.marks[cluster.name].position)
    else:
        made = state.known_token() if moving else state.token or EMPTY
    if wrote or _says_more(made, state.token):
        keepers = in_use().stores
    else:  # A client that has seen nothing new is told nothing.
        keepers = list(dict.fromkeys([*moving, *_that_lost_it(made, request)])) if made.marks else ()
    for store in in_use().refreshing:
        if store not in keepers and not _is_suspended(store):
            try:
                store.refresh(request)  # type: ignore[attr-defined]
            except Exception as error:  # noqa: BLE001  (as in _values)
                _note_failure(store, error)
    _keep_in(keepers, made, request, response)


def _that_lost_it(token: Token, request: HttpRequest) -> Sequence[Store]:
    """Return the stores that have lost the client's token, as when its session is cleared."""
    stores = [store for store in in_use().stores if store.blocks and _knows(store, request)]
    values = [(store, _values(store, request)) for store in stores]
    if any(kept is None for _store, kept in values):
        return ()  # The token may say no more than that a store fails.
    lost = [store for store, kept in values if not kept]
    if lost and SUBSTITUTE in in_use().readers:
        carried = EMPTY
        for value in SUBSTITUTE.load(request):
            carried = carried.merge(accept(value))
        if carried == token:
            return ()
    return lost


def _keep_in(keepers: Sequence[Store], made: Token, request: HttpRequest, response: HttpResponseBase) -> None:
    if not keepers or not made.marks:
        return
    marks, lifetimes = made.marks, get_topology().lifetimes
    ages = [marks[name].lifetime(lifetimes[name]) for name in marks if name in lifetimes]
    if not ages:
        return  # The settings name none of its clusters any more.
    value, max_age = made.encode(databases.encode), max(ages)
    lost = False
    for store in keepers:
        lost = not _is_kept(store, request, response, value, max_age) or lost
    if lost and SUBSTITUTE in in_use().readers:
        SUBSTITUTE.save(request, response, value, max_age)


def _is_kept(
    store: Store, request: HttpRequest, response: HttpResponseBase, value: str, max_age: float
) -> bool:
    """Keep a token in a store, and return whether it is there."""
    if not (_outages and _is_suspended(store)):
        try:
            store.save(request, response, value, max_age)
        except ImproperlyConfigured:
            raise
        except NotKept:
            return False
        except Exception as error:  # noqa: BLE001  (as in _values)
            _note_failure(store, error)
        else:
            if _outages:
                _note_success(store)
            return True
    outage = _outages.get(store)
    if outage is not None:
        outage.lost_at = time.time()
    return False


def outlives_response(store: Store) -> bool:
    """Whether what a store saves reaches the client although the response's headers are gone."""
    return bool(getattr(store, "on_server", False))


def save_late(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Save what was written while a streamed body was sent, in the stores that can still do so."""
    if any(scope.wrote_late for scope in [*state.clusters.values()]):
        keepers = [store for store in in_use().stores if outlives_response(store)]
        _keep_in(keepers, issue(state), request, response)


def _says_more(made: Token, brought: Token | None) -> bool:
    """Whether a token demands what the client's own does not."""
    for name, mark in made.marks.items():
        old = None if brought is None else brought.marks.get(name)
        if mark.blind_at and (old is None or old.blind_at < mark.blind_at):
            return True
        if mark.position is not None and (
            old is None or old.position is None or not old.position.covers(mark.position)
        ):
            return True
    return False


def _wait_for_replicas(cluster: Cluster, position: Position | None) -> None:
    if position is None or not waiting.wait_for_all(cluster, position):
        replicas, seconds = cluster.settings.sync_replicas, cluster.settings.sync_timeout
        emit.event(EventKind.SYNC_TIMEOUT, cluster.name, replicas=replicas, seconds=seconds)
