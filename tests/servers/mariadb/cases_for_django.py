"""Tests of a project on a replicating cluster, for Django's own test runner; see ``test_django_runner.py``.

The runner makes one database, ``test_rwrouter``, on the primary, and replication makes it on the replicas:
``TEST.MIRROR`` gives a replica the name of the primary's database, and leaves it on its own server.
"""

from contextlib import closing

from django.db import connections, router
from django.test import Client, TestCase, TransactionTestCase

from django_rwrouter import Reason, ReplicaWriteError, routing_scope
from django_rwrouter.testing import assert_no_stale_reads, capture_routing
from tests.app.models import Book
from tests.servers.mariadb import settings as ours

EVERYWHERE = set(ours.ALIASES)


def wait_for_replicas():
    """Return when they have applied all that the primary has logged."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT @@global.gtid_binlog_pos")
        [position] = cursor.fetchone()
    for alias in ours.REPLICAS:
        server = connections[alias]
        parameters = server.get_connection_params()
        del parameters["database"]  # The replica may not have it yet.
        with closing(server.Database.connect(**parameters)) as past_django, past_django.cursor() as cursor:
            cursor.execute("SELECT MASTER_GTID_WAIT(%s, 10)", [position])
            assert cursor.fetchone() == (0,)


class Databases(TestCase):
    databases = EVERYWHERE

    def test_each_alias_is_the_test_database_on_its_own_server(self):
        wait_for_replicas()
        for alias in ours.ALIASES:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT DATABASE(), @@port")
                port = int(connections[alias].settings_dict["PORT"])
                assert cursor.fetchone() == ("test_rwrouter", port)


class InATransaction(TestCase):
    """``TestCase`` puts each test into a transaction that replicas never see."""

    databases = EVERYWHERE

    @classmethod
    def setUpTestData(cls):
        cls.book = Book.objects.create(title="old")

    def test_what_is_written_is_read(self):
        Book.objects.create(title="new")
        assert self.client.get("/orm/").content == b"old,new"
        assert self.client.post("/orm/", {"title": "newer"}).content == b"old,new,newer"
        assert Client().get("/orm/").content == b"old,new,newer"
        self.book.refresh_from_db()

    def test_what_the_test_before_wrote_is_gone(self):
        assert self.client.get("/orm/").content == b"old"

    def test_queries_can_be_counted(self):
        with self.assertNumQueries(1), self.assertNumQueries(0, using="replica1"):
            self.client.get("/orm/")


class InATransactionOfTheDefault(TestCase):
    """Django forbids all databases but ``databases``, which is the primary alone if nothing is said."""

    def test_reads_never_meet_a_forbidden_replica(self):
        self.client.post("/orm/", {"title": "new"})
        assert Client().get("/orm/").content == b"new"
        assert Client().get("/async-orm/").content == b"new"


class Committed(TransactionTestCase):
    databases = EVERYWHERE

    def test_the_writer_and_the_auditor_agree(self):
        with assert_no_stale_reads():
            writer = Client()
            assert writer.post("/orm/", {"title": "new"}).content == b"new"
            assert writer.get("/orm/").content == b"new"

    def test_others_read_from_replicas(self):
        Book.objects.create(title="new")
        wait_for_replicas()
        with capture_routing() as decisions:
            assert Client().get("/orm/").content == b"new"
        assert [decision.reason for decision in decisions] == [Reason.WINDOW]

    def test_each_test_starts_empty(self):
        wait_for_replicas()
        with routing_scope(safe=True), capture_routing() as decisions:
            assert not Book.objects.exists()
        assert decisions[-1].alias in ours.REPLICAS

    def test_replicas_are_read_only_in_tests_too(self):
        wait_for_replicas()
        with self.assertRaises(ReplicaWriteError):  # noqa: PT027  (pytest has no part in this)
            Book.objects.using("replica1").create(title="new")


class CommittedOnTheDefault(TransactionTestCase):
    def test_reads_never_meet_a_forbidden_replica(self):
        with capture_routing() as decisions:
            assert Client().get("/orm/").content == b""
        assert [decision.reason for decision in decisions] == [Reason.FORBIDDEN_IN_TEST]

    def test_migrations_are_for_the_primary(self):
        allowed = [alias for alias in ours.ALIASES if router.allow_migrate(alias, "app", model_name="book")]
        assert allowed == ["default"]
