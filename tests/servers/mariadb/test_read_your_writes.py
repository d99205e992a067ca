"""Whoever writes sees it at once, and nobody else has to read from the primary for that.

No replica applies anything while these tests look, so lag is exact: what a replica answers is old.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.test import AsyncClient, Client

from django_rwrouter import Reason, consistency, routing_scope, use_primary, use_replica
from django_rwrouter.testing import capture_routing
from tests.app.models import AuditRow, Book
from tests.asynchronous import Asynchronous
from tests.servers.mariadb import views

ALL_WAYS = [*views.WAYS, *views.ASYNC_WAYS]
ROUTING = "django_rwrouter.middleware.ReadWriteMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


@pytest.fixture(params=[Client, Asynchronous], ids=["client", "async_client"])
def new_client(request):
    return request.param


# --- the promise, and what happens without it ---------------------------------------------------


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("method", ["post", "get"])
def test_the_writer_sees_the_write_and_others_the_past(lagging, routed, new_client, method, way):
    writer, other = new_client(), new_client()
    same_request = getattr(writer, method)(f"/{way}/", {"title": "new"})
    routed.clear()
    next_request = writer.get(f"/{way}/")
    assert {decision.alias for decision in routed} == {"default"}
    assert {decision.reason for decision in routed} == {Reason.PINNED}
    routed.clear()
    by_another = other.get(f"/{way}/")
    assert {decision.alias for decision in routed} < {"replica1", "replica2"}
    seen = same_request.content, next_request.content, by_another.content
    assert seen == (b"old,new", b"old,new", b"old")


@pytest.mark.parametrize("way", ALL_WAYS)
def test_under_eventual_the_next_request_misses_the_write(lagging, rwrouter, way):
    """These tests can fail: without the window, the past is what is seen."""
    rwrouter(CONSISTENCY="eventual")
    writer = Client()
    assert writer.post(f"/{way}/", {"title": "new"}).content == b"old,new"
    assert writer.get(f"/{way}/").content == b"old"


@pytest.mark.parametrize("way", ALL_WAYS)
def test_without_the_cookie_the_write_is_missed(lagging, way):
    writer = Client()
    writer.post(f"/{way}/", {"title": "new"})
    del writer.cookies["rwrouter"]
    assert writer.get(f"/{way}/").content == b"old"


def test_reads_return_to_replicas_when_the_window_has_closed(lagging, routed, clock, new_client):
    writer = new_client()
    writer.post("/orm/", {"title": "new"})
    clock.advance(4.9)
    assert writer.get("/orm/").content == b"old,new"
    clock.advance(0.2)
    routed.clear()
    assert writer.get("/orm/").content == b"old"
    assert [decision.reason for decision in routed] == [Reason.WINDOW]
    # Once the replicas have caught up, they have the write.
    for server in lagging.replicas:
        lagging.resume(server)
    lagging.wait_all()
    assert writer.get("/orm/").content == b"old,new"
    assert routed[-1].alias != "default"


def test_each_write_opens_the_window_anew(lagging, clock):
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    clock.advance(4)
    writer.post("/orm/", {"title": "newer"})
    clock.advance(4)
    assert writer.get("/orm/").content == b"old,new,newer"
    clock.advance(1.1)
    assert writer.get("/orm/").content == b"old"


def test_a_replica_that_is_late_by_a_fixed_time(cluster, routed, clock):
    """With MASTER_DELAY, what the network or a slow replica does in real life."""
    for server in cluster.replicas:
        cluster.delay(server, 600)
    writer = Client()
    writer.post("/orm/", {"title": "new"})
    assert writer.get("/orm/").content == b"new"
    clock.advance(6)
    assert writer.get("/orm/").content == b""
    for server in cluster.replicas:
        cluster.delay(server, 0)
    cluster.wait_all()
    assert writer.get("/orm/").content == b"new"
    assert routed[-1].reason is Reason.WINDOW


def test_many_writers_at_once(lagging, routed):
    """Threads of one process, as under gunicorn: nobody's window reaches anybody else."""
    readers_and_writers = 8

    def write_and_read_back(number):
        try:
            writer, reader = Client(), Client()
            seen = []
            for attempt in range(5):
                title = f"{number}/{attempt}"
                writer.post("/orm/", {"title": title})
                seen.append(title in writer.get("/orm/").content.decode().split(","))
                seen.append(reader.get("/orm/").content == b"old")
            return all(seen)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(readers_and_writers) as pool:
        assert all(pool.map(write_and_read_back, range(readers_and_writers)))
    assert {decision.alias for decision in routed} == {"default", "replica1", "replica2"}


