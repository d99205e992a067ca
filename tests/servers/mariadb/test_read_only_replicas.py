"""Nothing can be written through a replica's connection, whoever tries, and replication goes on."""

from contextlib import nullcontext

import pytest
from django.db import DatabaseError, OperationalError, close_old_connections, connections, transaction

from django_rwrouter import ReplicaWriteError, routing_scope
from django_rwrouter.testing import capture_routing
from tests.app.models import Book
from tests.servers.mariadb import settings as ours
from tests.servers.mariadb.views import INSERT

SERVER_IS_READ_ONLY = 1290
SESSION_IS_READ_ONLY = 1792


@pytest.fixture(scope="module")
def mighty(running, tables, administration):
    """A user who may do anything, also on a server that is ``read_only``."""
    administration.ask(
        running.primary,
        f"CREATE OR REPLACE USER mighty@'%' IDENTIFIED BY '{ours.PASSWORD}'",
    )
    administration.ask(running.primary, "GRANT ALL PRIVILEGES ON *.* TO mighty@'%' WITH GRANT OPTION")
    administration.level()
    yield "mighty"
    administration.ask(running.primary, "DROP USER mighty@'%'")


@pytest.fixture(params=["ordinary", "mighty"])
def user(request, monkeypatch):
    """Who is connected to the replica, and the error that the server has for a write then."""
    if request.param == "ordinary":
        return SERVER_IS_READ_ONLY
    name = request.getfixturevalue("mighty")
    monkeypatch.setitem(connections.settings["replica1"], "USER", name)
    return SESSION_IS_READ_ONLY


def raw(statement, parameters=None):
    def write():
        with connections["replica1"].cursor() as cursor:
            cursor.execute(statement, parameters)

    return write


def many():
    with connections["replica1"].cursor() as cursor:
        cursor.executemany(INSERT, [["new"], ["newer"]])


WRITES = {
    "create": lambda: Book.objects.using("replica1").create(title="new"),
    "save": lambda: Book(title="new").save(using="replica1"),
    "bulk_create": lambda: Book.objects.using("replica1").bulk_create([Book(title="new")]),
    "update": lambda: Book.objects.using("replica1").update(title="new"),
    "delete": lambda: Book.objects.using("replica1").all().delete(),
    "raw insert": raw(INSERT, ["new"]),
    "raw update": raw("UPDATE app_book SET title = 'new'"),
    "update of no row": raw("UPDATE app_book SET title = 'new' WHERE id < 0"),
    "executemany": many,
    "replace": raw("REPLACE INTO app_book (id, title) VALUES (1, 'new')"),
    "in a comment": raw("/* SELECT */ DELETE FROM app_book"),
    "select for update": lambda: list(Book.objects.using("replica1").select_for_update()),
    "create table": raw("CREATE TABLE stray (id INT)"),
    "drop table": raw("DROP TABLE app_book_tags"),
    "truncate": raw("TRUNCATE TABLE app_book"),
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("in_atomic", [False, True], ids=["autocommit", "atomic"])
def test_a_write_on_a_replica_is_refused_for_everybody(cluster, administration, user, in_atomic, what):
    Book.objects.create(title="old")
    administration.level()
    before = positions(cluster, administration)
    # Django takes locks inside atomic() alone.
    in_atomic |= what == "select for update"
    block = transaction.atomic(using="replica1") if in_atomic else nullcontext()
    with pytest.raises(ReplicaWriteError, match="'replica1', which is a replica") as caught, block:
        WRITES[what]()
    assert isinstance(caught.value, DatabaseError)
    expected = SESSION_IS_READ_ONLY if what == "select for update" else user
    assert caught.value.__cause__.args[0] == expected
    assert positions(cluster, administration) == before
    # The connection is as good as before, and so is replication.
    assert Book.objects.using("replica1").get().title == "old"
    Book.objects.create(title="new")
    administration.level()
    assert list(Book.objects.using("replica1").values_list("title", flat=True)) == ["old", "new"]


def positions(cluster, administration):
    """What each server has logged: a replica logs what it applies and, alas, what is written to it."""
    return [
        administration.ask(server, "SELECT @@global.gtid_binlog_pos AS position")[0]["position"]
        for server in cluster.servers
    ]


def test_without_read_only_sessions_a_mighty_user_writes(
    cluster, administration, mighty, monkeypatch, rwrouter
):
    """What the sessions are there for. These tests can fail."""
    rwrouter(READ_ONLY_SESSIONS=False)
    monkeypatch.setitem(connections.settings["replica1"], "USER", mighty)
    [_, before, _] = positions(cluster, administration)
    try:
        Book.objects.using("replica1").create(title="stray")
        [_, after, _] = positions(cluster, administration)
        assert after != before
    finally:
        forget_stray_writes(cluster, administration)


def forget_stray_writes(cluster, administration):
    """As if they had never been: the rows, and their place in the replica's own log."""
    [replica, _] = cluster.replicas
    cluster._stop_replication(replica)
    for statement in [
        "SET sql_log_bin = 0",
        f"DELETE FROM {ours.DATABASE}.app_book",
        "RESET MASTER",
        "SET sql_log_bin = 1",
        "START REPLICA",
    ]:
        administration.ask(replica, statement)


def test_a_session_that_django_opens_anew_is_read_only_too(cluster, mighty, monkeypatch):
    """Under CONN_HEALTH_CHECKS, it opens one where nobody sees it."""
    own = {"USER": mighty, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    for name, value in own.items():
        monkeypatch.setitem(connections.settings["replica1"], name, value)
    sessions = []
    for _ in range(3):
        close_old_connections()  # As at the begin of each request.
        with connections["replica1"].cursor() as cursor:
            cursor.execute("SELECT CONNECTION_ID(), @@session.tx_read_only")
            session, read_only = cursor.fetchone()
        assert read_only == 1
        sessions.append(session)
        cluster.replicas[0].sql(f"KILL {session}")
    assert len(set(sessions)) == 3


def test_a_primary_that_was_demoted_is_told_apart(cluster, administration):
    """On the primary, the same error of the server means something else, and nothing was written."""
    administration.ask(cluster.primary, "SET GLOBAL read_only = ON")
    try:
        with routing_scope(safe=True), capture_routing() as decisions:
            with pytest.raises(OperationalError) as caught:
                Book.objects.create(title="new")
            assert not isinstance(caught.value, ReplicaWriteError)
            assert caught.value.args[0] == SERVER_IS_READ_ONLY
            assert not Book.objects.exists()
        assert decisions[-1].alias != "default"
    finally:
        administration.ask(cluster.primary, "SET GLOBAL read_only = OFF")


def test_locks_and_positions_still_work_on_a_replica(cluster):
    with connections["replica1"].cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('one', 0), RELEASE_LOCK('one'), @@gtid_slave_pos")
        lock, release, position = cursor.fetchone()
    assert (lock, release) == (1, 1)
    assert position
