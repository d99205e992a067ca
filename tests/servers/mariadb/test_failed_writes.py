"""A write that failed pins its client only if something may have been written all the same."""

import threading
import time

import pytest
from django.db import OperationalError, connections
from django.test import Client

from django_rwrouter import routing_scope
from django_rwrouter.scope.context import current_state
from tests.app.models import Author, Book

DUPLICATE_KEY = 1062
QUERY_INTERRUPTED = 1317
CONNECTION_LOST = 2013
LOCK_WAIT_TIMEOUT = 1205


@pytest.fixture
def killer(cluster, administration):
    """Ends whatever writes ``SLEEP(60)`` on the primary, once it runs: ``killer("QUERY")``."""
    threads = []
    gave_up = []

    def wait_and_kill(what):
        find = "SELECT id FROM information_schema.processlist WHERE info LIKE 'INSERT%SLEEP(60)%'"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for row in administration.ask(cluster.primary, find):
                administration.ask(cluster.primary, f"KILL {what} {row['id']}")
                return
            time.sleep(0.02)
        gave_up.append(what)

    def start(what):
        threads.append(threading.Thread(target=wait_and_kill, args=[what]))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()
    assert not gave_up


def pinned(client):
    return "rwrouter" in client.cookies


def test_a_duplicate_key_pins_nobody(lagging, routed):
    client = Client()
    assert client.post("/duplicate/").content == b"1062"
    assert not pinned(client)
    routed.clear()
    assert client.get("/orm/").content == b"old"
    assert routed[-1].alias != "default"


def test_a_connection_that_is_lost_while_writing_pins(lagging, killer):
    """Whether the server has committed, nobody can tell."""
    client = Client()
    killer("CONNECTION")
    assert client.post("/killed/").content == str(CONNECTION_LOST).encode()
    assert pinned(client)
    Book.objects.create(title="new")
    assert client.get("/orm/").content == b"old,new"


def test_an_interrupted_query_pins_nobody(lagging, killer):
    """The server has undone it, and says so."""
    client = Client()
    killer("QUERY")
    assert client.post("/killed/").content == str(QUERY_INTERRUPTED).encode()
    assert not pinned(client)
    assert Book.objects.count() == 1


def test_a_lock_that_cannot_be_had_pins_nobody(cluster):
    Author.objects.create(name="Ines")
    other = connections.create_connection("default")
    try:
        other.ensure_connection()
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("UPDATE app_author SET name = 'Tomás'")
        with routing_scope(safe=True), connections["default"].cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 0")
            with pytest.raises(OperationalError) as caught:
                Author.objects.update(name="Wren")
            assert caught.value.args[0] == LOCK_WAIT_TIMEOUT
            assert not current_state().scope("default").wrote
    finally:
        other.rollback()
        other.close()
