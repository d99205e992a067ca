"""Blocks as decorators: without parentheses, and where they would do nothing."""

import functools
import warnings

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views import View

from django_rwrouter import consistency, routing_scope, untracked_writes, use_primary, use_replica
from django_rwrouter.blocks import _warn_once
from tests.app.models import Book
from tests.sqlite.conftest import reason

DECORATORS = {
    "use_primary": use_primary,
    "use_primary()": use_primary(),
    "use_replica": use_replica,
    "consistency": consistency("eventual"),
    "routing_scope": routing_scope(safe=True),
}
every_decorator = pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)


@pytest.fixture(autouse=True)
def unwarned(databases):
    _warn_once.cache_clear()


@pytest.mark.parametrize("decorate", [use_primary, use_replica], ids=lambda decorate: decorate.__name__)
def test_parentheses_may_be_left_out(decorate):
    @decorate
    def function():
        """Say why."""
        return reason()

    @decorate
    async def awaited():
        return await sync_to_async(reason)()

    assert function() == decorate.__name__
    assert (function.__name__, function.__doc__) == ("function", "Say why.")
    with routing_scope():
        assert async_to_sync(awaited)() == decorate.__name__


@every_decorator
def test_a_class_is_refused_with_the_way_out(decorate):
    with pytest.raises(TypeError, match=r"Page is a class.*method_decorator\(\.\.\., name=\"dispatch\"\)"):

        @decorate
        class Page(View):
            pass


@every_decorator
@pytest.mark.parametrize(
    "read", [Book.objects.all, lambda: Book.objects.raw("SELECT * FROM app_book")], ids=["queryset", "raw"]
)
def test_an_unevaluated_queryset_is_warned_of_once_with_its_place(decorate, read):
    @decorate
    def get_queryset():
        return read()

    with pytest.warns(RuntimeWarning, match=r"get_queryset\(\) returns a queryset") as caught:
        get_queryset()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_queryset()


def test_a_view_is_decorated_with_djangos_help(rf):
    @method_decorator(use_primary, name="dispatch")
    class Page(View):
        def get(self, _request):
            return HttpResponse(reason())

    assert Page.as_view()(rf.get("/")).content == b"use_primary"


@every_decorator
def test_one_that_was_evaluated_is_not_warned_of(decorate):
    @decorate
    def get_queryset():
        books = Book.objects.all()
        len(books)
        return books

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_queryset()


def test_what_has_no_place_in_a_file_is_warned_of_as_well():
    with pytest.warns(RuntimeWarning, match="returns a queryset"):
        use_primary(functools.partial(Book.objects.filter, title="x"))()


def test_nor_one_where_only_writes_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        untracked_writes()(Book.objects.all)()
