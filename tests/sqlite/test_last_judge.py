"""What was decided for a read holds until its statement comes; then the cursor judges again."""

import contextvars
import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from datetime import datetime, timezone

import pytest
from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError, IntegrityError, connections, router, transaction
from django.db.models import Case, Exists, OuterRef, Subquery, When, prefetch_related_objects, signals

from django_rwrouter import (
    ReplicaWriteError,
    consistency,
    current_token,
    read_connection,
    restore_token,
    routing_scope,
    use_primary,
    use_replica,
)
from django_rwrouter.testing import assert_no_stale_reads, capture_routing
from tests.app.models import AuditRow, Author, Book, DeviceSession, Note, Profile, Shelf, Tag
from tests.sqlite.conftest import reason, replicate


@pytest.fixture
def profiles_on_primary(databases, settings):
    """A table that is read from the primary only, with a row that no replica has as it is now."""
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": ["app.Profile"]}
    Profile.objects.create(author=Author.objects.create(name="ann"), text="old")
    replicate()
    Profile.objects.update(text="new")


def texts_read_raw(table="app_profile"):
    with read_connection().cursor() as cursor:
        cursor.execute(f"SELECT text FROM app_author JOIN {table} ON author_id = app_author.id")
        return cursor.fetchall()


JOINS = {
    "select_related": lambda: Author.objects.select_related("profile").get().profile.text == "new",
    "a filter": lambda: Author.objects.filter(profile__text="new").exists(),
    "a subquery": lambda: Author.objects.filter(
        pk__in=Profile.objects.filter(text="new").values("author")
    ).exists(),
    "an iterator": lambda: [*Author.objects.filter(profile__text="new").iterator()] != [],
    "raw()": lambda: (
        [
            *Author.objects.raw(
                "SELECT a.* FROM app_author a, app_profile p WHERE author_id = a.id AND text = 'new'"
            )
        ]
        != []
    ),
    "a cursor of read_connection()": lambda: texts_read_raw() == [("new",)],
    "in another letter case": lambda: texts_read_raw('"APP_Profile"') == [("new",)],
}


@pytest.mark.parametrize("read", JOINS.values(), ids=JOINS)
def test_a_table_of_the_primary_is_read_there_by_whatever_joins_it(profiles_on_primary, read):
    with routing_scope(safe=True), capture_routing() as decisions:
        assert read()
    assert {(decision.alias, decision.reason.value) for decision in decisions} == {
        ("default", "primary_only")
    }


def test_a_block_for_replicas_does_not_change_that(profiles_on_primary):
    with routing_scope(), use_replica(strict=True):
        assert Author.objects.select_related("profile").get().profile.text == "new"


def test_the_models_own_reads_stay_on_replicas(profiles_on_primary):
    with routing_scope(safe=True), capture_routing() as decisions:
        Author.objects.filter(profile__text="new").exists()
        Author.objects.get()
    assert [decision.reason.value for decision in decisions] == ["primary_only", "window"]


def test_a_replica_that_the_code_names_is_obeyed(profiles_on_primary):
    with routing_scope(safe=True):
        assert Author.objects.using("replica1").select_related("profile").get().profile.text == "old"


def write_and_read_by_name():
    Profile.objects.update(text="newer")
    Author.objects.using("replica1").select_related("profile").get()


def test_the_auditor_sees_such_a_table_read_from_a_replica(profiles_on_primary):
    with (
        pytest.raises(AssertionError, match="app_profile"),
        assert_no_stale_reads(),
        routing_scope(safe=True),
    ):
        write_and_read_by_name()


def test_djangos_own_tables_are_not_meant_when_merely_joined(databases):
    with routing_scope(safe=True), capture_routing() as decisions:
        AuditRow.objects.count()
        Book.objects.extra(tables=["django_content_type"]).count()
    assert [decision.reason.value for decision in decisions] == ["window", "window"]


# --- querysets that are bound when they are built ----------------------------------------------------


@pytest.fixture
def shelf(databases):
    """Rows that the replicas have as they were."""
    shelf = Shelf.objects.create(name="top")
    Note.objects.create(target=shelf, text="old")
    Author.objects.create(name="old")
    replicate()
    ContentType.objects.get_for_model(Shelf)
    Note.objects.update(text="new")


def texts(notes):
    return [note.text for note in notes]


