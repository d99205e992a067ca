"""Which server a connection has reached, and which one is a cluster's primary."""

from __future__ import annotations

from contextlib import closing, suppress
from operator import itemgetter
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health

ASK_AGAIN_SECONDS: Final = 10.0
"""For how long a primary that did not say who it is is not asked again."""
_ADDRESS: Final = itemgetter("ENGINE", "NAME", "HOST", "PORT")
_LOGIN: Final = itemgetter("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS")


def is_primary(connection: BaseDatabaseWrapper, primary: BaseDatabaseWrapper) -> bool:
    """Whether an alias is another name of the primary, as in a test run or on a developer's machine.

    Not by the address alone: a proxy may tell primary and replicas apart by the user, and PostgreSQL's
    library by ``target_session_attrs``.
    """
    return _LOGIN(connection.settings_dict) == _LOGIN(primary.settings_dict) or is_test_mirror(connection)


def is_test_mirror(connection: BaseDatabaseWrapper) -> bool:
    """Whether a replica's connection has been pointed at the primary itself by the running tests."""
    settings = connection.settings_dict
    mirrored = settings["TEST"].get("MIRROR")
    return bool(
        mirrored
        and process.in_test_environment()
        and _ADDRESS(settings) == _ADDRESS(connections[mirrored].settings_dict)
    )


def server_of(connection: Any) -> str | None:
    """Return the server that a connection has reached, if it was asked."""
    try:
        server: str | None = connection._rwrouter_server  # noqa: SLF001  (no call, on the path of every read)
    except AttributeError:
        return None
    return server


def set_server(connection: Any, server: str | None) -> None:
    """Note the server that a connection has reached; ``None`` for a new one, which nobody has asked."""
    connection._rwrouter_server = server  # noqa: SLF001


def primary_server(cluster: Cluster) -> str | None:
    """Return which server the primary is; ``None`` if that is not known, and it does not say now.

    The monitor learns it in each round. Without one, a private connection asks once a minute: the thread's
    own may be in a transaction, or not be wanted at all. Never raises.
    """
    server, is_known = knowledge.primary_server(cluster.name)
    if is_known or health.is_away(cluster.name):
        return server
    knowledge.learn_primary_server(cluster.name, None, ASK_AGAIN_SECONDS)
    timeout = get_settings().monitor.timeout
    with suppress(Exception), silenced(), closing(own_connection(cluster.primary, timeout)) as connection:
        connection.ensure_connection()
        driver = get_driver(connection)
        if driver is not None:
            with closing(connection.connection.cursor()) as cursor:
                server = driver.describe_primary(cursor).server
            knowledge.learn_primary_server(cluster.name, server)
    return server
