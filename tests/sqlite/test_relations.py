"""Objects that were read from the primary are followed there; and who may be related to whom."""

import pickle

import pytest
from asgiref.sync import async_to_sync
from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction
from django.db.models import prefetch_related_objects

from django_rwrouter import routing_scope, use_primary, use_replica
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.signals import statement_routed
from django_rwrouter.testing import capture_routing
from tests.app.models import Author, Book, Comic, Note, Profile, Shelf, Tag
from tests.sqlite.conftest import REPLICAS, ask, reason, replicate


def make_library():
    author = Author.objects.create(name="ann")
    Profile.objects.create(author=author, text="writes")
    comic = Comic.objects.create(title="new", author=author)
    comic.tags.add(Tag.objects.create(name="red"))
    Note.objects.create(target=comic)


@pytest.fixture
def library(databases):
    """Rows that no replica has yet."""
    make_library()


@pytest.fixture
def replicated(library):
    replicate()


def refreshed(book):
    book.refresh_from_db()
    return book.title


def deferred(book):
    del book.title  # as if it had been loaded with defer("title")
    return book.title


def prefetched(book):
    prefetch_related_objects([book], "tags")
    return [tag.name for tag in book.tags.all()]


FOLLOW = {
    "a foreign key": (lambda book: book.author.name, "ann"),
    "many-to-many": (lambda book: [tag.name for tag in book.tags.all()], ["red"]),
    "a count of many-to-many": (lambda book: book.tags.count(), 1),
    "whether there are many-to-many": (lambda book: book.tags.exists(), True),
    "a filter of many-to-many": (lambda book: book.tags.filter(name="red").get().name, "red"),
    "refresh_from_db": (refreshed, "new"),
    "a deferred field": (deferred, "new"),
    "a prefetch": (prefetched, ["red"]),
    "a child's table": (lambda book: book.comic.issue, 1),
    "a parent's table": (lambda book: book.comic.book_ptr.title, "new"),
    "two steps": (lambda book: book.author.profile.text, "writes"),
    "back and forth": (lambda book: book.author.books.get().author.books.count(), 1),
    "the other end of many-to-many": (lambda book: book.tags.get().books.get().title, "new"),
}


@pytest.mark.parametrize(("follow", "expected"), FOLLOW.values(), ids=FOLLOW)
def test_what_was_read_from_the_primary_is_followed_there(library, site, follow, expected):
    def view(_request):
        with use_primary():
            book = Book.objects.get()
        return follow(book)

    assert site.get(view).text == str(expected)


@pytest.mark.parametrize(("follow", "expected"), FOLLOW.values(), ids=FOLLOW)
def test_what_was_read_from_the_primary_is_stale_in_a_block_for_replicas(library, site, follow, expected):
    """What a router does that ignores the object: nothing is found."""

    def view(_request):
        book = Book.objects.using("default").get()
        with use_replica():
            try:
                return follow(book)
            except (models.ObjectDoesNotExist, ValueError):
                return "missing"

    assert site.get(view).text in {"missing", "[]", "0", "False"}


def locked():
    with transaction.atomic():
        return Book.objects.select_for_update().get()


FROM_PRIMARY = {
    "by name": lambda: Book.objects.using("default").get(),
    "get_or_create that gets": lambda: Book.objects.get_or_create(title="new")[0],
    "a lock, after its transaction": locked,
    "a transaction, after its end": transaction.atomic()(Book.objects.get),
    "raw SQL by name": lambda: Book.objects.using("default").raw("SELECT * FROM app_book")[0],
}


@pytest.mark.parametrize("load", FROM_PRIMARY.values(), ids=FROM_PRIMARY)
def test_followed_on_the_primary_however_it_was_read_there(library, site, load):
    assert site.get(lambda _request: load().author.name).text == "ann"


def test_other_reads_of_that_scope_are_still_a_replicas(library, site):
    def view(_request):
        with use_primary():
            book = Book.objects.get()
        with capture_routing() as decisions:
            _author = book.author
            Book.objects.count()
        return [decision.reason.value for decision in decisions]

    assert site.get(view).text == "['instance', 'window']"


@pytest.mark.parametrize("alias", REPLICAS)
def test_what_was_read_from_a_replica_is_followed_on_one(replicated, site, alias):
    def view(_request):
        book = Book.objects.using(alias).get()
        with capture_routing() as decisions:
            assert book.author.name == "ann"
        return [decision.reason.value for decision in decisions]

    assert site.get(view).text == "['window']"


