"""Connections that are drawn from a pool in this process.

Either psycopg's pool, as Django uses it, or that of ``django_db_geventpool``, which waits without a limit.
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
"""Seconds that a caller waits for a pool that was full a moment ago."""
REST: Final = 1.0
"""Seconds for which a pool counts as full after a wait has timed out; otherwise each query of a page would
wait for it."""
BRIEF: Final = 0.2
"""Seconds. A shorter wait says nothing about the server, as opening a connection may take longer."""
_PSYCOPG_FULL: Final = frozenset({"PoolTimeout", "TooManyRequests"})
_full_until: Final[dict[str, float]] = {}
"""By alias, monotonic seconds."""
_seen: Final[dict[str, WeakSet[Any]]] = {}
"""By alias, the driver connections that were seen in a pool or drawn from it."""


class FullPoolError(OperationalError):
    """All connections of a pool are in use, which says nothing about the server."""


def reset() -> None:
    """Forget which pools are full and what they held."""
    _full_until.clear()
    _seen.clear()


process.owns(reset)


def connect(connection: BaseDatabaseWrapper, seconds: float | None = None) -> None:
    """Open a connection; wait for a pool at most ``seconds`` (``None``: as long as the pool is set to).

    Raises :class:`FullPoolError` if the pool is full, which is no fault of the server. Other users of the
    pool keep their own timeout.
    """
    pool = getattr(connection, "pool", None)
    if pool is None:
        connection.ensure_connection()
        return
    # Django looks the pool up there; this wrapper alone sees the bounded one.
    bounded = _Bounded(pool, connection.alias, seconds)
    if hasattr(pool, "getconn"):
        vars(connection)["_connection_pools"] = {connection.alias: bounded}
    elif seconds is not None and _is_of_greenlets(pool):
        vars(connection)["_pool"] = bounded
    try:
        connection.ensure_connection()
    finally:
        vars(connection).pop("_connection_pools", None)
        if vars(connection).get("_pool") is bounded:
            vars(connection)["_pool"] = pool


class _Bounded:
    """A pool with a shorter timeout for one caller: psycopg's, or that of ``django_db_geventpool``."""

    def __init__(self, pool: Any, alias: str, seconds: float | None) -> None:
        self._pool = pool
        self._alias = alias
        if seconds is not None and monotonic() < _full_until.get(alias, 0.0):
            seconds = GLANCE
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def getconn(self) -> Any:
        """Draw a connection from psycopg's pool."""
        pool, alias = self._pool, self._alias
        timeout = pool.timeout if self._seconds is None else min(pool.timeout, self._seconds)
        was_used, failures = _is_used(alias), _failures(pool)
        seen = _seen.setdefault(alias, WeakSet())
        seen.update(_idle(pool))  # The pool is about to check one of them, without a timeout.
        try:
            raw = pool.getconn(timeout=timeout)
        except Exception as error:
            if type(error).__name__ not in _PSYCOPG_FULL:
                raise
            # If nobody uses the pool, or it fails to connect, the wait was for the server, not for a place.
            if timeout >= BRIEF:
                if _failures(pool) > failures or not (was_used or _is_used(alias)):
                    raise
                _full_until[alias] = monotonic() + REST
            raise _full(alias, "['pool']['max_size']") from error
        seen.add(raw)
        return raw

    def get(self) -> Any:
        """Draw a connection from ``django_db_geventpool``'s pool, or have it open one."""
        from gevent import Timeout  # Installed wherever this pool is used.

        pool, alias, seconds = self._pool, self._alias, self._seconds
        limit = Timeout(seconds)
        try:
            with limit:
                return pool.get()
        except Timeout as error:
            if error is not limit or seconds is None:
                raise
            # If the pool has room, the wait was for the server, not for a place.
            if seconds >= BRIEF:
                if pool.size < pool.maxsize or pool.pool.qsize():
                    raise OperationalError(f"No connection within {seconds:g} seconds.") from error
                _full_until[alias] = monotonic() + REST
            raise _full(alias, "['MAX_CONNS']") from error


def _is_of_greenlets(pool: Any) -> bool:
    return hasattr(pool, "maxsize") and hasattr(pool, "_conns")


def _full(alias: str, option: str) -> FullPoolError:
    return FullPoolError(
        f"All connections of the pool of {alias!r} are in use. Raise DATABASES[{alias!r}]['OPTIONS']{option},"
        " or let fewer requests run at once."
    )


def end_unused(alias: str) -> None:
    """Shut the pooled connections to an unreachable server that nobody uses.

    These are idle, or hang in the pool's own check, which has no timeout. psycopg's pool itself is dropped,
    and its next user opens a new one: the old one would take minutes to try the server again.
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
        return  # This pool replaces a dead connection as soon as it is drawn.
    pools.pop(alias, None)
    with suppress(RuntimeError):  # The system allows no more threads.
        # close() waits for the pool's own threads, which may be connecting.
        threading.Thread(target=pool.close, name=f"rwrouter-pool-{alias}", daemon=True).start()


def _idle(pool: Any) -> list[Any]:
    """Return a pool's idle connections; of ``django_db_geventpool``'s, all that it has opened."""
    return list(getattr(pool, "_conns" if _is_of_greenlets(pool) else "_pool"))


def _is_used(alias: str) -> bool:
    """Whether anybody in this process holds a connection to a database."""
    return any(connection.connection is not None for connection in sockets.openers(alias))


def _failures(pool: Any) -> int:
    """Return how often a pool has failed to connect."""
    return int(pool.get_stats().get("connections_errors", 0))
