"""Reads that fail on a replica only because it is one, or is late: the primary runs them."""

import sqlite3
from contextlib import closing

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import IntegerField
from django.db.models.expressions import RawSQL

from django_rwrouter import Reason, read_connection, routing_scope, use_replica
from django_rwrouter.servers.health import health
from tests.app.models import Book
from tests.settings import DATABASES
from tests.sqlite.conftest import REPLICAS, replicate


def on_primary(*statements):
    """Run them on a connection of their own, as a migration of another process does."""
    with closing(sqlite3.connect(DATABASES["default"]["NAME"])) as primary, primary:
        for statement in statements:
            primary.execute(statement)


@pytest.fixture
def deployed(routed):
    """The primary has a new column and a new table, and the replicas do not have them yet."""
    Book.objects.create(title="old")
    replicate()
    on_primary(
        "ALTER TABLE app_book ADD COLUMN pages integer NOT NULL DEFAULT 7",
        "CREATE TABLE app_fresh (id integer)",
        "INSERT INTO app_fresh VALUES (3)",
    )
    routed.clear()
    with routing_scope(safe=True):
        yield routed


def pages(alias=None):
    books = Book.objects.annotate(pages=RawSQL("pages", (), IntegerField()))
    return [book.pages for book in (books.using(alias) if alias else books)]


def fresh(cursor):
    cursor.execute("SELECT id FROM app_fresh")
    return cursor.fetchall()


def test_a_column_that_is_not_there_yet(deployed):
    assert pages() == [7]
    assert [(each.alias, each.reason) for each in deployed] == [("default", Reason.ONLY_ON_PRIMARY)]
    assert not any(map(health.is_ejected, REPLICAS))


def test_a_table_that_is_not_there_yet(deployed):
    with read_connection().cursor() as cursor:
        assert [fresh(cursor), fresh(cursor)] == [[(3,)], [(3,)]]
    assert {(each.alias, each.reason) for each in deployed} == {("default", Reason.ONLY_ON_PRIMARY)}


def test_a_temporary_table(routed):
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE app_fresh AS SELECT 5 AS id")
    try:
        with routing_scope(safe=True), read_connection().cursor() as cursor:
            assert cursor.db.alias in REPLICAS
            assert fresh(cursor) == [(5,)]
    finally:
        connection.close()


def test_a_mistake_is_the_primarys_error(deployed):
    with read_connection().cursor() as cursor:
        assert cursor.db.alias in REPLICAS
        with pytest.raises(OperationalError, match="no such table: app_nothing"):
            cursor.execute("SELECT id FROM app_nothing")
        assert cursor.db.alias == "default"
    assert not deployed


def test_a_block_that_wants_replicas_alone_gets_their_error(deployed):
    with use_replica(strict=True), pytest.raises(OperationalError, match="no such column"):
        pages()


def test_a_replica_that_the_code_names_answers_itself(deployed):
    with pytest.raises(OperationalError, match="no such column"):
        pages("replica1")


def test_a_transaction_on_the_replica_is_not_taken_apart(deployed):
    with use_replica():
        alias = read_connection().alias
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            with pytest.raises(OperationalError, match="no such table"):
                fresh(cursor)
            assert cursor.db.alias == alias