def test_what_was_read_from_a_replica_is_followed_on_the_primary_after_a_write(replicated, site):
    def view(_request):
        book = Book.objects.get()
        book.author.profile.delete()
        Author.objects.update(name="bob")
        book = pickle.loads(pickle.dumps(Book.objects.using("replica1").get()))
        return book.author.name

    assert site.get(view).text == "bob"


# --- objects of another request ----------------------------------------------------------------------


@pytest.mark.parametrize(("follow", "expected"), FOLLOW.values(), ids=FOLLOW)
def test_objects_out_of_a_cache_do_not_pull_their_relations_to_the_primary(
    replicated, site, follow, expected
):
    """Except where the object itself names the primary to Django, which asks no router then."""
    book = Book.objects.using("default").get()
    assert book._state.db == "default"
    pickled = pickle.dumps(book)

    def view(_request):
        with capture_routing() as decisions:
            found = follow(pickle.loads(pickled))
        return found, {decision.alias for decision in decisions} <= set(REPLICAS)

    assert site.get(view).text == str((expected, True))


def test_objects_out_of_a_cache_are_followed_on_the_primary(library, site):
    pickled = pickle.dumps(Book.objects.using("default").get())

    def view(_request):
        Tag.objects.create(name="blue")
        return pickle.loads(pickled).author.name

    assert site.get(view).text == "ann"


# --- objects of other databases ------------------------------------------------------------------------


@pytest.fixture
def elsewhere(databases):
    author = Author.objects.using("other").create(name="eve")
    book = Book.objects.using("other").create(title="strange", author=author)
    book.tags.add(Tag.objects.using("other").create(name="odd"))


@pytest.mark.parametrize(
    ("follow", "expected"),
    [
        (lambda book: book.author.name, "eve"),
        (lambda book: [tag.name for tag in book.tags.all()], ["odd"]),
        (refreshed, "strange"),
        (lambda book: book.author.books.count(), 1),
        (prefetched, ["odd"]),
    ],
    ids=["foreign key", "many-to-many", "refresh_from_db", "reverse", "prefetch"],
)
def test_objects_of_a_database_that_is_not_ours_stay_there(elsewhere, site, follow, expected):
    assert site.get(lambda _request: follow(Book.objects.using("other").get())).text == str(expected)


def test_their_writes_stay_there_too(elsewhere, site):
    def view(_request):
        book = Book.objects.using("other").get()
        book.title = "changed"
        book.save()
        book.tags.create(name="new")
        return Tag.objects.using("other").count()

    assert site.get(view).text == "2"
    assert not site.client.cookies
    assert Tag.objects.using("default").count() == 0


# --- relations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "allowed"),
    [
        ("default", "default", True),
        ("default", "replica1", True),
        ("replica2", "replica1", True),
        ("other", "other", None),
        ("other", "default", None),
        ("replica1", "other", None),
        (None, "default", None),
        (None, None, None),
        ("gone", "default", True),
        ("gone", "gone", True),
        ("gone", "other", None),
    ],
)
def test_relations_between_databases(one, other, allowed):
    book, author = Book(title="x"), Author(name="x")
    book._state.db, author._state.db = one, other
    assert ReadWriteRouter().allow_relation(book, author) is allowed


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("alias", ["default", *REPLICAS])
def test_objects_of_a_replica_can_be_related_and_saved(replicated, site, alias, method):
    def view(_request):
        author = Author.objects.using(alias).get()
        tag = Tag.objects.using(alias).get()
        book = Book(title="second", author=author)
        book.save()
        book.tags.add(tag)
        author.books.create(title="third")
        Author.objects.using(alias).get().delete()
        return Author.objects.count(), Book.objects.count(), Book.objects.db

    assert site.visit(method, view).text == "(0, 0, 'default')"


def test_a_changed_object_of_a_replica_is_saved_on_the_primary(replicated, site):
    def view(_request):
        book = Book.objects.get()
        assert book._state.db in REPLICAS
        book.title = "changed"
        book.save()
        return Book.objects.get().title

    assert site.get(view).text == "changed"
    assert Book.objects.using("default").get().title == "changed"
    assert Book.objects.using("replica1").get().title == "new"


