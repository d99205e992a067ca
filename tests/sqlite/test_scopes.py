"""Scopes and tokens: for workers, consumers and scripts; and what holds outside of them all."""

import contextvars
import gc
import threading
import weakref

import pytest
from django.db import connections, transaction

from django_rwrouter import (
    consistency,
    current_token,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    untracked_writes,
    use_primary,
    use_replica,
)
from tests.app.models import Book
from tests.sqlite.conftest import REPLICAS, ask, events, reason, replicate


def write(_request=None):
    Book.objects.create(title="new")


@pytest.fixture(autouse=True)
def nothing_is_left_behind(databases):
    yield
    assert reason() == "outside_scope"


# --- outside any scope -------------------------------------------------------------------------------


def test_reads_outside_any_scope_are_the_primarys():
    assert reason() == "outside_scope"
    write()
    assert reason() == "outside_scope"


@pytest.mark.parametrize(
    ("level", "expected"),
    [("window", "outside_replica"), ("eventual", "outside_replica"), ("primary", "level_primary")],
)
def test_or_a_replicas_if_the_project_says_so(settings, level, expected):
    settings.RWROUTER = {**settings.RWROUTER, "OUTSIDE_REQUEST": "replica", "CONSISTENCY": level}
    assert reason() == expected
    write()
    assert reason() == expected  # nothing is remembered there
    with transaction.atomic():
        assert reason() == "in_transaction"
    with use_primary():
        assert reason() == "use_primary"
    with routing_scope():
        assert reason() == "unsafe_method"
    settings.RWROUTER = {"REPLICAS": list(REPLICAS)}


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (use_primary(), ["use_primary", "use_primary"]),
        (use_replica(), ["use_replica", "use_replica"]),
        (consistency("eventual"), ["eventual", "wrote_in_scope"]),
        (consistency("window"), ["window", "wrote_in_scope"]),
    ],
    ids=["use_primary", "use_replica", "eventual", "window"],
)
def test_a_block_outside_any_scope_remembers_what_is_written_in_it(block, expected):
    with block:
        before = reason()
        write()
        assert [before, reason()] == expected
    with block:
        assert reason() == expected[0]


def test_a_block_outside_any_scope_is_as_long_as_the_outermost():
    with consistency("window"):
        with consistency("eventual"):
            write()
        assert reason() == "wrote_in_scope"


def test_another_thread_is_outside_any_scope():
    found = []

    def work():
        found.append(reason())
        connections.close_all()

    with routing_scope(safe=True):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert reason() == "window"
    assert found == ["outside_scope"]


# --- scopes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("safe", "expected"), [(True, "window"), (False, "unsafe_method")])
def test_a_scope_is_treated_like_a_request(safe, expected):
    with routing_scope(safe=safe):
        assert reason() == expected
        write()
        assert reason() == "wrote_in_scope"
    with routing_scope(safe=safe):
        assert reason() == expected


def test_a_scope_is_not_safe_unless_it_says_so():
    with routing_scope():
        assert reason() == "unsafe_method"


def test_a_worker_is_not_pinned_from_one_task_to_the_next():
    @routing_scope(safe=True)
    def task(*, writes):
        if writes:
            write()
        return reason()

    assert [task(writes=writes) for writes in (False, True, False)] == ["window", "wrote_in_scope", "window"]


def test_a_scope_inside_another_is_another_client():
    with routing_scope(safe=True):
        write()
        with routing_scope(safe=True):
            assert Book.objects.count() == 0
            assert reason() == "window"
        assert reason() == "wrote_in_scope"


def test_what_is_written_in_a_scope_counts_for_those_around_it():
    with routing_scope(safe=True):
        with routing_scope(), routing_scope():
            write()
        assert reason() == "wrote_in_scope"


def test_a_scope_inside_a_request_counts_for_the_request(site):
    def view(_request):
        with routing_scope():
            write()
        return reason()

    assert site.get(view).text == "wrote_in_scope"
    assert site.get(lambda _request: reason()).text == "pinned"


def test_a_request_inside_a_scope_is_another_client(client):
    """As in tests that use the client inside of one."""
    with routing_scope(safe=True):
        client.post("/books/", {"title": "new"})
        assert reason() == "window"


def test_one_replica_for_a_scope():
    for _scope in range(8):
        with routing_scope(safe=True):
            assert len({ask().alias for _read in range(8)}) == 1


def test_an_exception_ends_the_scope():
    with pytest.raises(ZeroDivisionError), routing_scope(safe=True):
        raise ZeroDivisionError


def test_untracked_writes_pin_nobody():
    with routing_scope(safe=True):
        with untracked_writes():
            write()
        assert reason() == "window"
        assert current_token() == ""


@pytest.mark.parametrize("make", [mark_written, lambda: mark_written("default")])
def test_a_write_that_no_cursor_shows_can_be_marked(make):
    with routing_scope(safe=True):
        make()
        assert reason() == "wrote_in_scope"
        assert current_token()


def test_marking_outside_any_scope_does_nothing():
    mark_written()


