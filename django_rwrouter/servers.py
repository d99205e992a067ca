"""Asking servers where they stand: single statements on the driver's own cursor, which nobody else sees."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from time import monotonic
from typing import Any, Final, NamedTuple

from django.db import Error, InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import events, process, stats
from django_rwrouter.driver_errors import is_refusal, loss
from django_rwrouter.health import health
from django_rwrouter.hooks import is_test_mirror
from django_rwrouter.knowledge import knowledge, server_of, set_server
from django_rwrouter.load import load_of
from django_rwrouter.positions import Driver, get_driver
from django_rwrouter.state import ClusterScope, ThreadConnections, this_thread
from django_rwrouter.topology import Cluster

logger = logging.getLogger("django_rwrouter")

MAX_WAITING: Final = 8
"""How many requests of a process may wait for replicas at once; the others read from the primary."""
VAIN_WAITS: Final = 3
"""After so many waits in vain, and none that helped between them, waiting has a rest."""
REST: Final = 20
"""For so many times ``WAIT_TIMEOUT`` nobody waits then; after that, one tries whether it helps again."""
ASK_AGAIN_SECONDS: Final = 1.0
"""A replica that was found to lag is left in peace for so long by those that need no position."""
_SYNC_SLICE: Final = 0.02
"""Seconds that one replica is waited for before the next is looked at."""
_waiting = threading.BoundedSemaphore(MAX_WAITING)


class _VainWaits(NamedTuple):
    """The last waits for a cluster's replicas, of which none helped."""

    waits: int
    rest_until: float
    """Monotonic seconds."""


_NONE_IN_VAIN: Final = _VainWaits(0, 0.0)
_vain: Final[dict[str, _VainWaits]] = {}
"""By cluster. Written without a lock: a wait more or less that is counted does no harm."""


def reset() -> None:
    """Let nobody wait, as in a forked child: the threads that waited are not there."""
    global _waiting  # noqa: PLW0603
    _waiting = threading.BoundedSemaphore(MAX_WAITING)
    _vain.clear()


process.owns(reset)


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


def is_primary(connection: BaseDatabaseWrapper, primary: BaseDatabaseWrapper) -> bool:
    """Whether an alias is another name of the primary, as in a test run or on a developer's machine.

    Not by the address alone: a proxy may tell primary and replicas apart by the user, and PostgreSQL's
    library by ``target_session_attrs``.
    """
    own, target = connection.settings_dict, primary.settings_dict
    same = all(own[key] == target[key] for key in ("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS"))
    return same or is_test_mirror(connection)


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


def asked_lately(ours: ThreadConnections, alias: str) -> bool:
    """Whether a replica has said within a second where it stands."""
    server = server_of(ours.opened[alias]) if alias in ours.opened else knowledge.last_server(alias)
    return knowledge.age(server) < ASK_AGAIN_SECONDS


def _is_another_name(ours: ThreadConnections, alias: str) -> bool:
    """Whether an alias is another name of the primary; looked at once in a scope."""
    known = ours.same_as_primary.get(alias)
    if known is None:
        known = ours.same_as_primary[alias] = is_primary(connections[alias], ours.primary)
    return known


def is_new(connection: BaseDatabaseWrapper) -> bool:
    """Whether nobody has asked yet which server a connection has reached."""
    return server_of(connection) is None


