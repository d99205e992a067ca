"""Which server a cluster's primary is, so that no replica's session is set up on it by mistake."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import Final

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge

ASK_AGAIN_SECONDS: Final = 10.0
"""For how long a primary that did not say who it is is not asked again."""


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
