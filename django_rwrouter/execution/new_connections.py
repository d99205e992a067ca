"""Prepares a connection that has just been opened: statement hook, and a read-only session on a replica."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases import get_product
from django_rwrouter.databases.base import Product
from django_rwrouter.routing.pending_read import note_new_connection
from django_rwrouter.servers import sockets
from django_rwrouter.servers.identity import is_primary, is_test_mirror, primary_server, set_server
from django_rwrouter.servers.in_flight import registered
from django_rwrouter.servers.wrapper_installation import install


def prepare(*, connection: BaseDatabaseWrapper, **_kwargs: object) -> None:
    """Prepare a connection of ours that has just been opened (receiver of ``connection_created``).

    A replica's session, also under a second alias, becomes read-only on the server: ``read_only`` on a server
    does not stop a privileged user, and one write there stops replication, or makes the replica differ for
    good. Not where the alias leads to the primary itself: a pooler may give that session to others, who
    write.
    """
    topology = get_topology()
    cluster = topology.by_alias.get(connection.alias)
    if cluster is not None:
        install(connection)
        sockets.note_opened(connection)
        # A new connection may have reached another server.
        set_server(connection, None)
        note_new_connection(cluster, connection)
    else:
        cluster = topology.mirrors.get(connection.alias)
        if cluster is None or is_primary(connection, connections[cluster.primary]):
            return
    if connection.alias == cluster.primary or not cluster.settings.read_only_sessions:
        return
    if is_test_mirror(connection):
        return
    product = get_product(connection)
    statement = product.read_only_statement(partial(primary_server, cluster))
    if not statement:
        return
    try:
        _make_read_only(connection, product, statement)
    except BaseException as error:
        if product.errors.is_unsupported(error):
            return  # Each read will say so, and move on.
        connection.close()  # Never leave a replica's connection open that can be written to.
        raise


def _make_read_only(connection: BaseDatabaseWrapper, product: Product, statement: Sequence[Any]) -> None:
    try:
        _run(connection, *statement)
    except Error as error:
        if not (product.supported_isolation and product.errors.is_unsupported(error)):
            raise
        if not connection.autocommit:
            connection.connection.rollback()
        _run(connection, product.supported_isolation)
        _run(connection, *statement)


def _run(connection: BaseDatabaseWrapper, *statement: Any) -> None:
    with (
        connection.wrap_database_errors,
        registered(connection),
        closing(connection.connection.cursor()) as cursor,
    ):
        cursor.execute(*statement)
        if not connection.autocommit:
            connection.connection.commit()  # PostgreSQL would undo the setting on a rollback.
