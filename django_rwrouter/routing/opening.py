"""Opens the connection that a read will use, before Django does."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from django.db import Error

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.events import emit
from django_rwrouter.servers import asking, pools, wrapper_installation
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import registered

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Opening(Enum):
    """How opening a replica's connection went."""

    OPENED = "opened"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    """The running test has not declared that it uses this database."""


def open_primary(cluster: Cluster, connection: BaseDatabaseWrapper) -> bool:
    """Open the primary's connection for a read that need not go there; return whether that could be done.

    As in :func:`open_replica`: Django would do the same a moment later, where nobody can catch it.
    """
    try:
        if getattr(connection.connection, "closed", False) and not connection.in_atomic_block:
            connection.close()  # The driver found it lost when it was last used, and Django does not know.
        with registered(connection):
            connection.close_if_health_check_failed()
            pools.connect(connection)
    except Error as error:
        asking.note_lost_primary(cluster, error)
        return False
    return True


def ping(connection: BaseDatabaseWrapper) -> bool:
    """Ping an open connection if ``CONN_HEALTH_CHECKS`` wants it now; return whether it is still open.

    Django does so once in a request, before it uses the connection.
    """
    checked: Any = connection
    if checked.health_check_done or not checked.health_check_enabled:
        return True
    try:
        with registered(connection):  # The ping of a frozen server may last for ever.
            connection.close_if_health_check_failed()
    except Error as error:
        asking.pass_over(connection.alias, error)
        return False
    return connection.connection is not None


def open_replica(connection: BaseDatabaseWrapper) -> Opening:
    """Open a replica's connection, or make sure that the open one still works.

    This has to happen before Django uses it: a dead server fails in ``connect()``, or in the ping of
    ``CONN_HEALTH_CHECKS``, and neither is seen by an execute wrapper. Bounded by the timeouts in the
    database's ``OPTIONS``, and for a pool by the monitor's ``TIMEOUT``.
    """
    alias = wrapper_installation.install(connection).alias
    if is_forbidden(connection):
        return Opening.FORBIDDEN
    if not health.all_well and not health.begin_trial(alias):
        return Opening.FAILED
    try:
        if connection.connection is not None:
            ping(connection)
            if not health.all_well and health.is_ejected(alias) and health.watched:
                return Opening.FAILED
        if connection.connection is None:
            # The read can go elsewhere, so a pool is not worth waiting for longer than a server.
            pools.connect(connection, get_settings().monitor.timeout)
        if not health.all_well and health.is_ejected(alias):
            _take_back(connection)
    except AssertionError as error:
        if type(error).__name__ == "DatabaseOperationForbidden":  # In other threads, Django tells only here.
            return Opening.FORBIDDEN
        raise
    except Error as error:
        asking.pass_over(alias, error)
        return Opening.FAILED
    # It is none where a test of the site's has replaced what connects.
    return Opening.FAILED if connection.connection is None else Opening.OPENED


def _take_back(connection: BaseDatabaseWrapper) -> None:
    """Take back a replica whose trial has opened a connection.

    Restarted, thawed and restored servers answer with the past: it has to say where it stands now.
    """
    alias = connection.alias
    asking.ask_replica(get_topology().by_alias[alias], connection)
    seconds = health.works(alias)
    if seconds is not None:
        emit.replica_restored(alias, seconds)


def is_forbidden(connection: BaseDatabaseWrapper) -> bool:
    """Whether Django's test case has disarmed the connection, as it does for all but ``databases``."""
    own = connection.__dict__
    return "cursor" in own and type(own["cursor"]).__name__ == "_DatabaseFailure"
