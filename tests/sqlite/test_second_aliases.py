"""Aliases outside ``REPLICAS`` that lead to a server of ours, objects that name an alias that is gone, and
questions about an object in place of its class."""

import pickle

import pytest
from django.db import OperationalError, connections, router

from django_rwrouter import routing_scope
from tests.app.models import Author, Book, Tag
from tests.settings import DATABASES
from tests.sqlite.conftest import REPLICAS, replicate


@pytest.fixture
def second(databases, settings):
    """``replica2`` is no replica any more; its ``TEST["MIRROR"]`` still names the primary."""
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    Book.objects.create(title="old", author=Author.objects.create(name="ann"))
    Tag.objects.create(name="red")
    replicate()
    connections["replica2"].close()
    yield "replica2"
    connections["replica2"].close()


def unpickled(thing):
    return pickle.loads(pickle.dumps(thing))


@pytest.mark.parametrize("safe", [True, False])
def test_what_is_loaded_there_is_saved_on_the_primary(second, safe):
    red = Tag.objects.using(second).get()
    with routing_scope(safe=safe):
        book = unpickled(Book.objects.using(second).get())
        book.title = "new"
        book.save()
        book.tags.create(name="blue")
        red.delete()
    assert Book.objects.using("default").get().title == "new"
    assert [tag.name for tag in Tag.objects.using("default")] == ["blue"]
    assert Book.objects.using(second).get().title == "old"


def test_its_session_is_read_only(second):
    with pytest.raises(OperationalError, match="readonly"):
        Book.objects.using(second).create(title="lost")


def test_a_second_alias_of_the_primary_stays_writable(second, monkeypatch):
    for key in ("NAME", "OPTIONS"):
        monkeypatch.setitem(connections[second].settings_dict, key, DATABASES["default"][key])
    Book.objects.using(second).create(title="new")
    assert Book.objects.using("default").count() == 2


def test_its_objects_can_be_related(second):
    with routing_scope():
        author = Author.objects.using(second).get()
        book = Book.objects.using("default").get()
        book.author = author
        book.tags.add(Tag.objects.create(name="blue"))


@pytest.fixture
def gone(second):
    """A book that was cached when there was a replica of another name, with its author."""
    book = Book.objects.using("default").select_related("author").get()
    book._state.db = book.author._state.db = "long_gone"
    return unpickled(book)


@pytest.mark.parametrize("safe", [True, False])
def test_a_cached_object_of_an_alias_that_is_gone(gone, safe):
    with routing_scope(safe=safe):
        tag = Tag.objects.using("default").create(name="blue")
        gone.tags.add(tag)
        assert [each.name for each in gone.tags.all()] == ["blue"]
        tag.books.set([gone])
        fresh = Book(title="another", author=gone.author)
        fresh.save()
        gone.author = Author.objects.create(name="eve")
        gone.save()
        gone.author.books.add(gone, bulk=False)
        gone.refresh_from_db()
    assert {book.author.name for book in Book.objects.using("default")} == {"ann", "eve"}


@pytest.mark.parametrize("book", [Book(title="unsaved"), Book(pk=1, title="saved")], ids=["unsaved", "saved"])
@pytest.mark.parametrize("safe", [True, False])
def test_an_object_is_answered_as_its_class(databases, book, safe):
    with routing_scope(safe=safe):
        for _again in range(2):
            assert router.db_for_read(book) == router.db_for_read(Book)
            assert router.db_for_write(book) == "default"
        assert (router.db_for_read(book) in REPLICAS) is safe