BOUND = {
    "raw()": lambda: Note.objects.raw("SELECT * FROM app_note"),
    "a generic relation": lambda: Shelf.objects.get().notes.order_by("pk"),
    "a filter of a generic relation": lambda: Shelf.objects.get().notes.filter(pk__gt=0),
}
MOMENTS = {
    "a block for the primary": use_primary,
    "a transaction": transaction.atomic,
    "a level that needs more": lambda: consistency("primary"),
}
bound = pytest.mark.parametrize("build", BOUND.values(), ids=BOUND)


@bound
def test_bound_before_a_write_and_evaluated_after_it(shelf, build):
    with routing_scope(safe=True):
        notes = build()
        Tag.objects.create(name="red")
        assert texts(notes) == ["new"]


@bound
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_bound_outside_a_block_and_evaluated_inside(shelf, build, moment):
    with routing_scope(safe=True):
        notes = build()
        with moment():
            assert texts(notes) == ["new"]


@bound
@pytest.mark.parametrize("safe", [True, False])
def test_bound_inside_a_block_and_evaluated_outside(shelf, build, safe):
    with routing_scope(safe=safe):
        with use_replica():
            notes = build()
        Tag.objects.create(name="red")
        assert texts(notes) == ["new"]


@bound
def test_evaluated_again(shelf, build):
    with routing_scope(safe=True):
        notes = build()
        assert texts(notes.iterator()) == ["old"]
        with use_primary():
            assert texts(notes.iterator()) == ["new"]
        Tag.objects.create(name="red")
        assert texts(notes.iterator()) == ["new"]


@bound
def test_another_read_comes_between(shelf, build):
    """It uses up what the router has announced of this table."""
    with routing_scope(safe=True):
        notes = build()
        Note.objects.count()
        Tag.objects.create(name="red")
        assert texts(notes) == ["new"]


@bound
def test_evaluated_in_a_scope_inside(shelf, build):
    with routing_scope(safe=True):
        notes = build()
        with routing_scope(), use_primary():
            assert texts(notes) == ["new"]


READINGS = {
    "all at once": list,
    "an iterator": lambda notes: [*notes.iterator()],
    "by name": lambda notes: [*notes.using("default")],
}


@bound
@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_bound_in_another_request(shelf, site, build, read):
    kept = []
    site.get(lambda _request: kept.append(build()))
    site.post(lambda _request: Tag.objects.create(name="red"))
    assert site.get(lambda _request: texts(read(kept[0]))).text == "['new']"


@bound
def test_bound_in_another_request_nothing_speaks_against_a_replica(shelf, site, build):
    kept = []
    site.get(lambda _request: kept.append(build()))
    assert site.get(lambda _request: texts(kept[0].iterator())).text == "['old']"


@bound
def test_bound_before_a_token_is_restored(shelf, build):
    with routing_scope():
        Tag.objects.create(name="red")
        token = current_token()
    with routing_scope(safe=True):
        notes = build()
        restore_token(token)
        assert texts(notes) == ["new"]


def test_what_a_receiver_reads_by_name_is_obeyed_while_django_makes_the_objects_of_a_bound_queryset(shelf):
    seen = []

    def read(instance, **_kwargs):
        with connections["replica1"].cursor() as cursor:
            cursor.execute("SELECT name FROM app_author")
            seen.extend(cursor.fetchone())

    Author.objects.update(name="new")
    signals.post_init.connect(read, sender=Note)
    try:
        with routing_scope(safe=True):
            notes = Note.objects.raw("SELECT * FROM app_note")
            Tag.objects.create(name="red")
            assert texts(notes) == ["new"]
    finally:
        signals.post_init.disconnect(read, sender=Note)
    assert seen == ["old"]


@bound
def test_bound_outside_any_scope_in_another_thread(shelf, settings, build):
    settings.RWROUTER = {**settings.RWROUTER, "OUTSIDE_REQUEST": "replica"}

    def build_there():
        try:
            return build()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        notes = thread.submit(build_there).result()
    with routing_scope(safe=True):
        Tag.objects.create(name="red")
        assert texts(notes.iterator()) == ["new"]


@bound
def test_bound_outside_any_scope(shelf, settings, build):
    settings.RWROUTER = {**settings.RWROUTER, "OUTSIDE_REQUEST": "replica"}
    notes = build()
    with use_primary():
        assert texts(notes) == ["new"]