def test_many_writers_on_one_event_loop(lagging, routed):
    """Tasks that take turns in one thread: what is known of one request stays with it."""

    async def write_and_read_back(number):
        writer, reader = AsyncClient(), AsyncClient()
        seen = []
        for attempt in range(5):
            title = f"{number}/{attempt}"
            await writer.post("/async-gather/", {"title": title})
            again, other = await asyncio.gather(writer.get("/async-orm/"), reader.get("/async-orm/"))
            seen += [title in again.content.decode().split(","), other.content == b"old"]
        return all(seen)

    async def everybody():
        return await asyncio.gather(*map(write_and_read_back, range(8)))

    assert all(async_to_sync(everybody)())
    assert {decision.alias for decision in routed} == {"default", "replica1", "replica2"}


def test_a_streamed_body_is_read_where_its_request_was(lagging):
    assert Client().get("/stream/").getvalue() == b"old,"
    writer = Client()
    assert writer.get("/stream/", {"title": "new"}).getvalue() == b"old,new,"
    assert writer.get("/stream/").getvalue() == b"old,new,"


# --- where the token is kept --------------------------------------------------------------------


@pytest.fixture(
    params=[
        ("cookie", "db"),
        ("session", "db"),
        ("session", "cached_db"),
        ("session", "cache"),
        ("session", "file"),
        ("session", "signed_cookies"),
        (["cookie", "session"], "db"),
    ],
    ids=lambda param: f"{'+'.join(param[0]) if isinstance(param[0], list) else param[0]}-{param[1]}",
)
def store(request, settings, rwrouter, tmp_path):
    """STORE, and Django's SESSION_ENGINE. The cache is in the database: several processes could share it."""
    name, engine = request.param
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    database_cache = {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache_table",
    }
    settings.CACHES = {"default": database_cache}
    if "session" in name:
        others = [path for path in settings.MIDDLEWARE if path not in (ROUTING, SESSIONS)]
        settings.MIDDLEWARE = [SESSIONS, ROUTING, *others]
    rwrouter(STORE=name)
    return name


def test_every_store_keeps_the_token(lagging, store, clock, new_client, settings):
    writer, other = new_client(), new_client()
    writer.post("/orm/", {"title": "new"})
    assert writer.get("/orm/").content == b"old,new"
    assert other.get("/orm/").content == b"old"
    # A session in a cookie cannot be written once the response is made: the package's own cookie stands in.
    is_signed = settings.SESSION_ENGINE.endswith("signed_cookies")
    assert ("rwrouter" in writer.cookies) == ("cookie" in store or is_signed)
    assert ("sessionid" in writer.cookies) == ("session" in store and not is_signed)
    assert not other.cookies
    clock.advance(5.1)
    assert writer.get("/orm/").content == b"old"


def test_session_rows_pin_nobody_and_are_never_read_late(lagging, store, routed):
    visitor = Client()
    pages = [visitor.get("/visits/").content for _ in range(3)]
    assert pages == [b"1: old", b"2: old", b"3: old"]
    books = [decision for decision in routed if decision.model is Book]
    assert {decision.reason for decision in books} == {Reason.WINDOW}
    assert "rwrouter" not in visitor.cookies


def test_nobody_is_logged_out_by_a_late_replica(cluster, administration, store, clock, routed):
    User.objects.create_superuser("ines", password="secret")
    administration.level()
    administration.pause()
    visitor = Client()
    login = visitor.post("/admin/login/?next=/admin/", {"username": "ines", "password": "secret"})
    assert (login.status_code, login.url) == (302, "/admin/")
    assert visitor.get("/admin/").status_code == 200
    clock.advance(6)
    routed.clear()
    assert visitor.get("/admin/").status_code == 200
    users = [decision for decision in routed if decision.model is User]
    assert {decision.reason for decision in users} == {Reason.WINDOW}


# --- transactions -------------------------------------------------------------------------------


