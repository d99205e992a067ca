"""A read that loses its replica while it runs is run again elsewhere, and the caller sees nothing of it."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connections, transaction
from django.db.models import F, Func, IntegerField
from django.test import AsyncClient, Client

from django_rwrouter import (
    NoReplicaAvailable,
    Reason,
    read_connection,
    routing_scope,
    signals,
    use_replica,
)
from django_rwrouter.monitor.rounds import cut_off
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.testing import assert_no_stale_reads
from tests.app.models import Author, Book
from tests.busy_clock import busy_clock
from tests.servers.products.settings import ALIASES, REPLICAS, TIMEOUT

READ = Reason.CAUSAL
"""Why a replica is read that does not fail."""
SECONDS = 20
"""How long a query would run that is hit in its course."""


# --- ways to lose a connection ------------------------------------------------------------------


class Server:
    """A server, and what it can tell of the connections of an application."""

    def __init__(self, server, alias):
        self.server = server
        self.alias = alias
        self._mysql = connections[alias].vendor == "mysql"

    def sessions(self, text=""):
        """The connections on which a statement with this text runs; all without a text."""
        if self._mysql:
            found = "id FROM information_schema.processlist WHERE user = 'rwrouter' AND IFNULL(info, '')"
        else:
            found = "pid FROM pg_stat_activity WHERE usename = 'rwrouter' AND query"
        return [number for (number,) in self.server.sql(f"SELECT {found} LIKE '%{text}%'")]

    def disconnect(self, sessions):
        for number in sessions:
            self.server.sql(f"KILL {number}" if self._mysql else f"SELECT pg_terminate_backend({number})")

    def cancel(self, sessions):
        for number in sessions:
            self.server.sql(f"KILL QUERY {number}" if self._mysql else f"SELECT pg_cancel_backend({number})")

    def wait(self, condition):
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, f"{self.server} does not get there."
            time.sleep(0.02)


def server_of(cluster, alias):
    return Server(dict(zip(ALIASES, cluster.servers, strict=True))[alias], alias)


def killed(found):
    found.server.kill()


def restarted(found):
    found.server.stop()
    found.server.start()


def disconnected(found):
    """Those that are there now: a pool that is still filling opens others meanwhile."""
    ended = set(found.sessions())
    found.disconnect(ended)
    found.wait(lambda: ended.isdisjoint(found.sessions()))


WAYS = [killed, restarted, disconnected]


def titles():
    return list(Book.objects.order_by("pk").values_list("title", flat=True))


def slowly(*aliases):
    """The titles, by a query that runs until it is ended on these servers, and takes no time on others."""
    ports = ",".join(str(connections.settings[alias]["PORT"]) for alias in aliases)
    if connections["default"].vendor == "mysql":
        sleep = f"SLEEP(IF(@@port IN ({ports}), {SECONDS}, 0))"
    else:  # pg_sleep() returns nothing, which has to become a number.
        here = f"current_setting('port')::int IN ({ports})"
        sleep = f"(SELECT 1 FROM pg_sleep(CASE WHEN {here} THEN {SECONDS} ELSE 0 END))"
    slept = Func(template=sleep, output_field=IntegerField())
    return [book.title for book in Book.objects.annotate(slept=slept).order_by("pk")]


@contextmanager
def meanwhile(act):
    """Do something while the block runs; what it raises is raised at the end."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(act)
        yield
        done.result()


@pytest.fixture
def page(cluster, routed):
    """Somebody who has read from a replica just now, on a connection that is still open."""
    with routing_scope(safe=True):
        assert titles() == ["old"]
        yield cluster


def chosen(routed):
    """The replica that was read last; what was decided is forgotten."""
    alias = routed[-1].alias
    assert alias in REPLICAS
    routed.clear()
    return alias


def other(alias):
    return next(each for each in REPLICAS if each != alias)


def places(routed):
    return [(decision.alias, decision.reason) for decision in routed]


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not any(loads[alias].running for alias in ALIASES)


@pytest.fixture
def told():
    """What listeners of ``read_failed_over`` hear."""
    heard = []

    def listen(**arguments):
        heard.append((arguments["alias"], arguments["substitute"]))

    signals.read_failed_over.connect(listen)
    yield heard
    signals.read_failed_over.disconnect(listen)


