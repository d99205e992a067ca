"""Django's own test cases and their databases."""

import threading
import urllib.request

import pytest
from asgiref.sync import async_to_sync
from django.core import mail
from django.db import connections, transaction
from django.test import LiveServerTestCase, TestCase, TransactionTestCase
from django.test.testcases import SimpleTestCase

from django_rwrouter import ReplicaWriteError, routing_scope, use_replica
from django_rwrouter.servers import identity
from tests.app.models import Book, Tag
from tests.sqlite.conftest import REPLICAS, reason


def read(_request=None):
    return Book.objects.count()


class Default(TransactionTestCase):
    """Declares no databases, as most test cases: the replicas are forbidden."""

    def test_reads_go_to_the_primary_without_an_error(self):
        with routing_scope(safe=True):
            assert reason() == "forbidden_in_test"
            with use_replica():
                assert reason() == "forbidden_in_test"
            with use_replica(strict=True):
                assert reason() == "forbidden_in_test"

    def test_a_page_works(self):
        assert self.client.get("/books/").content == b""
        assert self.client.post("/books/", {"title": "x"}).content == b"x"
        assert self.client.get("/books/").content == b"x"

    async def test_an_async_page_works(self):
        response = await self.async_client.get("/async/books/")
        assert response.content == b""

    def test_a_thread_of_the_test_reads_the_primary_too(self):
        found = []

        def work():
            with routing_scope(safe=True):
                found.append(reason())
            connections.close_all()

        thread = threading.Thread(target=work)
        for alias in REPLICAS:
            connections[alias].close()
        thread.start()
        thread.join()
        assert found == ["forbidden_in_test"]


class OneReplica(TransactionTestCase):
    databases = {"default", "replica2"}

    def test_only_the_replica_that_it_declares_is_read(self):
        for _visit in range(8):
            with routing_scope(safe=True):
                assert Book.objects.count() == 0
                assert reason() == "window"


class All(TransactionTestCase):
    databases = "__all__"

    def test_replicas_are_read(self):
        with routing_scope(safe=True):
            assert reason() == "window"


class InTransaction(TestCase):
    databases = "__all__"

    @classmethod
    def setUpTestData(cls):
        Book.objects.create(title="set up")

    def test_everything_is_inside_the_tests_transaction(self):
        """So a test sees what it set up, whatever the replicas have."""
        with routing_scope(safe=True):
            assert reason() == "in_transaction"
        assert self.client.get("/books/").content == b"set up"
        Tag.objects.create(name="x")
        assert Tag.objects.count() == 1

    def test_on_commit_can_be_captured(self):
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            transaction.on_commit(read)
        assert callbacks == [read]

    def test_queries_can_be_counted(self):
        with self.assertNumQueries(1):
            self.client.get("/books/")


class InTransactionByDefault(TestCase):
    def test_everything_is_inside_the_tests_transaction(self):
        Book.objects.create(title="x")
        assert self.client.get("/books/").content == b"x"


class Without(SimpleTestCase):
    def test_the_error_is_djangos_own(self):
        with pytest.raises(AssertionError, match="Database queries to 'default' are not allowed"):
            read()
        with routing_scope(safe=True), pytest.raises(AssertionError, match="to 'default' are not allowed"):
            read()


class Served(LiveServerTestCase):
    """Its server runs in threads of its own, where Django forbids databases in another way."""

    def test_a_page_works(self):
        with urllib.request.urlopen(f"{self.live_server_url}/books/", timeout=10) as response:
            assert response.read() == b""


# --- mirrors -----------------------------------------------------------------------------------------


@pytest.fixture
def mirrors(databases, monkeypatch):
    """Point the replicas at the primary, as test runners do for TEST["MIRROR"]."""
    for alias in REPLICAS:
        connections[alias].close()
        connection = connections[alias]
        monkeypatch.setattr(connection, "settings_dict", {**connection.settings_dict})
        connection.creation.set_as_test_mirror(connections["default"].settings_dict)
    yield
    for alias in REPLICAS:
        connections[alias].close()


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_mirror_shows_what_was_written_at_once(mirrors, site):
    def view(_request):
        Book.objects.create(title="x")
        with use_replica():
            return f"{read()} {reason()}"

    assert site.get(view).text == "1 use_replica"
    site.forget()
    assert site.get(lambda _request: f"{read()} {reason()}").text == "1 window"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_mirror_is_no_replica_and_can_be_written_to(mirrors):
    Tag.objects.using("replica1").create(name="x")
    assert Tag.objects.using("default").count() == 1


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda connection: connection.settings_dict.update(NAME="x"), id="another file"),
        pytest.param(lambda connection: connection.settings_dict.update(HOST="x"), id="another host"),
        pytest.param(lambda connection: connection.settings_dict["TEST"].update(MIRROR=None), id="no mirror"),
    ],
)
def test_what_only_looks_like_a_mirror_is_a_replica(mirrors, monkeypatch, change):
    connection = connections["replica1"]
    connection.settings_dict["TEST"] = {**connection.settings_dict["TEST"]}
    assert identity.is_test_mirror(connection)
    change(connection)
    assert not identity.is_test_mirror(connection)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_outside_tests_there_are_no_mirrors(mirrors, monkeypatch):
    """A project may leave TEST["MIRROR"] in settings whose replica has the primary's address by mistake."""
    monkeypatch.delattr(mail, "outbox")
    assert not identity.is_test_mirror(connections["replica1"])
    with pytest.raises(ReplicaWriteError):
        Tag.objects.using("replica1").create(name="x")


# --- async tests of pytest ---------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_test_that_declares_no_databases_and_runs_its_own_loop():
    async def main():
        with routing_scope(safe=True):
            return await Book.objects.acount()

    assert async_to_sync(main)() == 0