def ask_primary(cluster: Cluster, connection: BaseDatabaseWrapper, *, at_most_old: float = 0.0) -> Any:
    """Return the primary's position, or ``None`` if it has none to give or cannot be asked.

    It covers what was committed, by whomever; inside a transaction that is not what the transaction wrote.
    ``at_most_old`` accepts an answer that was given so many seconds ago.
    """
    if at_most_old and (known := knowledge.recent_primary(cluster.name, at_most_old)) is not None:
        return known
    if connection.connection is None and health.is_away(cluster.name):
        return None  # One who waits in vain to connect is enough. An open connection may still do.
    began = monotonic()
    try:
        connection.ensure_connection()
        driver = get_driver(connection)
        if driver is None:
            return None
        with _cursor(connection) as cursor:
            position = driver.read_primary(cursor)
    except Error as error:
        if is_refusal(error, connection.vendor):
            health.found_primary(cluster.name)
            learn_refusal(cluster, connection.alias, events.why(error), began)
            return None
        stats.count_event("position_unknown", cluster.name)
        logger.warning(
            "The primary %r could not be asked where it stands (%s).",
            connection.alias,
            events.why(error),
            extra={"alias": connection.alias, "cluster": cluster.name},
        )
        note_lost_primary(cluster, error)
        _close_if_lost(connection, error)
        return None
    health.found_primary(cluster.name)
    knowledge.learn_primary(cluster.name, position, began)
    return position


def _close_if_lost(connection: BaseDatabaseWrapper, error: Error) -> None:
    """Close a connection that an error says is lost, so that whoever uses it next opens a new one."""
    closed = bool(getattr(connection.connection, "closed", False))
    in_transaction = connection.in_atomic_block or not connection.autocommit
    if not in_transaction and loss(error, connection.vendor, closed=closed) is not None:
        with suppress(Error):
            connection.close()


def note_lost_primary(cluster: Cluster, error: Error) -> None:
    """Take the primary for away for a while, if an error says so and no monitor looks after it."""
    # Not in a transaction that has failed before: then it answers, and says so.
    if isinstance(error, (OperationalError, InterfaceError)) and not health.watched:
        health.lost_primary(cluster.name)


def ask_replica(cluster: Cluster, connection: BaseDatabaseWrapper) -> None:
    """Learn which server a replica's open connection has reached, and where that stands.

    One that refuses to say is as one that has no position. Raises ``django.db.Error`` if it does not answer.
    """
    driver = get_driver(connection)
    if driver is None:
        return
    began = monotonic()
    try:
        with _cursor(connection) as cursor:
            reading = driver.read_replica(cursor)
    except Error as error:
        if not is_refusal(error, connection.vendor):
            raise
        learn_refusal(cluster, connection.alias, events.why(error), began)
        return
    position = reading.position
    if reading.tentative and position is not None:
        # It does not say which history its position belongs to. If the primary's has not changed, it is that.
        position = _placed(cluster, driver, position)
    learn(cluster, connection.alias, reading.server, position, began)
    set_server(connection, reading.server)


def learn(cluster: Cluster, alias: str, server: str, position: Any, began: float) -> None:
    """Take in what a replica said of itself, in answer to a question that was asked at ``began``."""
    knowledge.learn_replica(alias, server, position, began)
    load_of(alias).fresh_at = monotonic() - knowledge.staleness(cluster.name, server)


def learn_refusal(cluster: Cluster, alias: str, why: str, began: float) -> None:
    """Take in that a server answers and refuses to say where it stands, and log it if that is new."""
    if alias == cluster.primary:
        is_new_refusal = not knowledge.lacks_position(cluster.name)
        knowledge.learn_primary(cluster.name, None, began)
    else:
        is_new_refusal = not knowledge.refuses(alias)
        knowledge.learn_refusal(alias, began)
    if is_new_refusal:
        logger.warning(
            "%r refuses to say where it stands (%s). What needs to know goes without: `manage.py rwrouter"
            " doctor` tells what is missing.",
            alias,
            why,
            extra={"alias": alias, "cluster": cluster.name},
        )


def pass_over(alias: str, error: Error) -> None:
    """Leave a replica alone for a while, and say so."""
    reason = events.why(error)
    if health.failed(alias, reason):
        knowledge.forget(alias)  # What it was known to have says nothing of what it has when it returns.
        events.replica_ejected(alias, reason)