@bound
@pytest.mark.parametrize("block", [nullcontext, use_replica, lambda: consistency("eventual")])
def test_where_nothing_speaks_against_it_a_replica_is_read(shelf, build, block):
    with routing_scope(safe=True), block():
        notes = build()
        assert texts(notes) == ["old"]
        assert texts(notes.iterator()) == ["old"]


@bound
def test_it_is_counted_where_it_ran(shelf, build):
    with routing_scope(safe=True):
        notes = build()
        with use_primary(), capture_routing() as decisions:
            list(notes)
    assert [(decision.alias, decision.reason.value, decision.model) for decision in decisions] == [
        ("default", "use_primary", Note)
    ]


# --- what Django reads where the object at hand came from ---------------------------------------------


FOLLOWED = {
    "a generic foreign key": lambda note: note.target.name,
    "a prefetched one": lambda note: (prefetch_related_objects([note], "target"), note.target)[1].name,
}


@pytest.mark.parametrize("follow", FOLLOWED.values(), ids=FOLLOWED)
@pytest.mark.parametrize("moment", [*MOMENTS, "a write"])
def test_a_generic_foreign_key_is_followed_where_reads_go_now(shelf, follow, moment):
    Shelf.objects.update(name="newer")
    with routing_scope(safe=True):
        note = Note.objects.get()
        if moment == "a write":
            Tag.objects.create(name="red")
        with MOMENTS.get(moment, nullcontext)(), capture_routing() as decisions:
            assert follow(note) == "newer"
    assert {decision.alias for decision in decisions} == {"default"}


@pytest.mark.parametrize("follow", FOLLOWED.values(), ids=FOLLOWED)
def test_an_object_of_an_earlier_request_is_followed_where_reads_go_now(shelf, site, follow):
    kept = []
    site.get(lambda _request: kept.append(Note.objects.get()))
    site.post(lambda _request: Shelf.objects.update(name="newer"))
    assert site.get(lambda _request: follow(kept[0])).text == "newer"


def test_a_transaction_on_a_replica_holds_what_is_followed_inside(shelf):
    Shelf.objects.update(name="newer")
    replicate("replica2")
    with routing_scope(safe=True), transaction.atomic(using="replica1"):
        assert Note.objects.using("replica1").get().target.name == "top"


def test_the_next_object_by_a_date_is_looked_for_where_reads_go_now(databases):
    for day in (1, 2):
        DeviceSession.objects.create(session_key=day, expire_date=datetime(2026, 1, day, tzinfo=timezone.utc))
        if day == 1:
            replicate()
    with routing_scope(safe=True), use_replica():
        first = DeviceSession.objects.get()
        with pytest.raises(DeviceSession.DoesNotExist):
            first.get_next_by_expire_date()
        with use_primary():
            assert first.get_next_by_expire_date().session_key == "2"


