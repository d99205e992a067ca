"""Opening a replica's connection is part of the choice; and nothing can be written through one."""

import logging
import threading

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_rwrouter import ReplicaWriteError, read_connection, routing_scope, use_primary, use_replica
from django_rwrouter.execution import hook
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.health import health
from django_rwrouter.testing import capture_routing
from tests.app.models import Book, Tag
from tests.sqlite.conftest import REPLICAS, ask, events, reason, replicate


def write(_request=None):
    Book.objects.create(title="new")


def name(_request=None):
    return ask().alias


@pytest.fixture
def clock(monkeypatch):
    """Time as the health of replicas sees it."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(health, "_clock", lambda: Clock.now)
    return Clock


# --- replicas that are gone ----------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [["replica1"], ["replica2"]])
def test_a_dead_replica_is_passed_over_for_another(site, servers, dead):
    servers.kill(*dead)
    (left,) = set(REPLICAS) - set(dead)
    assert {site.get(name).text for _visit in range(8)} == {left}


def test_without_any_replica_the_primary_answers(site, servers):
    servers.kill()
    write()
    assert site.get(lambda _request: f"{Book.objects.count()} {reason()}").text == "1 no_replica"


def test_without_any_replica_the_primary_answers_under_atomic_requests(
    atomic_requests, servers, client, settings
):
    servers.kill()
    assert client.get("/books/").status_code == 200


def test_an_outage_of_replicas_makes_nobody_sticky(site, servers):
    servers.kill()
    assert not site.get(lambda _request: reason()).cookies
    health.reset()
    servers.revive()
    assert site.get(lambda _request: reason()).text == "window"


def test_a_block_that_asks_for_a_replica_gets_the_primary_if_there_is_none(site, servers):
    servers.kill()
    assert site.get(use_replica()(lambda _request: reason())).text == "no_replica"


def test_a_dead_replica_is_left_alone_for_a_while(site, servers, clock, monkeypatch):
    tried = []
    sqlite = type(connections["default"])
    connect = sqlite.get_new_connection

    def counting(self, parameters):
        tried.append(self.alias)
        return connect(self, parameters)

    monkeypatch.setattr(sqlite, "get_new_connection", counting)
    servers.kill("replica1")
    for _visit in range(20):
        site.get(name)
    assert tried.count("replica1") == 1

    clock.now += 2 * POLICY.longest_pause
    for _visit in range(20):
        site.get(name)
    assert tried.count("replica1") == 2


def test_a_replica_that_is_back_is_used_again(site, servers, clock):
    servers.kill("replica1")
    for _visit in range(20):
        site.get(name)
    servers.revive("replica1")
    assert {site.get(name).text for _visit in range(20)} == {"replica2"}
    clock.now += 2 * POLICY.longest_pause
    assert {site.get(name).text for _visit in range(20)} == set(REPLICAS)


def test_a_replica_that_is_passed_over_is_logged_and_counted(site, servers, caplog):
    servers.kill("replica1")
    with caplog.at_level(logging.WARNING, logger="django_rwrouter"):
        for _visit in range(20):
            site.get(name)
    (record,) = caplog.records
    assert record.alias == "replica1"
    assert "OperationalError" in record.getMessage()
    assert str(connections["replica1"].settings_dict["NAME"]) not in record.getMessage()
    assert events()["replica_ejected", "replica1"] == 1


def test_a_replica_that_fails_while_a_request_is_under_way(site, settings):
    """Other requests have found out: this one draws again for its next read."""
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"]}

    def view(_request):
        first = name()
        health.failed(first)
        second = name()
        health.failed(second)
        return first != second, {first, second} == set(REPLICAS), reason()

    assert site.get(view).text == "(True, True, 'no_replica')"


def test_a_statement_is_sent_once_whatever_happens(site):
    sent = []

    def failing(execute, sql, params, many, context):
        sent.append(sql)
        raise DatabaseError("made up")

    def view(_request):
        with read_connection().execute_wrapper(failing), pytest.raises(DatabaseError):
            Book.objects.count()
        return len(sent)

    assert site.get(view).text == "1"


def test_errors_that_are_not_the_databases_pass(site, monkeypatch):
    def broken(self):
        raise ZeroDivisionError

    for alias in REPLICAS:
        connections[alias].close()
    monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", broken)
    with pytest.raises(ZeroDivisionError):
        site.get(name)


@pytest.mark.parametrize("method", ["connect", "ensure_connection"])
def test_a_test_that_replaces_what_connects_gets_an_answer(site, monkeypatch, method):
    for alias in REPLICAS:
        connections[alias].close()
        monkeypatch.setattr(connections[alias], method, lambda: None)
    assert site.get(lambda _request: reason()).text == "no_replica"


# --- CONN_HEALTH_CHECKS ----------------------------------------------------------------------------------


@pytest.fixture
def pings(monkeypatch):
    """Let connections be pinged once in a request: which do not answer, and which were asked."""

    class Pings:
        dead = set()
        asked = []

    def is_usable(self):
        Pings.asked.append(self.alias)
        return self.alias not in Pings.dead

    Pings.dead.clear()
    Pings.asked.clear()
    for alias in REPLICAS:
        monkeypatch.setitem(connections[alias].settings_dict, "CONN_HEALTH_CHECKS", True)
        monkeypatch.setattr(type(connections[alias]), "is_usable", is_usable)
        connections[alias].close()
    return Pings


def next_request():
    """Do what Django does at the beginning of a request, for connections that persist."""
    for alias in REPLICAS:
        connections[alias].close_at = None
        connections[alias].health_check_done = False


def test_a_persistent_connection_that_does_not_answer_is_opened_anew(databases, pings, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    with routing_scope(safe=True):
        assert name() == "replica1"
    before = connections["replica1"].connection
    next_request()
    pings.dead.add("replica1")
    with routing_scope(safe=True):
        assert [name(), name()] == ["replica1", "replica1"]
    assert connections["replica1"].connection is not before
    assert pings.asked == ["replica1"]


def test_one_whose_server_is_gone_is_passed_over(databases, pings, servers, monkeypatch):
    for alias in REPLICAS:
        connections[alias].ensure_connection()
    next_request()
    pings.dead.update(REPLICAS)
    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "close", lambda self: None)
        servers.kill()  # the connections stay open
    with routing_scope(safe=True):
        assert reason() == "no_replica"


def test_one_that_answers_is_kept(databases, pings, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    with routing_scope(safe=True):
        name()
    before = connections["replica1"].connection
    next_request()
    with routing_scope(safe=True):
        name()
        name()
    assert connections["replica1"].connection is before
    assert pings.asked == ["replica1"]


# --- opened once in a scope ------------------------------------------------------------------------------


def test_a_connection_is_looked_at_once_in_a_scope_and_thread(databases, settings, monkeypatch):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    looked = []
    look = BaseDatabaseWrapper.close_if_health_check_failed

    def counting(self):
        looked.append((self.alias, threading.current_thread().name))
        return look(self)

    with routing_scope(safe=True):
        name()
        monkeypatch.setattr(BaseDatabaseWrapper, "close_if_health_check_failed", counting)
        monkeypatch.setattr(BaseDatabaseWrapper, "ensure_connection", lambda self: None)
        from django.db import router

        for _read in range(5):
            router.db_for_read(Book)
    assert looked == []


def test_a_forgotten_connection_is_opened_anew_in_another_thread(site):
    """Connections belong to threads: what is open in one is not in the other."""

    def view(_request):
        import contextvars

        here = name()
        found = []

        def there():
            found.append((name(), connections[here].connection is not None))
            connections.close_all()

        thread = threading.Thread(target=contextvars.copy_context().run, args=(there,))
        thread.start()
        thread.join()
        return found == [(here, True)]

    assert site.get(view).text == "True"


# --- read-only sessions ----------------------------------------------------------------------------------


def cursor_insert(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("INSERT INTO app_tag (name) VALUES ('x')")


def cursor_executemany(alias):
    with connections[alias].cursor() as cursor:
        cursor.executemany("INSERT INTO app_tag (name) VALUES (%s)", [["x"], ["y"]])


REPLICA_WRITES = {
    "create": lambda alias: Tag.objects.using(alias).create(name="x"),
    "save": lambda alias: Tag.objects.using(alias).get().save(using=alias),
    "update": lambda alias: Tag.objects.using(alias).update(name="x"),
    "delete": lambda alias: Tag.objects.using(alias).filter(name="red")._raw_delete(alias),
    "bulk_create": lambda alias: Tag.objects.using(alias).bulk_create([Tag(name="x")]),
    "a raw cursor": cursor_insert,
    "executemany": cursor_executemany,
    "inside atomic": lambda alias: transaction.atomic(using=alias)(cursor_insert)(alias),
    "a proxy of the connection": lambda _alias: write_through_read_connection(),
}


def write_through_read_connection():
    with use_replica(), read_connection().cursor() as cursor:
        cursor.execute("INSERT INTO app_tag (name) VALUES ('x')")


@pytest.mark.parametrize("alias", REPLICAS)
@pytest.mark.parametrize("write", REPLICA_WRITES.values(), ids=REPLICA_WRITES)
def test_nothing_can_be_written_through_a_replicas_connection(databases, write, alias):
    Tag.objects.create(name="red")
    replicate()
    with pytest.raises(ReplicaWriteError, match=r"replica.*'app_tag'|'app_tag'.*replica") as caught:
        write(alias)
    assert isinstance(caught.value, DatabaseError)
    assert isinstance(caught.value.__cause__, DatabaseError)
    assert [tag.name for tag in Tag.objects.using(alias)] == ["red"]
    assert sum(count for (event, _), count in events().items() if event == "replica_write_refused") == 1


def test_a_replica_can_be_read_after_a_refused_write(databases):
    with pytest.raises(ReplicaWriteError), transaction.atomic(using="replica1"):
        cursor_insert("replica1")
    assert Tag.objects.using("replica1").count() == 0


def test_a_connection_that_is_opened_anew_is_read_only_too(databases):
    for _time in range(2):
        with pytest.raises(ReplicaWriteError):
            cursor_insert("replica1")
        connections["replica1"].close()


def test_read_only_sessions_can_be_switched_off(databases, settings):
    """For poolers that share sessions. What is written then counts like any other write."""
    settings.RWROUTER = {**settings.RWROUTER, "READ_ONLY_SESSIONS": False}
    connections["replica1"].close()
    with routing_scope(safe=True):
        cursor_insert("replica1")
        assert reason() == "wrote_in_scope"
    connections["replica1"].close()


def test_the_primary_can_be_written_to(databases):
    cursor_insert("default")
    assert Tag.objects.count() == 1


def test_other_databases_can_be_written_to(databases):
    cursor_insert("other")


# --- read_connection -------------------------------------------------------------------------------------


def test_read_connection_is_where_a_read_would_go(site):
    def view(_request):
        connection = read_connection()
        with capture_routing() as decisions, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM app_book")
            count = cursor.fetchone()[0]
        (decision,) = decisions
        assert decision.alias == connection.alias
        return f"{count} {decision.reason.value} {decision.model}"

    write()
    assert site.get(view).text == "0 window None"
    site.post(write)
    assert site.get(view).text == "2 pinned None"


def test_read_connection_keeps_to_the_scopes_replica(site):
    def view(_request):
        return len({read_connection().alias, name(), read_connection().alias})

    assert {site.get(view).text for _visit in range(8)} == {"1"}


def test_read_connection_outside_any_scope(databases):
    assert read_connection() is connections["default"]
    with use_replica():
        assert read_connection().alias in REPLICAS
    with use_replica(), transaction.atomic():
        assert read_connection() is connections["default"]


# --- hooks -----------------------------------------------------------------------------------------------


def test_a_connection_that_was_opened_before_the_app_was_ready_is_hooked_then(databases):
    """It never tells us that it was opened."""
    app = apps.get_app_config("django_rwrouter")
    kept, connection_created.receivers = connection_created.receivers, []
    connection_created.sender_receivers_cache.clear() if connection_created.use_caching else None
    try:
        for alias in ("default", "replica1"):
            connections[alias].close()
            connections[alias].execute_wrappers.clear()
            connections[alias].ensure_connection()
    finally:
        connection_created.receivers = kept
    assert connections["default"].execute_wrappers == []

    app.ready()
    with routing_scope(safe=True):
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO app_tag (name) VALUES ('x')")
        assert reason() == "wrote_in_scope"
    with pytest.raises(ReplicaWriteError):
        cursor_insert("replica1")


def test_being_ready_twice_changes_nothing(databases):
    app = apps.get_app_config("django_rwrouter")
    app.ready()
    app.ready()
    assert connection.execute_wrappers.count(hook.observe) == 1


def test_a_wrapper_around_the_opening_of_a_connection_takes_itself_away_and_not_us(databases):
    """Django's execute_wrapper() removes whatever is last when it ends."""

    def wrapper(execute, sql, params, many, context):
        return execute(sql, params, many, context)

    for alias in ("default", "replica1"):
        fresh = connections.create_connection(alias)
        fresh.alias = alias
        with fresh.execute_wrapper(wrapper), fresh.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert fresh.execute_wrappers == [hook.observe]
        fresh.close()


def test_a_database_that_is_not_ours_is_not_hooked(databases):
    connections["other"].close()
    connections["other"].execute_wrappers.clear()  # other tests have other settings
    connections["other"].ensure_connection()
    assert hook.observe not in connections["other"].execute_wrappers


def test_users_count_only_their_own_statements(
    site, django_assert_num_queries, django_assert_max_num_queries
):
    """Connections are made read-only, and checked, below what Django shows."""
    for alias in REPLICAS:
        connections[alias].close()

    def view(_request):
        with django_assert_num_queries(2, using=read_connection().alias):
            list(Book.objects.all())
            Book.objects.count()
        with django_assert_num_queries(1), use_primary():
            Book.objects.count()
        return "ok"

    assert site.get(view).text == "ok"