# --- it is run again ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_lost_between_two_reads(page, routed, told, way):
    alias = chosen(routed)
    way(server_of(page, alias))
    with assert_no_stale_reads():
        assert titles() == ["old"]
    assert places(routed) == [(other(alias), Reason.FAILOVER)]
    assert told == [(alias, other(alias))]
    # The scope stays where it has found what it looked for.
    assert titles() == ["old"]
    assert places(routed)[1:] == [(other(alias), READ)]


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_lost_while_the_statement_runs(page, routed, told, way):
    alias = chosen(routed)
    found = server_of(page, alias)

    def strike():
        found.wait(lambda: found.sessions("sleep("))
        way(found)

    with meanwhile(strike):
        assert slowly(alias) == ["old"]
    assert places(routed) == [(other(alias), Reason.FAILOVER)]
    assert told == [(alias, other(alias))]


def test_it_is_not_run_where_a_joined_table_is_not_replicated(cluster, routed, rwrouter):
    """The replica that is left has the books, and not their authors."""
    rwrouter(REPLICAS={"replica1": {}, "replica2": {"EXCEPT": ["app.Author"]}})
    books = Book.objects.select_related("author").order_by("pk")
    with routing_scope(safe=True):
        assert [book.title for book in books.all()] == ["old"]
        disconnected(server_of(cluster, "replica1"))
        assert [book.title for book in books.all()] == ["old"]
    assert places(routed)[-1] == ("default", Reason.FAILOVER)


@pytest.mark.parametrize("way", WAYS)
def test_only_a_server_that_is_gone_is_left_alone(page, routed, way):
    """That a connection broke says nothing of the others."""
    alias = chosen(routed)
    way(server_of(page, alias))
    titles()
    assert not health.is_ejected(alias)
    for _ in range(40):
        with routing_scope(safe=True):
            titles()
    assert health.is_ejected(alias) == (way is killed)


@pytest.fixture
def impatient(cluster):
    """Servers that close a connection on which nothing happens for a second."""
    mysql = connections["default"].vendor == "mysql"
    for server in cluster.replicas:
        if mysql:
            server.sql("SET GLOBAL wait_timeout = 1")
        else:
            server.configure(idle_session_timeout="1s")
    yield cluster
    for server in cluster.replicas:
        if mysql:
            server.sql("SET GLOBAL wait_timeout = DEFAULT")
        else:
            server.configure(idle_session_timeout="0")


def test_a_connection_that_was_idle_for_too_long(impatient, routed):
    with routing_scope(safe=True):
        titles()
        alias = chosen(routed)
        found = server_of(impatient, alias)
        found.wait(lambda: not found.sessions())
        assert titles() == ["old"]
        assert places(routed) == [(other(alias), Reason.FAILOVER)]
    for _ in range(40):
        with routing_scope(safe=True):
            titles()
    assert {alias for alias, _reason in places(routed)} == set(REPLICAS)
    assert not any(map(health.is_ejected, REPLICAS))


def test_the_substitute_lets_nobody_in(page, routed, monkeypatch):
    """Which shows when its connection is opened, and not only when the statement runs."""
    alias = chosen(routed)
    monkeypatch.setitem(connections.settings[other(alias)], "PASSWORD", "wrong")
    disconnected(server_of(page, alias))
    assert titles() == ["old"]
    assert places(routed) == [("default", Reason.FAILOVER)]
    assert health.is_ejected(other(alias))


def test_all_replicas_lost(page, routed, rwrouter):
    rwrouter(REPLICA_PER="query")
    for _ in range(40):
        with use_replica():
            titles()
    assert {alias for alias, _reason in places(routed)} == set(REPLICAS)
    routed.clear()
    for alias in REPLICAS:
        server_of(page, alias).server.kill()
    assert titles() == ["old"]
    assert places(routed) == [("default", Reason.FAILOVER)]


def test_all_servers_lost(page):
    titles_of_primary = Book.objects.using("default")
    assert titles_of_primary.count() == 1
    for alias in ALIASES:
        server_of(page, alias).server.kill()
    with pytest.raises(OperationalError):
        titles()


def test_the_substitute_is_lost_as_well(page, routed, told):
    """Each in the middle of the statement."""
    alias = chosen(routed)

    def strike():
        for each in (alias, other(alias)):
            found = server_of(page, each)
            found.wait(lambda found=found: found.sessions("sleep("))
            found.server.kill()

    with meanwhile(strike):
        assert slowly(*REPLICAS) == ["old"]
    assert places(routed) == [("default", Reason.FAILOVER)]
    assert told == [(alias, "default")]


