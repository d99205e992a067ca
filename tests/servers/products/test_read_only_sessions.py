"""Which sessions are read-only: those on a replica, whatever leads there, and none on the primary."""

from contextlib import closing

import pytest
from django.db import DatabaseError, connections

from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.servers.freshness import knowledge
from launcher.tcp_proxy import TcpProxy
from tests.app.models import Book
from tests.servers.products.conftest import lead_to


def is_read_only(connection):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SHOW default_transaction_read_only")
            return cursor.fetchone() == ("on",)
        cursor.execute(
            "SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')"
        )
        return cursor.fetchall()[0][1] == "ON"


def test_a_replicas_session(cluster):
    assert is_read_only(connections["replica1"])
    assert not is_read_only(connections["default"])
    with pytest.raises(DatabaseError):
        Book.objects.using("replica1").create(title="refused")


@pytest.mark.parametrize("another_address", [False, True], ids=["same address", "another address"])
def test_a_replica_that_is_the_primary_under_another_name(cluster, another_address):
    """A pooler would hand the session to whoever writes next."""
    lead_to("replica1", cluster.primary)
    with TcpProxy(cluster.primary.port) as proxy:
        if another_address:
            connections.settings["replica1"]["PORT"] = str(proxy.port)
        assert not is_read_only(connections["replica1"])
        Book.objects.using("replica1").create(title="written")
        connections["replica1"].close()
    assert Book.objects.filter(title="written").exists()


def test_while_the_primary_is_away(cluster):
    """What is not known to be the primary is treated as a replica."""
    cluster.primary.freeze()
    try:
        assert is_read_only(connections["replica1"])
    finally:
        cluster.primary.thaw()


def test_which_server_the_primary_is_is_asked_once(cluster, monkeypatch):
    if connections["default"].vendor == "postgresql":
        pytest.skip("not for this product, whose standby says itself that it is one")
    asked = []

    def asking(*args):
        asked.append(args)
        return own_connection(*args)

    monkeypatch.setattr("django_rwrouter.servers.identity.own_connection", asking)
    for _ in range(3):
        for alias in ("replica1", "replica2"):
            connections[alias].close()
            assert is_read_only(connections[alias])
    assert len(asked) == 1
    server, is_known = knowledge.primary_server("default")
    assert is_known
    with closing(own_connection("replica1")) as connection:
        assert is_read_only(connection)
        assert server