@pytest.mark.parametrize("work", [ask, write], ids=["read", "write"])
@pytest.mark.parametrize("around", [routing_scope(safe=True), use_primary()], ids=["scope", "block"])
def test_a_scope_keeps_no_connection_of_a_thread_that_is_gone(around, work):
    connections_of_threads = []

    def run():
        work()
        connections_of_threads.extend(weakref.ref(connection) for connection in connections.all())
        connections.close_all()

    with around:
        work()
        for _thread in range(3):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
            thread.start()
            thread.join()
        del thread
        gc.collect()
        assert connections_of_threads
        assert [ref() for ref in connections_of_threads if ref() is not None] == []


# --- tokens ------------------------------------------------------------------------------------------


def token_of_a_write():
    with routing_scope():
        write()
        return current_token()


def test_a_token_carries_consistency_to_another_scope():
    with routing_scope(safe=True, token=token_of_a_write()):
        assert (reason(), Book.objects.count()) == ("pinned", 1)


def test_the_same_without_it_or_under_eventual_is_stale():
    token = token_of_a_write()
    with routing_scope(safe=True):
        assert Book.objects.count() == 0
    with routing_scope(safe=True, token=token), consistency("eventual"):
        assert Book.objects.count() == 0


def test_a_token_may_come_as_the_bytes_that_redis_returns():
    token = token_of_a_write().encode()
    with routing_scope(safe=True, token=token):
        assert reason() == "pinned"


def test_a_token_can_be_restored_later_in_a_scope():
    token = token_of_a_write()
    with routing_scope(safe=True):
        assert reason() == "window"
        restore_token(token)
        assert reason() == "pinned"


def test_a_token_can_be_restored_into_a_request(site):
    token = token_of_a_write()

    def view(_request):
        restore_token(token)
        return f"{Book.objects.count()} {reason()}"

    assert site.get(view).text == "1 pinned"


def test_a_token_can_be_carried_on():
    with routing_scope(safe=True, token=token_of_a_write()):
        carried = current_token()
    with routing_scope(safe=True, token=carried):
        assert reason() == "pinned"


def test_a_request_hands_its_clients_token_on(site):
    site.post(write)
    carried = site.get(lambda _request: current_token()).text
    with routing_scope(safe=True, token=carried):
        assert reason() == "pinned"


def test_where_nothing_was_written_the_token_is_empty(site):
    with routing_scope():
        reason()
        assert current_token() == ""
    assert current_token() == ""
    assert site.get(lambda _request: repr(current_token())).text == "''"
    with routing_scope(safe=True, token=""):
        assert reason() == "window"
        restore_token("")
        assert reason() == "window"
    assert ("token_rejected", "forged") not in events()


def test_inside_atomic_the_token_carries_the_time():
    with routing_scope(), transaction.atomic():
        write()
        token = current_token()
    with routing_scope(safe=True, token=token):
        assert reason() == "pinned"


@pytest.mark.parametrize("value", ["x", "x:y:z", "\0", "x" * 10_000, "é:é", 5, b"\xff", ["x"]], ids=repr)
def test_a_token_that_is_no_good_is_as_none_at_all(value):
    with routing_scope(safe=True, token=value):
        assert reason() == "window"
        restore_token(value)
        assert reason() == "window"
    assert sum(count for (event, _flaw), count in events().items() if event == "token_rejected") == 2


def test_an_old_token_does_not_take_away_a_newer_one():
    old, new = token_of_a_write(), token_of_a_write()
    with routing_scope(safe=True, token=new):
        restore_token(old)
        assert reason() == "pinned"


def test_a_token_ends(settings):
    token = token_of_a_write()
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 0.000001}
    with routing_scope(safe=True, token=token):
        assert reason() == "window"


def test_outside_any_scope_a_token_cannot_be_restored():
    token = token_of_a_write()
    with pytest.raises(RuntimeError, match=r"routing_scope\(token=value\)"):
        restore_token(token)


# --- caches ------------------------------------------------------------------------------------------


def test_a_cache_that_is_refilled_under_use_primary_is_right(site):
    """Invalidate-then-refill: the client that refills is not the one that wrote."""
    cache = {}

    def edit(_request):
        write()
        cache.clear()

    def refill(_request):
        return cache.setdefault("count", Book.objects.count())

    site.post(edit)
    site.forget()
    assert site.get(refill).text == "0"  # with the window alone: stale, until the cache forgets
    site.post(edit)
    site.forget()
    assert site.get(use_primary()(refill)).text == "2"
    replicate()


def test_one_page_is_of_one_time(site):
    """Two reads of a page are not of replicas of which one is older."""
    write()
    replicate("replica1")

    def view(_request):
        return {Book.objects.count() for _read in range(10)}

    assert {site.get(view).text for _visit in range(10)} == {"{0}", "{1}"}


def test_one_page_with_a_draw_for_each_query_is_of_several_times(site, settings):
    settings.RWROUTER = {**settings.RWROUTER, "REPLICA_PER": "query"}
    write()
    replicate("replica1")
    assert site.get(lambda _request: {Book.objects.count() for _read in range(40)}).text == "{0, 1}"
    with routing_scope(safe=True):
        assert {read_connection().alias for _read in range(40)} == set(REPLICAS)