def test_relations_that_are_prefetched(cluster, routed):
    Author.objects.all().delete()
    author = Author.objects.create(name="Ines")
    Book.objects.update(author=author)
    cluster.wait_all()
    routed.clear()
    with routing_scope(safe=True):

        def strike(*, alias, sql, **_arguments):
            if "app_author" in sql:
                disconnected(server_of(cluster, alias))

        signals.statement_routed.connect(strike)
        try:
            [found] = Author.objects.prefetch_related("books")
            assert [book.title for book in found.books.all()] == ["old"]
        finally:
            signals.statement_routed.disconnect(strike)
    (first, why), (second, why_again) = places(routed)
    assert (why, why_again) == (READ, Reason.FAILOVER)
    assert second == other(first)


def test_raw_sql(page, routed):
    sql = "SELECT title FROM app_book"
    with read_connection().cursor() as cursor:
        for number in range(3):
            cursor.execute(sql)
            assert [*cursor.fetchall()] == [("old",)]
            if number == 0:
                alias = chosen(routed)
                disconnected(server_of(page, alias))
    assert places(routed) == [(other(alias), Reason.FAILOVER)] * 2


def test_a_view_on_the_event_loop(cluster, routed):
    async def visit():
        client = AsyncClient()
        return (await client.get("/async/")).content

    @async_to_sync
    async def twice():
        assert await visit() == b"old"
        alias = routed[-1].alias
        disconnected(server_of(cluster, alias))
        while Reason.FAILOVER not in {decision.reason for decision in routed}:
            assert await visit() == b"old"

    twice()


def test_several_threads(cluster, routed):
    barrier = threading.Barrier(3, timeout=20)

    def visitor():
        try:
            with routing_scope(safe=True), use_replica():
                titles()
                barrier.wait()
                barrier.wait()
                return titles()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        visitors = [pool.submit(visitor) for _ in range(2)]
        barrier.wait()
        for alias in REPLICAS:
            disconnected(server_of(cluster, alias))
        barrier.wait()
        assert [each.result() for each in visitors] == [["old"], ["old"]]
    assert [reason for _alias, reason in places(routed)[2:]] == [Reason.FAILOVER] * 2


def test_debugging(page, routed, settings):
    """The statement stands among those of the connection that has answered it."""
    alias = chosen(routed)
    settings.DEBUG = True
    disconnected(server_of(page, alias))
    assert titles() == ["old"]
    assert sum("app_book" in query["sql"] for query in connections[other(alias)].queries) == 1
    assert not connections[alias].queries


def test_wrappers_of_others_see_each_run(page, routed):
    alias = chosen(routed)
    seen = []

    def watch(execute, sql, params, many, context):
        seen.append(context["connection"].alias)
        return execute(sql, params, many, context)

    disconnected(server_of(page, alias))
    with connections[alias].execute_wrapper(watch):
        assert titles() == ["old"]
    assert seen == [alias, other(alias)]


def test_what_is_logged_names_no_host(page, routed, caplog):
    alias = chosen(routed)
    found = server_of(page, alias)
    disconnected(found)
    caplog.clear()
    titles()
    [record] = [record for record in caplog.records if record.name == "django_rwrouter"]
    assert record.levelno == logging.WARNING
    assert (record.alias, record.substitute) == (alias, other(alias))
    assert str(found.server.port) not in record.getMessage()


# --- what the client has seen still binds the substitute ----------------------------------------


def test_a_replica_without_the_clients_write_does_not_stand_in(cluster, routed):
    first, second = cluster.replicas
    cluster.pause(second)
    writer = Client()
    with assert_no_stale_reads():
        writer.post("/plain/", {"title": "new"})
        cluster.wait(first)
        assert writer.get("/plain/").content == b"old,new"
        assert routed[-1].alias == "replica1"
        routed.clear()
        server_of(cluster, "replica1").server.kill()
        assert writer.get("/plain/").content == b"old,new"
    assert places(routed) == [("default", Reason.FAILOVER)]


def test_one_that_has_it_does(cluster, routed):
    writer = Client()
    with assert_no_stale_reads():
        writer.post("/plain/", {"title": "new"})
        cluster.wait_all()
        assert writer.get("/plain/").content == b"old,new"
        alias = chosen(routed)
        server_of(cluster, alias).server.kill()
        assert writer.get("/plain/").content == b"old,new"
    assert places(routed) == [(other(alias), Reason.FAILOVER)]