@pytest.mark.parametrize("name", ["model_class", "model", "using", "db", "origin", "instance", "query"])
def test_a_field_may_have_the_name_of_what_django_has(databases, monkeypatch, name):
    DeviceSession.objects.create(session_key="1", expire_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
    replicate()
    DeviceSession.objects.create(session_key="2", expire_date=datetime(2026, 1, 2, tzinfo=timezone.utc))
    with routing_scope(safe=True), use_replica():
        first = DeviceSession.objects.get()
        monkeypatch.setattr(first, name, "a value", raising=False)
        assert router.allow_relation(first, first)
        with use_primary():
            second = first.get_next_by_expire_date()
            first.refresh_from_db()
            assert second.session_key == "2"
            second.delete()
        assert router.db_for_read(DeviceSession, instance=first) != "default"


def test_where_nothing_speaks_against_it_the_replica_is_followed(shelf):
    Shelf.objects.update(name="newer")
    with routing_scope(safe=True), capture_routing() as decisions:
        assert Note.objects.get().target.name == "top"
    assert "default" not in {decision.alias for decision in decisions if decision.model is not ContentType}


# --- subqueries that are bound to another database than the query around them -------------------------


@pytest.fixture
def shelf_and_author(shelf):
    """The note of the shelf has the number of the author, too."""
    Author.objects.update(name="new")
    Book.objects.create(title="old", author=Author.objects.get())
    replicate()
    Author.objects.update(name="newer")


AROUND = {
    "in": lambda notes: Author.objects.filter(pk__in=notes.values("object_id")),
    "not in": lambda notes: Author.objects.exclude(pk__in=notes.filter(text="x").values("object_id")),
    "in, by a foreign key": lambda notes: Author.objects.filter(
        books__in=Book.objects.filter(author__in=notes.values_list("object_id", flat=True))
    ),
    "Exists()": lambda notes: Author.objects.filter(Exists(notes.filter(object_id=OuterRef("pk")))),
    "Subquery()": lambda notes: Author.objects.filter(pk=Subquery(notes.values("object_id")[:1])),
    "Case()": lambda notes: Author.objects.filter(
        Case(When(pk__in=notes.values("object_id"), then=True), default=False)
    ),
    "union()": lambda notes: Author.objects.none().union(
        Author.objects.filter(pk__in=notes.values("object_id"))
    ),
    "a deep copy": lambda notes: copy.deepcopy(Author.objects.filter(pk__in=notes.values("object_id"))),
}
AFTER_A_WRITE = {"a write": lambda: Tag.objects.create(name="red") and nullcontext()}


@pytest.mark.parametrize("build", AROUND.values(), ids=AROUND)
@pytest.mark.parametrize(
    "moment", [*MOMENTS.values(), *AFTER_A_WRITE.values()], ids=[*MOMENTS, *AFTER_A_WRITE]
)
def test_a_subquery_goes_with_the_query_around_it(shelf_and_author, build, moment):
    with routing_scope(safe=True):
        notes = Shelf.objects.get().notes.all()
        authors = build(notes)
        assert [author.name for author in build(notes)] == ["new"]
        with moment():
            assert [author.name for author in authors] == ["newer"]


@pytest.mark.parametrize("build", AROUND.values(), ids=AROUND)
def test_replicas_that_are_drawn_for_each_query(shelf_and_author, settings, build):
    settings.RWROUTER = {**settings.RWROUTER, "REPLICA_PER": "query", "BALANCER": "round_robin"}
    with routing_scope(safe=True):
        for _query in range(2):
            assert [author.name for author in build(Shelf.objects.get().notes.all())] == ["new"]


WRITES_AROUND = {
    "an update": lambda authors: authors.update(name="z"),
    "a deletion": lambda authors: authors.delete()[1]["app.Author"],
    "bulk_update()": lambda authors: Author.objects.bulk_update(authors, ["name"]),
}


@pytest.mark.parametrize("write", WRITES_AROUND.values(), ids=WRITES_AROUND)
@pytest.mark.parametrize("around", [nullcontext, use_replica, transaction.atomic])
def test_a_subquery_of_a_write_is_the_primarys(shelf_and_author, write, around):
    with routing_scope(safe=True):
        notes = Shelf.objects.get().notes.all()
        with around():
            assert write(Author.objects.filter(pk__in=notes.values("object_id"))) == 1


def test_databases_of_two_clusters_are_two(shelf_and_author):
    with routing_scope(safe=True), pytest.raises(ValueError, match="different databases"):
        Author.objects.using("other").filter(pk__in=Shelf.objects.get().notes.values("object_id")).exists()


def test_what_is_loaded_so_remembers_a_plain_alias_when_it_is_pickled(shelf):
    with routing_scope(safe=True):
        note = pickle.loads(pickle.dumps(Shelf.objects.get().notes.get()))
        assert type(note._state.db) is str
        assert note._state.db != "default"


def test_a_cursor_of_read_connection_is_judged_at_each_statement(shelf):
    with routing_scope(safe=True), read_connection().cursor() as cursor:
        read = "SELECT text FROM app_note"
        assert cursor.execute(read).fetchall() == [("old",)]
        with use_primary():
            assert cursor.execute(read).fetchall() == [("new",)]


@pytest.mark.parametrize(
    "read",
    [
        Author.objects.using,
        lambda alias: Author.objects.all().using(alias).iterator(),
        lambda alias: Author.objects.filter(pk__gt=0).using(alias),
        lambda _alias: Author.objects.using("replica1").raw("SELECT * FROM app_author"),
        lambda _alias: Author.objects.raw("SELECT * FROM app_author").using("replica1").iterator(),
        lambda _alias: Author.objects.db_manager("replica1").raw("SELECT * FROM app_author"),
    ],
)
def test_using_is_obeyed_however_much_speaks_against_it(shelf, read):
    with routing_scope(safe=True):
        alias = Author.objects.get()._state.db
        Author.objects.update(name="new")
        with use_primary():
            assert [author.name for author in read(alias)] == ["old"]


# --- writes through a queryset that is bound to a replica --------------------------------------------


def deleted_by_cascade(shelf):
    """Not in one statement: what refers to the notes is looked for, too."""
    signals.pre_delete.connect(ignore, Note)
    try:
        return shelf.notes.filter(text="new").delete()[0]
    finally:
        signals.pre_delete.disconnect(ignore, Note)


def ignore(**_kwargs):
    """Be a receiver, so that Django loads what it deletes."""


def renamed_in_bulk(shelf):
    notes = shelf.notes.all()
    for note in notes:
        note.text = "newer"
    return notes.bulk_update(notes, ["text"])


GENERIC_WRITES = {
    "an update": lambda shelf: shelf.notes.update(text="newer"),
    "an update of a filter": lambda shelf: shelf.notes.filter(text="new").update(text="newer"),
    "a deletion": lambda shelf: shelf.notes.all().delete()[0],
    "a deletion of a filter": lambda shelf: shelf.notes.filter(text="new").delete()[0],
    "a deletion that loads what it deletes": deleted_by_cascade,
    "bulk_update()": renamed_in_bulk,
    "raw() that writes": lambda _shelf: len(
        Note.objects.raw("UPDATE app_note SET text = 'newer' RETURNING *")
    ),
}


@pytest.mark.parametrize("write", GENERIC_WRITES.values(), ids=GENERIC_WRITES)
@pytest.mark.parametrize("around", [nullcontext, use_replica, transaction.atomic])
def test_a_write_is_the_primarys_whatever_its_queryset_is_bound_to(shelf, write, around):
    with routing_scope(safe=True):
        shelf = Shelf.objects.get()
        with around():
            assert write(shelf) == 1
        assert reason() == "wrote_in_scope"
    assert "new" not in texts(Note.objects.using("default"))
    assert not connections["default"].in_atomic_block


WRITES_LATER = {
    "an update": lambda notes: notes.update(text="newer"),
    "a deletion": lambda notes: notes.delete()[0],
    "an object of it": lambda notes: (
        notes.create(target=Shelf.objects.get(), text="newest") and notes.filter(text="new").delete()[0]
    ),
}


@pytest.mark.parametrize("write", WRITES_LATER.values(), ids=WRITES_LATER)
def test_so_it_is_in_a_later_request(shelf, site, write):
    kept = []
    site.get(lambda _request: kept.append(Shelf.objects.get().notes.all()))
    assert site.get(lambda _request: write(kept[0])).text == "1"
    assert "new" not in texts(Note.objects.using("default"))
    assert site.get(lambda _request: reason()).text == "pinned"


def test_such_a_write_pins_its_client(shelf, site):
    site.get(lambda _request: Shelf.objects.get().notes.update(text="newer"))
    assert site.get(lambda _request: reason()).text == "pinned"


def update_and_fail(notes):
    notes.update(text="newer")
    assert connections["default"].in_atomic_block
    raise ZeroDivisionError


def test_what_is_written_in_a_replicas_transaction_is_rolled_back_with_it(shelf):
    with routing_scope(safe=True):
        notes = Shelf.objects.get().notes.all()
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=notes.db):
            update_and_fail(notes)
        assert not connections["default"].in_atomic_block
        assert texts(Note.objects.using("default")) == ["new"]
        notes.update(text="newer")
    assert texts(Note.objects.using("default")) == ["newer"]


