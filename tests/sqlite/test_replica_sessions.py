"""What was set on the primary's session is set on a replica's before that answers."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, transaction

from django_rwrouter import routing_scope, use_replica
from tests.app.models import Author, Book

PATH = f"{__name__}.follow"
BUSY_TIMEOUT = "PRAGMA busy_timeout"
"""Stands for a search path: state of the session that SQLite has, too."""

calls = []


def state_of(one):
    with one.cursor() as cursor:
        cursor.execute(BUSY_TIMEOUT)
        return cursor.fetchone()[0]


def set_on_primary(milliseconds):
    with connection.cursor() as cursor:
        cursor.execute(f"{BUSY_TIMEOUT} = {milliseconds}")


def follow(primary, replica):
    calls.append(replica.alias)
    with replica.cursor() as cursor:
        cursor.execute(f"{BUSY_TIMEOUT} = {state_of(primary)}")


def fail(primary, replica):
    raise RuntimeError("The tenant is not known.")


@pytest.fixture
def following(databases, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "REPLICA_SESSION": PATH}
    calls.clear()
    yield
    connections.close_all()


def read():
    """Read from the replica; return what its session says then."""
    with use_replica():
        Book.objects.count()
    driver = connections["replica1"].connection
    return driver.execute(BUSY_TIMEOUT).fetchone()[0]


def test_before_a_replica_is_used_in_a_scope(following):
    set_on_primary(1111)
    with routing_scope(safe=True):
        assert [read(), read()] == [1111, 1111]
        Author.objects.count()
        assert calls == ["replica1"]
    with routing_scope(safe=True):
        assert read() == 1111
    assert calls == ["replica1"] * 2


def test_again_when_the_primarys_may_have_changed(following):
    with routing_scope(safe=True):
        set_on_primary(1111)
        assert read() == 1111
        set_on_primary(2222)
        assert read() == 2222
    assert calls == ["replica1"] * 2


def test_again_when_a_transaction_has_ended(following):
    """Its rollback may have taken back what was set inside."""
    with routing_scope(safe=True):
        with transaction.atomic():
            Book.objects.using("replica1").count()
        read()
    assert calls == ["replica1"] * 2


def test_again_on_a_new_connection(following):
    set_on_primary(1111)
    with routing_scope(safe=True):
        assert read() == 1111
        connections["replica1"].close()
        assert read() == 1111


def test_outside_any_scope_each_time(following):
    set_on_primary(1111)
    assert [read(), read()] == [1111, 1111]
    assert calls == ["replica1"] * 2


def test_where_the_code_names_the_replica(following):
    set_on_primary(1111)
    with routing_scope():
        Book.objects.using("replica1").count()
    assert calls == ["replica1"]


def test_its_own_statements_are_nobodys(following, routed):
    with routing_scope(safe=True):
        read()
    assert [(decision.alias, decision.model) for decision in routed] == [("replica1", Book)]


def test_what_it_raises_is_raised(following, settings):
    settings.RWROUTER = {**settings.RWROUTER, "REPLICA_SESSION": f"{__name__}.fail"}
    with routing_scope(safe=True), pytest.raises(RuntimeError, match="tenant"):
        Book.objects.count()
    settings.RWROUTER = {**settings.RWROUTER, "REPLICA_SESSION": "nowhere.follow"}
    with routing_scope(safe=True), pytest.raises(ImproperlyConfigured, match="REPLICA_SESSION"):
        Book.objects.count()


class Tenant:
    def __init__(self, schema_name):
        self.schema_name = schema_name


def know_tenants(one, monkeypatch):
    """Let a connection do what django-tenants' does: it sets the search path when a cursor is opened.

    SQLite has none; a savepoint stands for the statement, which Django's wrappers see.
    """
    open_cursor = one._cursor
    one.path = one.setting = None

    def set_tenant(tenant, include_public=True):
        one.tenant, one.schema_name, one.include_public_schema = tenant, tenant.schema_name, include_public

    def _cursor(name=None):
        cursor = open_cursor(name)
        if not one.setting:
            one.setting, path = True, (one.schema_name, one.include_public_schema)
            cursor.execute("SAVEPOINT path")
            cursor.execute("RELEASE path")
            one.setting, one.path = False, path
        return cursor

    backend = type(one)
    monkeypatch.setattr(
        one, "__class__", type("Tenants", (backend,), {"set_tenant": staticmethod(set_tenant)})
    )
    monkeypatch.setattr(one, "_cursor", _cursor)
    set_tenant(Tenant("public"))


@pytest.fixture
def tenants(databases, settings, monkeypatch):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    for alias in ("default", "replica1"):
        know_tenants(connections[alias], monkeypatch)
    paths = []
    note = lambda execute, *call: (paths.append(connections["replica1"].path), execute(*call))[1]  # noqa: E731
    with connections["replica1"].execute_wrapper(note):
        yield paths
    connections.close_all()


@pytest.mark.parametrize("include_public", [True, False])
@pytest.mark.parametrize("safe", [True, False])
def test_a_replica_follows_the_tenant(tenants, include_public, safe):
    with routing_scope(safe=safe), use_replica():
        for name in ("one", "two", "two", "public"):
            connection.set_tenant(Tenant(name), include_public)
            Book.objects.count()
            assert tenants[-1] == (name, include_public)