def wait(cluster: Cluster, connection: BaseDatabaseWrapper, position: Any) -> bool:
    """Wait until a replica has replayed a position, at most ``WAIT_TIMEOUT``; tell whether it has.

    Not if enough others wait already, nor if it has not helped lately: while replicas are seconds late, every
    read of a client that wrote would wait, for nothing. Raises ``django.db.Error`` if it does not answer.
    """
    seconds = cluster.settings.wait_timeout
    vain, rest_until = _vain.get(cluster.name, _NONE_IN_VAIN)
    if not seconds or monotonic() < rest_until or not _waiting.acquire(blocking=False):
        return False
    try:
        if rest_until:  # While this one tries, the others rest.
            _vain[cluster.name] = _VainWaits(vain, monotonic() + REST * seconds)
        there = _wait(cluster, connection, position, seconds)
    finally:
        _waiting.release()
    if there:
        _vain.pop(cluster.name, None)
    else:
        vain = _vain.get(cluster.name, _NONE_IN_VAIN).waits + 1
        _vain[cluster.name] = _VainWaits(vain, monotonic() + REST * seconds if vain >= VAIN_WAITS else 0.0)
    return there


def _wait(cluster: Cluster, connection: BaseDatabaseWrapper, position: Any, seconds: float) -> bool:
    driver = get_driver(connection)
    if driver is None:
        return False
    # A wait that lasts longer than the driver listens looks like a dead server.
    patience = connection.settings_dict["OPTIONS"].get("read_timeout")
    if patience:
        seconds = min(seconds, patience / 2)
    try:
        with _cursor(connection) as cursor:
            there = driver.wait(cursor, position, seconds)
    except Error as error:
        if not is_refusal(error, connection.vendor):
            raise
        return False
    # The answer is true of the history that the server follows; which one that is, it says only when asked.
    ask_replica(cluster, connection)
    return there and knowledge.reached(server_of(connection), position)


def wait_for_all(cluster: Cluster, position: Any) -> bool:
    """Wait until as many replicas as ``SYNC_REPLICAS`` says have replayed a position.

    At most ``SYNC_TIMEOUT``; tells whether they have. A replica that does not answer has not.
    """
    settings = cluster.settings
    unusable = health.unusable()
    pending = [replica.alias for replica in cluster.replicas]
    wanted = len(pending) if settings.sync_replicas == "all" else min(settings.sync_replicas, len(pending))
    pending = [alias for alias in pending if alias not in unusable]
    deadline = monotonic() + settings.sync_timeout
    done = 0
    while done < wanted <= done + len(pending):
        remaining = deadline - monotonic()
        if remaining <= 0:
            return False
        for alias in list(pending):
            try:
                connection = connections[alias]
                if is_primary(connection, connections[cluster.primary]):
                    pending.remove(alias)
                    done += 1
                    continue
                connection.close_if_health_check_failed()
                connection.ensure_connection()
                there = _wait(cluster, connection, position, min(_SYNC_SLICE, max(remaining, 0.001)))
            except AssertionError as error:
                if type(error).__name__ != "DatabaseOperationForbidden":
                    raise
                pending.remove(alias)  # The running test keeps this replica from us: nobody reads from it.
                wanted = min(wanted, done + len(pending))
                continue
            except Error as error:
                pass_over(alias, error)
                pending.remove(alias)
                continue
            if there:
                pending.remove(alias)
                done += 1
                if done >= wanted:
                    break
            remaining = deadline - monotonic()
    return done >= wanted


def _placed(cluster: Cluster, driver: Driver, position: Any) -> Any:
    primary = connections[cluster.primary]
    # Not an old answer: the primary must have been on its history after the replica has answered.
    return driver.place(position, ask_primary(cluster, primary))


@contextmanager
def _cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open a cursor that users' wrappers, logs and ``assertNumQueries`` do not see."""
    connection.validate_thread_sharing()
    with (
        connection.wrap_database_errors,
        load_of(connection.alias).waiting(connection),
        closing(connection.connection.cursor()) as cursor,
    ):
        yield cursor
