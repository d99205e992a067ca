"""The helpers for tests of projects: what they show, and that they can fail."""

import re
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from django_rwrouter import (
    Decision,
    Reason,
    consistency,
    current_token,
    mark_written,
    read_connection,
    restore_token,
    routing_scope,
    untracked_writes,
    use_replica,
)
from django_rwrouter.signals import statement_routed
from django_rwrouter.testing import assert_no_stale_reads, capture_routing
from tests.app.models import AuditRow, Author, Book, Comic, Tag
from tests.sqlite.conftest import REPLICAS, replicate


def write(_request=None):
    Book.objects.create(title="new")


def read(_request=None):
    return Book.objects.count()


# --- capture_routing ---------------------------------------------------------------------------------


def routed(act):
    """Return operation, reason and model of each decision, in a scope of its own."""
    with routing_scope(safe=True), capture_routing() as decisions:
        act()
    return [
        f"{decision.operation} {decision.reason.value} {decision.model.__name__ if decision.model else None}"
        for decision in decisions
    ]


def read_raw():
    with read_connection().cursor() as cursor:
        cursor.execute("SELECT * FROM app_book")


def two_reads_of_one_table_at_once():
    for _book in Book.objects.iterator(chunk_size=1):
        list(Book.objects.all())


ROUTED = {
    "a read": (lambda: list(Book.objects.all()), ["read window Book"]),
    "a count and a list": (
        lambda: (Book.objects.count(), list(Book.objects.all())),
        ["read window Book"] * 2,
    ),
    "a join": (lambda: list(Book.objects.select_related("author")), ["read window Book"]),
    "a prefetch": (
        lambda: list(Book.objects.prefetch_related("tags")),
        ["read window Book", "read window Tag"],
    ),
    "an iterator": (lambda: list(Book.objects.iterator()), ["read window Book"]),
    "one read inside another": (two_reads_of_one_table_at_once, ["read window Book"] * 2),
    "a write": (lambda: Tag.objects.create(name="x"), ["write write Tag"]),
    "a write and a read": (
        lambda: (Tag.objects.create(name="x"), Tag.objects.count()),
        ["write write Tag", "read wrote_in_scope Tag"],
    ),
    "bulk_create in batches": (
        lambda: Tag.objects.bulk_create([Tag(name="x"), Tag(name="y")], batch_size=1),
        ["write write Tag"] * 2,
    ),
    "a parent and a child": (lambda: Comic.objects.create(title="x"), ["write write Comic"] * 2),
    "a locking read": (
        lambda: transaction.atomic()(list)(Book.objects.select_for_update()),
        ["write write Book"],
    ),
    "raw SQL through read_connection": (read_raw, ["read window None"]),
    "a raw query set": (lambda: list(Book.objects.raw("SELECT * FROM app_book")), ["read window Book"]),
    "nothing to ask": (lambda: list(Book.objects.filter(pk__in=[])), []),
    "transaction control": (transaction.atomic()(transaction.atomic()(lambda: None)), []),
    "a database by name": (lambda: list(Book.objects.using("replica1")), []),
    "another database": (lambda: list(Book.objects.using("other")), []),
    "raw SQL on the primary": (lambda: connection.cursor().execute("SELECT * FROM app_book"), []),
}


@pytest.mark.parametrize(("act", "expected"), ROUTED.values(), ids=ROUTED)
def test_one_decision_for_each_statement_that_was_routed(databases, act, expected):
    Book.objects.create(title="old").tags.create(name="red")
    replicate()
    assert routed(act) == expected


def test_decisions_can_be_compared(databases):
    with routing_scope(safe=True), capture_routing() as decisions:
        read()
    assert decisions == [Decision(alias=decisions[0].alias, reason=Reason.WINDOW, model=Book)]
    assert decisions[0].alias in REPLICAS


def test_captures_nest_and_end(databases):
    with capture_routing() as outer:
        read()
        with capture_routing() as inner:
            read()
    read()
    assert (len(outer), len(inner)) == (2, 1)
    assert not statement_routed.receivers