# --- where Django asks no router -----------------------------------------------------------------------


def test_a_generic_foreign_key_is_counted_as_explicit_and_its_content_type_is_not(replicated, site):
    """Django names the database that the object came from, for both; the content type is the primary's."""
    heard = []

    def listen(*, decision, alias, **_kwargs):
        heard.append((decision.reason.value, alias))

    def view(_request):
        note = Note.objects.get()
        ContentType.objects.clear_cache()
        statement_routed.connect(listen, weak=False)
        try:
            with capture_routing() as decisions:
                assert note.target.title == "new"
        finally:
            statement_routed.disconnect(listen)
        return len(decisions), note._state.db in REPLICAS

    assert site.get(view).text == "(1, True)"
    assert [(reason, alias in REPLICAS) for reason, alias in heard] == [
        ("primary_only", False),
        ("explicit", True),
    ]


def test_content_types_are_read_from_the_primary_and_cached_for_it_alone(replicated, site):
    def view(_request):
        ContentType.objects.clear_cache()
        with capture_routing() as decisions:
            for _time in range(3):
                ContentType.objects.get_for_model(Book)
        return [decision.alias for decision in decisions]

    assert site.get(view).text == "['default']"


def test_the_router_can_be_asked_directly(databases):
    assert router.db_for_read(Book) == "default"
    assert router.db_for_write(Book) == "default"
    assert (ask().reason.value, reason()) == ("outside_scope", "outside_scope")


# --- objects of a replica, in a request that writes --------------------------------------------------


def shelved():
    shelf = Shelf.objects.get()
    shelf.notes.add(Note.objects.get())
    return shelf.notes.count()


def added(author):
    author.books.add(*Book.objects.all())
    return author.books.count()


def added_to_found(books):
    author, _created = Author.objects.get_or_create(name="ann")
    author.books.add(*books)
    return author.books.count()


def added_after(books):
    author = Author.objects.create(name="bob")
    author.books.add(*books)
    return author.books.count()


def replaced(author):
    author.books.set(Book.objects.filter(title="new"))
    return author.books.count()


RELATE = {
    "add() to an author of a replica": lambda: added(Author.objects.get()),
    "add() to one that was found to be changed": lambda: added_to_found(list(Book.objects.all())),
    "add() to a new author": lambda: added_after(list(Book.objects.all())),
    "add() to a new author in a scope inside": lambda: routing_scope(safe=True)(added_after)(
        list(Book.objects.all())
    ),
    "set()": lambda: replaced(Author.objects.get()),
    "aset()": lambda: async_to_sync(Author.objects.get().books.aset)(Book.objects.all()) or 1,
    "add() of a generic relation": shelved,
}


@pytest.mark.parametrize("relate", RELATE.values(), ids=RELATE)
def test_objects_of_a_replica_may_be_added_to_relations(databases, site, relate):
    """Django compares the databases, and says that an object from another one is not saved."""
    Author.objects.create(name="ann")
    Book.objects.create(title="new")
    Note.objects.create(target=Shelf.objects.create(name="top"))
    replicate()
    assert site.get(lambda _request: relate()).text == "1"
    assert Book.objects.filter(author=None).exists() is (relate is shelved)


def test_an_object_of_another_database_may_not(databases):
    author, stranger = Author.objects.create(name="ann"), Book.objects.using("other").create(title="new")
    with routing_scope(safe=True):
        list(Book.objects.all())
        with pytest.raises(ValueError, match="prevents"):
            author.books.add(stranger)
    Book.objects.using("other").all().delete()


def test_what_was_deferred_is_not_written_back(replicated, site):
    """The replica is late; what it would say of the deferred fields is older than what stands there."""
    Book.objects.update(title="newer")

    def view(_request):
        book = Book.objects.only("author").get()
        book.author = None
        book.save()
        return Book.objects.get().title

    assert site.get(view).text == "newer"
    assert not Book.objects.filter(author__isnull=False).exists()


def test_an_object_that_was_saved_so_is_like_any_other(replicated):
    with routing_scope(safe=True):
        book = Book.objects.get()
        book.save()
    assert type(pickle.loads(pickle.dumps(book))._state.db) is str
    assert book._state.db == "default"
    assert book._state.db != "replica1"
    assert {book._state.db: 1}["default"] == 1
