"""Another server becomes the primary behind the same address: whoever talks to the old one finds it."""

import logging

import pytest
from django.db import DatabaseError, connections, transaction

from django_rwrouter import ReplicaWriteError, routing_scope
from launcher.tcp_proxy import TcpProxy
from tests.app.models import Book


@pytest.fixture
def address(request):
    """The address of the primary of the test's cluster: a proxy that is told where it leads to."""
    cluster = request.getfixturevalue("fresh" if "fresh" in request.fixturenames else "cluster")
    connections.close_all()
    with TcpProxy(cluster.primary.port) as proxy:
        connections.settings["default"]["PORT"] = str(proxy.port)
        yield proxy
        connections.close_all()


def promote(cluster, address):
    """Make the first replica the primary; the address still leads to the old one, which is a replica now."""
    former = cluster.primary
    cluster.promote(cluster.replicas[0])
    if connections["default"].vendor == "mysql":
        former.sql("SET GLOBAL read_only = ON")
    else:  # For that it has to be started anew.
        connections["default"].close()
        cluster.rejoin(former)
        Book.objects.count()
    address.switch(cluster.primary.port)


def test_the_next_connection_reaches_the_new_primary(fresh, address, caplog):
    with routing_scope():
        Book.objects.create(title="before")
        promote(fresh, address)
        with pytest.raises(DatabaseError) as caught:
            Book.objects.create(title="refused")
        # It is the driver's own error: nothing here says that a replica was written to.
        assert not isinstance(caught.value, ReplicaWriteError)
        Book.objects.create(title="after")
    assert Book.objects.filter(title="after").exists()
    [record] = [record for record in caplog.records if record.name == "django_rwrouter"]
    assert record.levelno == logging.WARNING
    assert record.alias == "default"
    assert str(address.port) not in record.getMessage()


def test_inside_a_transaction_it_is_closed_at_the_end(fresh, address):
    with routing_scope():
        Book.objects.count()
        promote(fresh, address)
        with pytest.raises(DatabaseError), transaction.atomic():
            Book.objects.create(title="refused")
        with transaction.atomic():
            Book.objects.create(title="after")
    assert not Book.objects.filter(title="refused").exists()


def test_inside_nested_transactions_the_error_is_the_refusal(fresh, address):
    """And code that catches it goes on as it would without the router."""
    with routing_scope():
        Book.objects.count()
        promote(fresh, address)
        for write in (
            lambda: Book.objects.create(title="refused"),
            lambda: Book.objects.update(title="refused"),
            lambda: Book.objects.all().delete(),
        ):
            # The first connection leads to the former primary, and so do the next ones.
            address.switch(fresh.replicas[-1].port)
            connections["default"].close()
            with transaction.atomic():
                with pytest.raises(DatabaseError) as caught, transaction.atomic():
                    write()
                assert Book.objects.using("default").filter(title="old").exists()
            assert "read-only" in str(caught.value) or "read only" in str(caught.value)
            assert connections["default"].connection is None
        address.switch(fresh.primary.port)
        with transaction.atomic():
            Book.objects.create(title="after")
    assert Book.objects.using("default").filter(title="after").exists()


def test_a_server_that_was_made_read_only_while_it_runs(cluster, address):
    """Its own sessions stay open, and new ones are refused writes as well."""

    def read_only(value):
        if connections["default"].vendor == "mysql":
            cluster.primary.sql(f"SET GLOBAL read_only = {value}")
        else:
            cluster.primary.configure(default_transaction_read_only=value)

    with routing_scope():
        Book.objects.count()
        read_only("on")
        try:
            for _ in range(2):
                with pytest.raises(DatabaseError):
                    Book.objects.create(title="refused")
                assert connections["default"].connection is None
        finally:
            read_only("off")
        Book.objects.create(title="after")


def test_a_session_that_the_code_itself_made_read_only(cluster, address):
    """The server is well. A new session could write, which the code did not want."""
    with routing_scope():
        Book.objects.count()
        before = connections["default"].connection
        with connections["default"].cursor() as cursor:
            mysql = connections["default"].vendor == "mysql"
            session = "SESSION" if mysql else "SESSION CHARACTERISTICS AS"
            cursor.execute(f"SET {session} TRANSACTION READ ONLY")
        for _ in range(2):
            with pytest.raises(DatabaseError):
                Book.objects.create(title="refused")
        with pytest.raises(DatabaseError), transaction.atomic():
            Book.objects.create(title="refused")
        assert connections["default"].connection is before