def test_a_strict_block_rather_raises(page, routed):
    alias = chosen(routed)
    for server in page.replicas:
        server.kill()
    with use_replica(strict=True), pytest.raises(NoReplicaAvailable):
        titles()
    assert not places(routed)
    assert alias in REPLICAS


# --- it is not run again ------------------------------------------------------------------------


@pytest.fixture
def only_one(rwrouter):
    rwrouter(REPLICAS=["replica1"])


def test_inside_a_transaction_on_the_replica(cluster, only_one, routed):
    with routing_scope(safe=True), use_replica():
        titles()
        with pytest.raises(OperationalError), transaction.atomic(using="replica1"):  # noqa: PT012
            titles()
            disconnected(server_of(cluster, "replica1"))
            titles()
        assert titles() == ["old"]
    assert Reason.FAILOVER not in {decision.reason for decision in routed}


def test_without_autocommit_on_the_replica(cluster, only_one):
    connection = connections["replica1"]
    with routing_scope(safe=True), use_replica():
        transaction.set_autocommit(False, using="replica1")
        titles()
        disconnected(server_of(cluster, "replica1"))
        with pytest.raises(OperationalError):
            titles()
        connection.close()
        assert titles() == ["old"]


def test_a_write(cluster):
    Book.objects.count()
    disconnected(server_of(cluster, "default"))
    with routing_scope(), pytest.raises(OperationalError):
        Book.objects.create(title="new")
    connections["default"].close()
    assert Book.objects.count() == 1


def test_a_write_in_the_middle(cluster):
    """It may have been done: nobody but the caller knows whether to repeat it."""
    found = server_of(cluster, "default")

    def strike():
        found.wait(lambda: found.sessions("sleep("))
        disconnected(found)

    sleep = "SLEEP(2)" if connections["default"].vendor == "mysql" else "(SELECT 0 FROM pg_sleep(2))"
    insert = f"INSERT INTO app_book (title) SELECT CONCAT('new', {sleep})"
    with meanwhile(strike), routing_scope(), pytest.raises(OperationalError):
        connections["default"].cursor().execute(insert)
    connections["default"].close()
    assert Book.objects.filter(title__startswith="new").count() <= 1


def test_a_replica_that_the_code_names(page, routed):
    alias = chosen(routed)
    disconnected(server_of(page, alias))
    with pytest.raises(OperationalError):
        Book.objects.using(alias).count()
    connections[alias].close()
    assert titles() == ["old"]


def test_a_query_that_was_cancelled(page, routed):
    """By its owner, or because it takes too long: it would elsewhere, too."""
    alias = chosen(routed)
    found = server_of(page, alias)

    def strike():
        found.wait(lambda: found.sessions("sleep("))
        found.cancel(found.sessions("sleep("))

    with meanwhile(strike):
        if connections[alias].vendor == "mysql":
            # SLEEP() returns 1 where it is interrupted, and what else the statement does fails.
            with pytest.raises(OperationalError):
                list(Book.objects.annotate(slept=F("id") + Func(5, function="SLEEP")).order_by("-slept"))
        else:
            with pytest.raises(OperationalError):
                slowly(alias)
    assert titles() == ["old"]
    assert places(routed) == [(alias, READ)]


def test_a_mistake(page, routed):
    with pytest.raises(Exception, match="nonsense"):
        list(Book.objects.extra(where=["nonsense = 1"]))
    assert titles() == ["old"]
    assert Reason.FAILOVER not in {decision.reason for decision in routed}


# --- iterator() ---------------------------------------------------------------------------------


@pytest.fixture
def shelf(cluster, routed):
    Book.objects.bulk_create([Book(title=f"book {number}") for number in range(20)])
    cluster.wait_all()
    routed.clear()
    return cluster


def test_rows_that_are_fetched_bit_by_bit(shelf, routed):
    with routing_scope(safe=True):
        titles()
        alias = chosen(routed)
        disconnected(server_of(shelf, alias))
        rows = Book.objects.order_by("pk").iterator(chunk_size=2)
        first = next(rows)
        # Where the database has cursors of its own, the substitute has one.
        if connections[alias].vendor == "postgresql":
            with connections[other(alias)].cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_cursors WHERE name LIKE '_django_curs%%'", [])
                assert cursor.fetchone() == (1,)
        assert [first.title, *(book.title for book in rows)] == titles()
    assert places(routed)[0] == (other(alias), Reason.FAILOVER)