def test_a_capture_ends_with_an_exception(databases):
    with pytest.raises(ZeroDivisionError), capture_routing():
        raise ZeroDivisionError
    assert not statement_routed.receivers


def test_it_shows_what_a_request_did(client, databases):
    with capture_routing() as decisions:
        client.get("/books/")
        client.post("/books/", {"title": "x"})
    assert [(each.operation, each.reason.value) for each in decisions] == [
        ("read", "window"),
        ("write", "write"),
        ("read", "wrote_in_scope"),
    ]


# --- the auditor: it fails ------------------------------------------------------------------------------


def in_one_scope():
    with routing_scope(safe=True):
        write()
        with use_replica():
            read()


def under_eventual():
    with routing_scope():
        write()
        token = current_token()
    with routing_scope(safe=True, token=token), consistency("eventual"):
        read()


def with_a_restored_token():
    with routing_scope():
        write()
        token = current_token()
    with routing_scope(safe=True):
        restore_token(token)
        with use_replica():
            read()


def with_a_token_carried_over_two_scopes():
    with routing_scope():
        write()
        token = current_token()
    with routing_scope(token=token):
        AuditRow.objects.create(text="x")
        token = current_token()
    with routing_scope(safe=True, token=token), use_replica():
        read()


def in_a_scope_inside():
    with routing_scope(safe=True):
        with routing_scope():
            write()
        with use_replica():
            read()


def by_name():
    with routing_scope(safe=True):
        write()
        list(Book.objects.using("replica1"))


def through_a_join():
    with routing_scope(safe=True):
        Author.objects.create(name="x")
        with use_replica():
            list(Book.objects.select_related("author"))


def through_an_extra_table():
    with routing_scope(safe=True):
        Author.objects.create(name="x")
        with use_replica():
            list(Book.objects.extra(tables=["app_author"]))


def of_a_many_to_many_table():
    with routing_scope(safe=True):
        Book.objects.create(title="x").tags.create(name="x")
        with use_replica():
            list(Tag.objects.filter(books__title="x"))


def with_raw_sql():
    with routing_scope(safe=True):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM app_book")
        with use_replica(), read_connection().cursor() as cursor:
            cursor.execute('SELECT 1 FROM "app_book"')


STALE = [
    in_one_scope,
    under_eventual,
    with_a_restored_token,
    with_a_token_carried_over_two_scopes,
    in_a_scope_inside,
    by_name,
    through_a_join,
    through_an_extra_table,
    of_a_many_to_many_table,
    with_raw_sql,
]


@pytest.mark.parametrize("act", STALE, ids=lambda act: act.__name__)
@pytest.mark.parametrize("level_with_the_primary", [False, True])
def test_the_auditor_finds_a_read_that_may_be_stale(databases, act, level_with_the_primary, monkeypatch):
    """Also where the replica happens to be level: it might not have been."""
    if level_with_the_primary:
        replicate()
    with pytest.raises(AssertionError, match="may miss what the same client wrote"), assert_no_stale_reads():
        act()
    assert not statement_routed.receivers


def test_it_names_the_write_the_read_and_both_places(databases):
    with pytest.raises(AssertionError) as caught, assert_no_stale_reads():
        in_one_scope()
    message = str(caught.value)
    for word in ["'default'", "INSERT INTO", "'replica", "use_replica", "SELECT COUNT", "use_primary()"]:
        assert word in message, word
    places = re.findall(r"test_testing\.py:(\d+) in (\w+)", message)
    assert [function for _line, function in places] == ["write", "read"]


def test_it_finds_stale_reads_of_a_client_in_its_next_request(site):
    def visit():
        site.post(write)
        site.get(use_replica()(read))

    with pytest.raises(AssertionError, match="may miss"), assert_no_stale_reads():
        visit()


def test_it_finds_them_in_async_views(site):
    async def view(_request):
        await Book.objects.acreate(title="x")
        with use_replica():
            return await Book.objects.acount()

    with pytest.raises(AssertionError, match="may miss"), assert_no_stale_reads():
        site.get(view)