def test_a_failure_marks_the_transaction_of_the_primary(shelf):
    with routing_scope(safe=True):
        notes = Shelf.objects.get().notes.all()
        with transaction.atomic():
            with pytest.raises(IntegrityError):
                notes.update(text=None)
            assert connections["default"].needs_rollback
            transaction.set_rollback(False)


def test_a_connection_lost_in_its_transaction_leaves_none_open(shelf):
    with routing_scope(safe=True):
        notes = Shelf.objects.get().notes.all()
        with suppress(DatabaseError), transaction.atomic(using=notes.db):
            notes.update(text="newer")
            connections[notes.db].close()
    assert not connections["default"].in_atomic_block
    assert texts(Note.objects.using("default")) == ["new"]


def test_a_write_by_the_name_of_a_replica_is_refused_all_the_same(shelf):
    with routing_scope(safe=True):
        alias = Author.objects.get()._state.db
        with pytest.raises(ReplicaWriteError):
            Author.objects.using(alias).update(name="new")
        with pytest.raises(ReplicaWriteError):
            Author.objects.using(alias).delete()


# --- reads that are part of a write ------------------------------------------------------------------


def locked():
    with transaction.atomic():
        return Author.objects.select_for_update().get()


READS_TO_WRITE = {
    "get_or_create() that gets": lambda: Author.objects.get_or_create(name="ann"),
    "select_for_update()": locked,
    "get_or_create() of a relation that gets": lambda: (
        Author.objects.using("default").get().books.get_or_create(title="new")
    ),
    "update_or_create()": lambda: Author.objects.update_or_create(name="ann", defaults={}),
    "get_or_create() of a many-to-many relation": lambda: Tag.objects.get().books.get_or_create(title="new"),
    "its other end": lambda: Book.objects.using("default").get().tags.get_or_create(name="red"),
    "update_or_create() of one": lambda: Tag.objects.get().books.update_or_create(title="new", defaults={}),
    "aget_or_create()": lambda: async_to_sync(Author.objects.all().aget_or_create)(name="ann"),
    "get_or_create() by name": lambda: Author.objects.using("default").get_or_create(name="ann"),
    "update_or_create() by name": lambda: Author.objects.using("default").update_or_create(
        name="ann", defaults={}
    ),
    "aget_or_create() of one": lambda: async_to_sync(Tag.objects.get().books.aget_or_create)(title="new"),
}