def test_a_substitute_that_may_have_no_server_side_cursors(shelf, only_one, routed, monkeypatch):
    """Behind a pooler they are lost between two statements."""
    monkeypatch.setitem(connections["default"].settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with routing_scope(safe=True):
        titles()
        disconnected(server_of(shelf, chosen(routed)))
        rows = Book.objects.order_by("pk").iterator(chunk_size=2)
        next(rows)
        if connections["default"].vendor == "postgresql":
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_cursors")
                assert cursor.fetchone() == (0,)
        assert len(list(rows)) == 20
    assert places(routed)[0] == ("default", Reason.FAILOVER)


def test_once_rows_were_handed_out_nothing_is_repeated(shelf, routed):
    with routing_scope(safe=True):
        rows = Book.objects.order_by("pk").iterator(chunk_size=2)
        next(rows)
        alias = chosen(routed)
        disconnected(server_of(shelf, alias))
        if connections[alias].vendor == "postgresql":
            with pytest.raises(OperationalError):
                list(rows)
            connections[alias].close()
        else:  # The driver has them all already.
            assert len(list(rows)) == 20


# --- time ---------------------------------------------------------------------------------------


def has_read_timeout():
    return "read_timeout" in connections["replica1"].settings_dict["OPTIONS"]


def test_a_frozen_server(page, routed):
    if not has_read_timeout():
        pytest.skip("not for this driver, which waits for ever: the monitor has to end the wait")
    alias = chosen(routed)
    server = server_of(page, alias).server
    server.freeze()
    began = busy_clock()
    try:
        assert titles() == ["old"]
    finally:
        server.thaw()
    # Until the driver gives up, and once more to see that it lets nobody in.
    assert busy_clock() - began < 2 * TIMEOUT + 2
    assert places(routed) == [(other(alias), Reason.FAILOVER)]
    assert health.is_ejected(alias)


def test_a_frozen_server_that_the_monitor_has_noticed(page, routed):
    """It ends the reads that wait for the server, before the driver gives up, which it may never do."""
    alias = chosen(routed)
    found = server_of(page, alias)
    found.server.freeze()

    def strike():
        found.wait(lambda: loads[alias].running)
        assert cut_off(alias) == 1

    began = busy_clock()
    try:
        with meanwhile(strike):
            assert titles() == ["old"]
    finally:
        found.server.thaw()
    assert busy_clock() - began < TIMEOUT
    assert places(routed) == [(other(alias), Reason.FAILOVER)]


def test_a_query_that_takes_too_long(page, routed):
    """It takes no replica out of use, and is not run again and again."""
    if not has_read_timeout():
        pytest.skip("not for this driver, which waits for as long as it takes")
    alias = chosen(routed)
    ran_on = []

    def watch(execute, sql, params, many, context):
        if "app_book" in sql:
            ran_on.append(context["connection"].alias)
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(watch), pytest.raises(OperationalError):
        slowly(*REPLICAS)
    assert ran_on == [alias, other(alias)]
    assert not any(map(health.is_ejected, REPLICAS))


# --- connections from a pool ----------------------------------------------------------------------


@pytest.fixture
def pooled(cluster, monkeypatch):
    """Connections that are handed back to a pool of psycopg's at the end of a request, or when they break."""
    if connections["default"].vendor != "postgresql":
        pytest.skip("not for this driver, which has no pool")
    pytest.importorskip("psycopg_pool")
    connections.close_all()
    for alias in REPLICAS:
        options = {**connections.settings[alias]["OPTIONS"], "pool": {"timeout": TIMEOUT}}
        monkeypatch.setitem(connections.settings[alias], "OPTIONS", options)
    yield cluster
    for alias in REPLICAS:
        connections[alias].close()
        connections[alias].close_pool()


@pytest.mark.parametrize("way", WAYS)
def test_connections_of_a_pool(pooled, routed, way):
    with routing_scope(safe=True):
        assert titles() == ["old"]
        alias = chosen(routed)
        way(server_of(pooled, alias))
        assert titles() == ["old"]
    assert places(routed) == [(other(alias), Reason.FAILOVER)]
    for _ in range(10):
        with routing_scope(safe=True):
            assert titles() == ["old"]