def test_it_finds_them_in_threads_of_async_views(site):
    async def view(_request):
        await sync_to_async(write)()
        return await sync_to_async(use_replica()(read))()

    with pytest.raises(AssertionError, match="may miss"), assert_no_stale_reads():
        site.get(view)


# --- the auditor: it passes -------------------------------------------------------------------------------


def reads_before_writes():
    with routing_scope(safe=True):
        read()
        write()
        read()


def another_table():
    with routing_scope(safe=True):
        write()
        with use_replica():
            Author.objects.count()


def another_client():
    with routing_scope():
        write()
    with routing_scope(safe=True):
        read()


def untracked():
    with routing_scope(safe=True):
        with untracked_writes():
            write()
        read()


def outside_any_scope():
    write()
    with use_replica():
        read()


def another_database():
    with routing_scope(safe=True):
        Book.objects.using("other").create(title="x")
        read()


def refused():
    with routing_scope(safe=True), use_replica():
        with pytest.raises(Exception, match="replica"):
            Book.objects.using("replica1").create(title="x")
        read()


def rolled_back_by_an_error():
    with routing_scope(safe=True), use_replica():
        with pytest.raises(Exception, match="no such"):
            connection.cursor().execute("DELETE FROM app_book WHERE no_such = 1")
        read()


GOOD = [
    reads_before_writes,
    another_table,
    another_client,
    untracked,
    outside_any_scope,
    another_database,
    refused,
    rolled_back_by_an_error,
]


@pytest.mark.parametrize("act", GOOD, ids=lambda act: act.__name__)
def test_the_auditor_has_nothing_to_say(databases, act):
    with assert_no_stale_reads():
        act()


def test_neither_to_a_site_that_works_as_it_should(site):
    with assert_no_stale_reads():
        for view in (write, read, write, read):
            site.post(view)
            site.get(read)
        site.forget()
        site.get(read)


def test_neither_once_the_pin_is_over(databases, settings, monkeypatch):
    with routing_scope():
        write()
        token = current_token()
    now = time.time()
    with assert_no_stale_reads():
        monkeypatch.setattr(time, "time", lambda: now + 5.1)
        with routing_scope(safe=True, token=token):
            read()


def test_but_in_the_scope_of_the_write_it_is_never_over(databases, monkeypatch):
    now = time.time()

    @routing_scope(safe=True)
    def act():
        write()
        monkeypatch.setattr(time, "time", lambda: now + 500)
        with use_replica():
            read()

    with pytest.raises(AssertionError, match="may miss"), assert_no_stale_reads():
        act()


def test_primary_only_models_are_never_stale(databases, settings):
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": ["app.Book"]}
    with assert_no_stale_reads(), routing_scope(safe=True):
        write()
        read()


@pytest.mark.parametrize(("act", "excused"), [(under_eventual, True), (in_one_scope, False)])
def test_allow_eventual_excuses_that_level_alone(databases, act, excused):
    if excused:
        with assert_no_stale_reads(allow_eventual=True):
            act()
    else:
        with pytest.raises(AssertionError, match="may miss"), assert_no_stale_reads(allow_eventual=True):
            act()


def test_an_error_inside_is_the_error_that_is_seen(databases):
    def act():
        in_one_scope()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), assert_no_stale_reads():
        act()
    assert not statement_routed.receivers


def test_marks_of_writes_that_no_cursor_shows_have_no_table(databases):
    """The auditor cannot know what was written; the router still pins."""
    with assert_no_stale_reads(), routing_scope(safe=True):
        mark_written()
        with use_replica():
            read()


# --- the signal --------------------------------------------------------------------------------------------


def test_the_signal_runs_in_the_context_of_the_statement(site):
    seen = []

    def listen(*, alias, decision, sql, seconds, wrote, **_kwargs):
        seen.append((current_token() != "", wrote, decision.alias == alias, seconds > 0))

    statement_routed.connect(listen, weak=False)
    try:
        site.get(lambda _request: (read(), write()))
    finally:
        statement_routed.disconnect(listen)
    assert seen == [(False, False, True, True), (True, True, True, True)]
