"""Connections that are drawn from a pool in this process.

From psycopg's, as Django uses it, or from that of ``django_db_geventpool``, whose own wait has no end.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from django.db import OperationalError, connections

from django_rwrouter import process
from django_rwrouter.servers import sockets

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

GLANCE: Final = 0.01
"""Seconds that a pool is given for a connection while it is known to be full."""
REST: Final = 1.0
"""Seconds for which nobody waits for a pool after somebody has waited in vain, else each query of a page
would."""
BRIEF: Final = 0.2
"""Seconds; a wait that is shorter says nothing of the server, as a new connection may take longer."""
_PSYCOPG_FULL: Final = frozenset({"PoolTimeout", "TooManyRequests"})
_full_until: Final[dict[str, float]] = {}
"""By alias, monotonic seconds."""
_seen: Final[dict[str, WeakSet[Any]]] = {}
"""By alias, the drivers' connections that were seen in a pool, or drawn from it."""


class FullPoolError(OperationalError):
    """All connections of a pool are in use, which says nothing of the server."""


def reset() -> None:
    """Forget which pools are full, and what they held."""
    _full_until.clear()
    _seen.clear()


process.owns(reset)


def pool_of(connection: BaseDatabaseWrapper) -> Any:
    """Return the pool that a connection is drawn from, or ``None`` if it is opened for its user alone."""
    return getattr(connection, "pool", None)


def connect(connection: BaseDatabaseWrapper, seconds: float | None = None) -> None:
    """Open a connection, and tell a full pool from a dead server; wait for a pool at most so many seconds.

    Raises :class:`FullPoolError` for the former. ``None`` leaves the time to the pool. Other users of the
    pool wait for as long as they are used to.
    """
    pool = pool_of(connection)
    # The pool is looked up here; this wrapper alone sees another one.
    if hasattr(pool, "getconn"):
        vars(connection)["_connection_pools"] = {connection.alias: _Bounded(pool, connection.alias, seconds)}
        try:
            connection.ensure_connection()
        finally:
            vars(connection).pop("_connection_pools", None)
    elif seconds is not None and _is_of_greenlets(pool):
        vars(connection)["_pool"] = _BoundedForGreenlets(pool, connection.alias, seconds)
        try:
            connection.ensure_connection()
        finally:
            vars(connection)["_pool"] = pool
    else:
        connection.ensure_connection()


class _Bounded:
    """A pool of psycopg's, for one caller who does not wait for as long as others."""

    def __init__(self, pool: Any, alias: str, seconds: float | None) -> None:
        self._pool = pool
        self._alias = alias
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def getconn(self) -> Any:
        """Draw a connection."""
        pool, alias = self._pool, self._alias
        timeout = pool.timeout
        if self._seconds is not None:
            timeout = min(timeout, _worth(alias, self._seconds))
        was_used, failures = _is_used(alias), _failures(pool)
        seen = _seen.setdefault(alias, WeakSet())
        seen.update(_idle(pool))  # The pool is about to check one of them.
        try:
            raw = pool.getconn(timeout=timeout)
        except Exception as error:
            if type(error).__name__ not in _PSYCOPG_FULL:
                raise
            # Who waits for a pool that nobody uses, or that tries in vain to connect, waits for the server.
            if timeout >= BRIEF:
                if _failures(pool) > failures or not (was_used or _is_used(alias)):
                    raise
                _full_until[alias] = monotonic() + REST
            raise _full(alias, "['pool']['max_size']") from error
        seen.add(raw)
        return raw


class _BoundedForGreenlets:
    """A pool of ``django_db_geventpool``'s, for one caller who does not wait for ever."""

    def __init__(self, pool: Any, alias: str, seconds: float) -> None:
        self._pool = pool
        self._alias = alias
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def get(self) -> Any:
        """Draw a connection, or open one."""
        from gevent import Timeout  # The pool needs it, and nobody else.

        pool, alias = self._pool, self._alias
        seconds = _worth(alias, self._seconds)
        limit = Timeout(seconds)
        try:
            with limit:
                return pool.get()
        except Timeout as error:
            if error is not limit:
                raise
            # Who does not wait for others waits for the server.
            if seconds >= BRIEF:
                if pool.size < pool.maxsize or pool.pool.qsize():
                    raise OperationalError(f"No connection within {seconds:g} seconds.") from error
                _full_until[alias] = monotonic() + REST
            raise _full(alias, "['MAX_CONNS']") from error


def _is_of_greenlets(pool: Any) -> bool:
    return hasattr(pool, "maxsize") and hasattr(pool, "_conns")


def _worth(alias: str, seconds: float) -> float:
    """Return for how many seconds a pool is waited for by one who would wait so long for the server."""
    return GLANCE if monotonic() < _full_until.get(alias, 0.0) else seconds


def _full(alias: str, option: str) -> FullPoolError:
    return FullPoolError(
        f"All connections of the pool of {alias!r} are in use. Raise DATABASES[{alias!r}]['OPTIONS']{option},"
        " or let fewer requests run at once."
    )


def end_unused(alias: str) -> None:
    """End what a pool holds of a server that cannot be reached, but for what is in use.

    Idle connections, and those that hang in the pool's own check: it has no timeout. The pool itself is
    replaced when its next user comes, as it would take minutes to try whether the server is back.
    """
    pools: dict[str, Any] = getattr(connections[alias], "_connection_pools", {})
    pool: Any = pools.get(alias)
    if not hasattr(pool, "getconn") and not _is_of_greenlets(pool):
        return
    used = {id(connection.connection) for connection in sockets.openers(alias)}
    for raw in [*_seen.pop(alias, ()), *_idle(pool)]:
        if id(raw) not in used:
            sockets.sever(raw)
    if not hasattr(pool, "getconn"):
        return  # It finds out that a connection is dead, and opens another one, as soon as it is asked.
    pools.pop(alias, None)
    with suppress(RuntimeError):  # The system allows no more threads.
        # It waits for the pool's own threads, which may be connecting.
        threading.Thread(target=pool.close, name=f"rwrouter-pool-{alias}", daemon=True).start()


def _idle(pool: Any) -> list[Any]:
    """Return the connections that a pool has in store; of ``django_db_geventpool``'s, all that it made."""
    return list(getattr(pool, "_conns" if _is_of_greenlets(pool) else "_pool"))


def _is_used(alias: str) -> bool:
    """Whether anybody in this process holds a connection to a database."""
    return any(connection.connection is not None for connection in sockets.openers(alias))


def _failures(pool: Any) -> int:
    """Return how often a pool has tried to connect in vain."""
    failures: int = pool.get_stats().get("connections_errors", 0)
    return failures