@pytest.fixture
def unreplicated(databases):
    """Rows that no replica has yet, but for the tag."""
    red = Tag.objects.create(name="red")
    replicate()
    Book.objects.create(title="new", author=Author.objects.create(name="ann")).tags.add(red)


@pytest.mark.parametrize("read", READS_TO_WRITE.values(), ids=READS_TO_WRITE)
def test_after_a_read_that_was_part_of_a_write_time_does_not_go_back(unreplicated, site, read):
    def view(_request):
        before = reason(Author)
        read()
        return Author.objects.count(), Book.objects.count(), before, reason(Author)

    assert site.get(view).text == "(1, 1, 'window', 'wrote_in_scope')"
    assert not site.client.cookies  # Nothing was written: the client's next request is free.


def test_it_holds_for_the_scope_around_and_for_what_was_bound_before(unreplicated):
    with routing_scope(safe=True):
        authors = Author.objects.raw("SELECT * FROM app_author")
        with routing_scope(safe=True):
            Author.objects.get_or_create(name="ann")
        assert len(authors) == 1
        with use_replica():
            assert reason(Author) == "use_replica"


def test_what_was_bound_in_another_thread_is_read_in_the_transaction_of_this_one(unreplicated):
    def read():
        try:
            with transaction.atomic():
                return len(authors)
        finally:
            connections.close_all()

    with routing_scope(safe=True):
        reason(Author)
        authors = Author.objects.raw("SELECT * FROM app_author")
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(contextvars.copy_context().run, read).result() == 1


def test_a_question_for_the_database_to_write_to_changes_nothing(unreplicated):
    with routing_scope(safe=True):
        router.db_for_write(Author)
        Book(title="x", author=Author(name="x"))
        assert reason(Author) == "window"


# --- content types, which Django looks up where an object came from ----------------------------------


@pytest.fixture
def no_content_types(databases):
    """A shelf that the replicas have; its content type is on the primary alone, or nowhere yet."""
    Shelf.objects.create(name="top")
    ContentType.objects.all().delete()
    replicate()
    ContentType.objects.clear_cache()


@pytest.mark.parametrize("exists", [True, False])
def test_the_content_type_of_an_object_of_a_late_replica(no_content_types, exists):
    if exists:
        ContentType.objects.get_for_model(Shelf)
        ContentType.objects.clear_cache()
    with routing_scope(safe=True), capture_routing() as decisions:
        assert Shelf.objects.get().notes.count() == 0
        assert reason() == "window"
    assert ContentType.objects.using("default").filter(model="shelf").count() == 1
    lookups = [decision for decision in decisions if decision.model is ContentType]
    assert {decision.alias for decision in lookups} == {"default"}
    assert {decision.operation for decision in lookups} == ({"read"} if exists else {"read", "write"})


def test_content_types_can_be_read_from_a_replica_by_its_name(no_content_types):
    ContentType.objects.get_for_model(Shelf)
    with routing_scope(safe=True):
        assert ContentType.objects.using("replica1").count() == 0
