"""Queries servers for their positions, on the driver's own cursor, which no execute wrapper sees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver, get_product, what_is_refused
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.servers import pools
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import set_server
from django_rwrouter.servers.in_flight import registered
from django_rwrouter.servers.pools import FullPoolError

logger = logging.getLogger("django_rwrouter")
T = TypeVar("T")


def ask_primary(cluster: Cluster, connection: BaseDatabaseWrapper, *, at_most_old: float = 0.0) -> Any:
    """Return the primary's position, or ``None`` if the primary has none or cannot be asked.

    The position covers everything committed by then, in any session of that server; it does not cover what an
    open transaction has written. Each thread asks on its own connection, which has written: after a failover,
    another's may still reach the old primary. ``at_most_old`` accepts a position that is up to so many
    seconds old.
    """
    if at_most_old and (recent := knowledge.recent_primary(cluster.name, at_most_old)) is not None:
        return recent
    if connection.connection is None and health.is_away(cluster.name):
        return None  # A new connection would time out, too. An open one may still work.
    began = monotonic()
    try:
        if connection.connection is None:
            pools.connect(connection)
        driver = get_driver(connection)
        if driver is None:
            return None
        position = ask(connection, driver.read_primary)
    except Error as error:
        if get_product(connection).errors.is_refusal(error):
            health.found_primary(cluster.name)
            learn_refusal(cluster, connection.alias, what_is_refused(error), began)
            return None
        emit.event(EventKind.POSITION_UNKNOWN, cluster.name, alias=connection.alias, why=emit.why(error))
        note_lost_primary(cluster, error)
        _close_if_lost(connection, error)
        return None
    health.found_primary(cluster.name)
    knowledge.learn_primary(cluster.name, position, began)
    return position


def _close_if_lost(connection: BaseDatabaseWrapper, error: Error) -> None:
    """Close a connection that was lost, so that its next use opens a new one."""
    closed = bool(getattr(connection.connection, "closed", False))
    in_transaction = connection.in_atomic_block or not connection.autocommit
    if not in_transaction and get_product(connection).errors.loss(error, closed=closed) is not None:
        with suppress(Error):
            connection.close()


def note_lost_primary(cluster: Cluster, error: Error) -> None:
    """Mark the primary as away for a while, unless the monitor decides that or the error says otherwise."""
    if isinstance(error, FullPoolError):
        return
    # A statement in a failed transaction raises another class of error: that is an answer.
    if isinstance(error, (OperationalError, InterfaceError)) and not health.watched:
        health.lost_primary(cluster.name)


def ask_replica(cluster: Cluster, connection: BaseDatabaseWrapper) -> None:
    """Record which server a replica's open connection leads to, and that server's position.

    A server that refuses to tell its position is treated as one that has none. Raises ``django.db.Error`` if
    it does not answer.
    """
    driver = get_driver(connection)
    if driver is None:
        return
    began = monotonic()
    try:
        reading = ask(connection, driver.read_replica)
    except Error as error:
        if not get_product(connection).errors.is_refusal(error):
            raise
        learn_refusal(cluster, connection.alias, what_is_refused(error), began)
        return
    position = reading.position
    if reading.tentative and position is not None:
        # The answer does not name the position's history: it is the primary's, if that has not changed. Never
        # a remembered position: the primary must be on its history after the replica has answered.
        position = driver.place(position, ask_primary(cluster, connections[cluster.primary]))
    knowledge.learn_replica(connection.alias, reading.server, position, began)
    set_server(connection, reading.server)


def learn_refusal(cluster: Cluster, alias: str, refused: str, began: float) -> None:
    """Record that a server answers but refuses to tell its position; log the first time."""
    if alias == cluster.primary:
        is_new_refusal = not knowledge.lacks_position(cluster.name)
        knowledge.learn_primary(cluster.name, None, began)
    else:
        is_new_refusal = not knowledge.refuses(alias)
        knowledge.learn_refusal(alias, began)
    if is_new_refusal:
        logger.warning(
            "%r refuses to tell its position (%s), and levels that need it fall back:"
            " `manage.py rwrouter doctor` names the missing grant.",
            alias,
            refused,
            extra={"alias": alias, "cluster": cluster.name},
        )


def pass_over(alias: str, error: Error) -> None:
    """Eject a replica because of an error, unless the error only says that the connection pool is full."""
    if isinstance(error, FullPoolError):
        return
    trip(alias, emit.why(error))


def trip(alias: str, why: str, *, pause: float = POLICY.first_pause) -> bool:
    """Open a replica's circuit breaker, at first for ``pause`` seconds; return whether it was closed.

    The only place that ejects a replica: it also forgets the replica's measurements and emits the event.
    """
    if not health.failed(alias, why, pause=pause):
        return False
    knowledge.forget(alias)  # The server that comes back may be a restored, older copy.
    emit.replica_ejected(alias, why)
    return True


def ask(connection: BaseDatabaseWrapper, question: Callable[[Any], T]) -> T:
    """Ask on a cursor that execute wrappers, query logs and ``assertNumQueries`` do not see."""
    connection.validate_thread_sharing()
    with connection.wrap_database_errors, registered(connection):
        cursor = connection.connection.cursor()
        try:
            return question(cursor)
        finally:
            cursor.close()