@pytest.fixture
def atomic_requests(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


@pytest.mark.parametrize("way", [way for way in views.WAYS if way != "autocommit-off"])
@pytest.mark.parametrize("method", ["post", "get"])
def test_under_atomic_requests(lagging, atomic_requests, routed, method, way):
    writer, other = Client(), Client()
    same_request = getattr(writer, method)(f"/{way}/", {"title": "new"}).content
    # What runs after the commit runs after the view.
    assert same_request == (b"old" if way == "on-commit" else b"old,new")
    assert writer.get(f"/{way}/").content == b"old,new"
    routed.clear()
    assert other.get(f"/{way}/").content == b"old"
    assert [decision.reason for decision in routed] == [Reason.WINDOW]


def test_reads_stay_on_the_primary_in_a_transaction_and_after_a_locking_read(lagging, routed):
    with routing_scope(safe=True):
        with transaction.atomic():
            assert list(views.titles()) == ["old"]
            assert Book.objects.select_for_update().get().title == "old"
        assert list(views.titles()) == ["old"]
    assert [decision.alias == "default" for decision in routed] == [True, True, True]
    assert routed[0].reason is Reason.IN_TRANSACTION
    assert routed[2].reason is Reason.WROTE_IN_SCOPE


def test_a_rolled_back_write_is_not_seen_and_pins_on_the_safe_side(lagging):
    with routing_scope(safe=True):
        with transaction.atomic():
            Book.objects.create(title="new")
            transaction.set_rollback(True)
        with capture_routing() as decisions:
            assert list(views.titles()) == ["old"]
    assert [decision.reason for decision in decisions] == [Reason.WROTE_IN_SCOPE]


def test_get_or_create_finds_what_a_replica_has_not_seen(lagging):
    Book.objects.create(title="new")
    with routing_scope(safe=True):
        assert not Book.objects.filter(title="new").exists()
        book, created = Book.objects.get_or_create(title="new")
        assert (book.title, created) == ("new", False)


# --- blocks -------------------------------------------------------------------------------------


def test_blocks_choose_their_own_freshness(lagging):
    with routing_scope(safe=True):
        Book.objects.create(title="new")
        with use_replica():
            assert list(views.titles()) == ["old"]
        assert list(views.titles()) == ["old", "new"]
    with routing_scope(safe=True):
        assert list(views.titles()) == ["old"]
        with use_primary():
            assert list(views.titles()) == ["old", "new"]
        with consistency("primary"):
            assert list(views.titles()) == ["old", "new"]
        assert list(views.titles()) == ["old"]


def test_what_was_read_on_the_primary_is_followed_there(lagging):
    """An object that a replica has not seen yet, and what belongs to it."""
    new = Book.objects.create(title="new")
    with routing_scope(safe=True):
        with use_primary():
            book = Book.objects.get(pk=new.pk)
        book.refresh_from_db()
        assert list(book.tags.all()) == []
        with pytest.raises(Book.DoesNotExist):
            Book.objects.get(pk=new.pk)


def test_models_of_primary_only_are_always_fresh_and_pin_nobody(lagging, rwrouter):
    rwrouter(PRIMARY_ONLY=["app.AuditRow"])
    with routing_scope(safe=True):
        AuditRow.objects.create(text="seen")
        assert list(views.titles()) == ["old"]
        assert AuditRow.objects.count() == 1


# --- one replica for a request ------------------------------------------------------------------


@pytest.fixture
def uneven(cluster):
    """One replica has one book less than the other."""
    Book.objects.create(title="old")
    cluster.wait_all()
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="new")
    cluster.wait(cluster.replicas[1])


def test_two_reads_of_a_request_agree(uneven):
    answers = {Client().get("/twice/").content for _ in range(40)}
    assert answers == {b"1,1", b"2,2"}


def test_with_a_draw_for_each_query_they_may_not(uneven, rwrouter):
    rwrouter(REPLICA_PER="query")
    answers = {Client().get("/twice/").content for _ in range(60)}
    assert answers == {b"1,1", b"2,2", b"1,2", b"2,1"}


def test_weights_are_honoured(cluster, routed, rwrouter):
    rwrouter(REPLICAS={"replica1": {"WEIGHT": 9}, "replica2": {"WEIGHT": 1}})
    for _ in range(200):
        Client().get("/orm/")
    by_alias = [decision.alias for decision in routed]
    # 180 are expected; less than 150 has a chance of one in ten million.
    assert by_alias.count("replica1") > 150
    assert by_alias.count("replica1") + by_alias.count("replica2") == 200


# --- switched off -------------------------------------------------------------------------------


@pytest.mark.parametrize("enabled", [False, "shadow"])
def test_switched_off_the_primary_answers_everything(lagging, rwrouter, routed, enabled):
    Book.objects.create(title="new")
    rwrouter(ENABLED=enabled)
    routed.clear()
    assert Client().get("/orm/").content == b"old,new"
    [decision] = routed
    assert decision.alias == "default"
    assert (decision.would_be in {"replica1", "replica2"}) == (enabled == "shadow")
