"""Waits until a replica has replayed a position."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any, Final

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver, get_product
from django_rwrouter.servers import pools
from django_rwrouter.servers.asking import ask, ask_replica, pass_over
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import is_primary, server_of

MAX_WAITING: Final = 8
"""Requests of a process that may wait for replicas at once; the others read from the primary."""
VAIN_WAITS: Final = 3
"""Consecutive timeouts after which waiting is suspended."""
REST: Final = 20
"""Length of that suspension in multiples of ``WAIT_TIMEOUT``; then one request tries a wait again."""
_SYNC_SLICE: Final = 0.02
"""Seconds to wait for one replica before the next is looked at."""
_waiting = threading.BoundedSemaphore(MAX_WAITING)


_vain: Final[dict[str, tuple[int, float]]] = {}
"""By cluster, how many consecutive waits timed out, and until when (monotonic seconds) nobody waits.

Written without a lock: an inexact count does no harm."""


def reset() -> None:
    """Forget who waits, as in a forked child: the threads that hold the semaphore do not exist there."""
    global _waiting  # noqa: PLW0603
    _waiting = threading.BoundedSemaphore(MAX_WAITING)
    _vain.clear()


process.owns(reset)


def wait(cluster: Cluster, connection: BaseDatabaseWrapper, position: Any) -> bool:
    """Wait until a replica has replayed a position, at most ``WAIT_TIMEOUT``; return whether it has.

    Returns at once if ``MAX_WAITING`` requests wait already, and while waiting is suspended: when replicas
    are seconds late, every read after a write would wait for nothing. Raises ``django.db.Error`` if the
    replica does not answer.
    """
    seconds = cluster.settings.wait_timeout
    vain, rest_until = _vain.get(cluster.name, (0, 0.0))
    if not seconds or monotonic() < rest_until or not _waiting.acquire(blocking=False):
        return False
    try:
        if rest_until:  # While this request tries, waiting stays suspended for the others.
            _vain[cluster.name] = vain, monotonic() + REST * seconds
        there = _wait(cluster, connection, position, seconds)
    finally:
        _waiting.release()
    if there:
        _vain.pop(cluster.name, None)
    else:
        vain = _vain.get(cluster.name, (0, 0.0))[0] + 1
        _vain[cluster.name] = vain, monotonic() + REST * seconds if vain >= VAIN_WAITS else 0.0
    return there


def _wait(cluster: Cluster, connection: BaseDatabaseWrapper, position: Any, seconds: float) -> bool:
    driver = get_driver(connection)
    if driver is None:
        return False
    # A wait longer than the driver's read timeout would look like a dead server.
    patience = connection.settings_dict["OPTIONS"].get("read_timeout")
    if patience:
        seconds = min(seconds, patience / 2)
    try:
        there = ask(connection, lambda cursor: driver.wait(cursor, position, seconds))
    except Error as error:
        if not get_product(connection).errors.is_refusal(error):
            raise
        return False
    # The wait is blind to timelines: the position is only reached if the replica is on the same history.
    ask_replica(cluster, connection)
    return there and knowledge.reached(server_of(connection), position)


def wait_for_all(cluster: Cluster, position: Any) -> bool:
    """Wait, at most ``SYNC_TIMEOUT``, until ``SYNC_REPLICAS`` replicas have replayed a position.

    Return whether they have. A replica that does not answer has not.
    """
    settings = cluster.settings
    unusable = health.unusable()
    pending = [replica.alias for replica in cluster.replicas if not replica.delayed]
    wanted = len(pending) if settings.sync_replicas == "all" else min(settings.sync_replicas, len(pending))
    pending = [alias for alias in pending if alias not in unusable]
    deadline = monotonic() + settings.sync_timeout
    done = 0
    while done < wanted <= done + len(pending):
        if monotonic() >= deadline:
            return False
        for alias in list(pending):
            try:
                there = _has_replayed(cluster, alias, position, deadline - monotonic())
            except AssertionError as error:
                if type(error).__name__ != "DatabaseOperationForbidden":
                    raise
                pending.remove(alias)  # The running test forbids this replica: nobody reads from it.
                wanted = min(wanted, done + len(pending))
            except Error as error:
                pass_over(alias, error)
                pending.remove(alias)
            else:
                if there:
                    pending.remove(alias)
                    done += 1
                    if done >= wanted:
                        break
    return done >= wanted


def _has_replayed(cluster: Cluster, alias: str, position: Any, remaining: float) -> bool:
    """Whether a replica has replayed a position, or is the primary itself."""
    connection = connections[alias]
    if is_primary(connection, connections[cluster.primary]):
        return True
    connection.close_if_health_check_failed()
    pools.connect(connection, remaining)
    return _wait(cluster, connection, position, min(_SYNC_SLICE, max(remaining, 0.001)))
