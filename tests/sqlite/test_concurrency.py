"""Threads and tasks: what belongs to one request is seen in all of it, and nowhere else."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, router
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from django_rwrouter import consistency, routing_scope, use_primary, use_replica
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.routing.decision_cache import decide_read
from django_rwrouter.scope.context import current_block, current_scope
from django_rwrouter.testing import capture_routing
from tests.app.models import Book, Tag
from tests.sqlite.conftest import REPLICAS, reason

areason = sync_to_async(reason)


def write():
    Book.objects.create(title="new")


def in_thread(function, *, context=None):
    """Run in a new thread, with the context of a request or with none."""
    results = []

    def work():
        try:
            results.append(context.run(function) if context else function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]


@pytest.fixture
def serve(databases, settings):
    """Answer requests with an async view."""

    def serve(view):
        async def as_view(request):
            return HttpResponse(str(await view(request)))

        settings.ROOT_URLCONF = (path("", as_view),)

    return serve


async def one_after_the_other(serve, *views, client=None):
    client = client or AsyncClient()
    answers = []
    for view in views:
        serve(view)
        answers.append((await client.get("/")).content.decode())
    return answers


# --- threads -----------------------------------------------------------------------------------------


def test_a_thread_that_served_a_writer_serves_the_next_client_afresh(databases):
    """One server thread, many clients."""

    def serve_both():
        Client().post("/books/", {"title": "new"})
        left = (current_scope(), current_block("default"), reason())
        with capture_routing() as decisions:
            Client().get("/books/")
        return left, [decision.reason.value for decision in decisions]

    assert in_thread(serve_both) == ((None, None, "outside_scope"), ["window"])


@pytest.mark.parametrize("block", [use_primary(), use_replica(), consistency("eventual")])
def test_a_block_is_not_seen_by_other_threads(databases, block):
    with routing_scope(safe=True), block:
        assert in_thread(reason) == "outside_scope"


def test_a_thread_with_the_context_of_a_request_belongs_to_it(site):
    def view(_request):
        with use_primary():
            inside = in_thread(reason, context=contextvars.copy_context())
        in_thread(write, context=contextvars.copy_context())
        return inside, reason()

    assert site.get(view).text == "('use_primary', 'wrote_in_scope')"
    assert site.get(lambda _request: reason()).text == "pinned"


def test_many_threads_of_one_request_at_once(site):
    """They share its replica and its memory; each opens connections of its own."""

    def view(_request):
        barrier = threading.Barrier(6)

        def work():
            barrier.wait()
            try:
                return router.db_for_read(Book), Tag.objects.count()
            finally:
                connections.close_all()

        drawn = router.db_for_read(Book)
        with ThreadPoolExecutor(6) as pool:
            jobs = [pool.submit(contextvars.copy_context().run, work) for _thread in range(6)]
            return {job.result() for job in jobs} == {(drawn, 0)}

    assert site.get(view).text == "True"


def test_each_of_two_reads_at_once_is_told_with_its_reason(site, settings):
    """A slow read of a table in one thread, and a quick one of the same table in another."""

    def view(_request):
        started, go_on = threading.Event(), threading.Event()

        def wait(execute, *args):
            started.set()
            go_on.wait(10)
            return execute(*args)

        def slow():
            try:
                with connections["replica1"].execute_wrapper(wait):
                    return Book.objects.count()
            finally:
                connections.close_all()

        with capture_routing() as decisions, ThreadPoolExecutor(1) as pool:
            job = pool.submit(contextvars.copy_context().run, slow)
            started.wait(10)
            Book.objects.count()
            go_on.set()
            job.result()
        return [decision.reason.value for decision in decisions]

    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    assert site.get(view).text == "['window', 'window']"


def test_many_clients_at_once_each_see_their_own(databases):
    """Six threads, each a client that writes and reads back while the replicas stand still."""
    problems = []

    def client_of(number):
        client = Client()
        try:
            for turn in range(5):
                title = f"{number}.{turn}"
                client.post("/books/", {"title": title})
                if title.encode() not in client.get("/books/").content.split(b","):
                    problems.append(title)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=client_of, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


# --- tasks -------------------------------------------------------------------------------------------


def test_a_block_of_async_code_reaches_its_threads(serve):
    async def view(_request):
        with use_primary():
            inside = await areason()
        return inside, await areason()

    assert async_to_sync(one_after_the_other)(serve, view) == ["('use_primary', 'window')"]


def test_what_a_child_task_wrote_the_request_knows(serve):
    async def view(_request):
        await asyncio.gather(Tag.objects.acreate(name="x"), asyncio.sleep(0))
        return await areason()

    async def read(_request):
        return await areason()

    answers = async_to_sync(one_after_the_other)(serve, view, read)
    assert answers == ["wrote_in_scope", "pinned"]


def test_blocks_of_gathered_children_do_not_disturb_each_other(serve):
    async def child(block, turns):
        with block:
            reasons = []
            for _turn in range(turns):
                reasons.append(await areason())
                await asyncio.sleep(0)
            return set(reasons)

    async def view(_request):
        children = [
            child(use_primary(), 3),
            child(use_replica(), 2),
            child(consistency("eventual"), 4),
            child(consistency("primary"), 1),
        ]
        found = await asyncio.gather(*children)
        return [*map(list, found), await areason()]

    assert async_to_sync(one_after_the_other)(serve, view) == [
        "[['use_primary'], ['use_replica'], ['eventual'], ['level_primary'], 'window']"
    ]


def test_requests_of_one_loop_do_not_disturb_each_other(serve):
    """One waits inside its block while the other runs."""

    async def main():
        inside, go_on = asyncio.Event(), asyncio.Event()

        async def writer(_request):
            with use_primary():
                await Tag.objects.acreate(name="x")
                inside.set()
                await go_on.wait()
                return await areason()

        async def reader(_request):
            return await areason()

        serve(writer)
        first = asyncio.ensure_future(AsyncClient().get("/"))
        await inside.wait()
        serve(reader)
        second = await AsyncClient().get("/")
        go_on.set()
        return second.content.decode(), (await first).content.decode()

    assert async_to_sync(main)() == ("window", "use_primary")


def test_a_task_that_outlives_its_request_changes_nothing_for_others(serve):
    async def main():
        tasks, answered = [], asyncio.Event()

        async def view(_request):
            async def later():
                await answered.wait()
                await Tag.objects.acreate(name="x")
                return await areason()

            tasks.append(asyncio.ensure_future(later()))
            return await areason()

        client = AsyncClient()
        serve(view)
        first = (await client.get("/")).content.decode()
        answered.set()
        late = await tasks[0]

        async def read(_request):
            return await areason()

        serve(read)
        return first, late, (await client.get("/")).content.decode()

    assert async_to_sync(main)() == ("window", "wrote_in_scope", "window")


def test_scopes_of_tasks_are_their_own(databases):
    @routing_scope(safe=True)
    async def consumer(*, writes):
        if writes:
            await Tag.objects.acreate(name="x")
        await asyncio.sleep(0)
        return await areason()

    async def main():
        return await asyncio.gather(*(consumer(writes=writes) for writes in (True, False, True, False)))

    assert async_to_sync(main)() == ["wrote_in_scope", "window"] * 2


def test_nothing_is_left_in_the_threads_of_async_code(databases, serve):
    async def view(_request):
        await Tag.objects.acreate(name="x")
        with use_primary():
            return await areason()

    assert async_to_sync(one_after_the_other)(serve, view, view) == ["use_primary"] * 2
    assert (current_scope(), current_block("default")) == (None, None)
    assert reason() == "outside_scope"


def test_the_router_asked_on_the_event_loop_waits_for_nothing(serve, servers, settings):
    """A connection that a thread will open then; no replica is tried from there."""
    servers.kill()

    async def view(_request):
        return router.db_for_read(Book) in REPLICAS, router.db_for_write(Book)

    assert async_to_sync(one_after_the_other)(serve, view) == ["(True, 'default')"]


def test_an_async_query_survives_dead_replicas(serve, servers):
    servers.kill()

    async def view(_request):
        return await Book.objects.acount(), [book async for book in Book.objects.all()], await areason()

    assert async_to_sync(one_after_the_other)(serve, view) == ["(0, [], 'no_replica')"]


def test_on_the_event_loop_a_token_in_the_session_cannot_be_fetched(serve, settings):
    settings.RWROUTER = {**settings.RWROUTER, "STORE": "session"}
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django_rwrouter.middleware.ReadWriteMiddleware",
    ]

    async def view(_request):
        route = get_topology().route(Book)
        before = decide_read(route)
        known = await areason()
        return before.alias, before.reason.value, known, decide_read(route).reason.value

    assert async_to_sync(one_after_the_other)(serve, view) == [
        "('default', 'event_loop', 'window', 'window')"
    ]
