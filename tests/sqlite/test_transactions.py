"""Transactions: what is read inside one is the primary's, except for the one around a view."""

import functools

import pytest
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.template.response import SimpleTemplateResponse
from django.utils.decorators import method_decorator
from django.views import View

from django_rwrouter import consistency, routing_scope, use_primary, use_replica
from tests.app import middleware
from tests.app.models import Book
from tests.sqlite.conftest import reason

pytestmark = [
    # Django refuses ATOMIC_REQUESTS for async views.
    pytest.mark.parametrize("site", ["wsgi", "asgi"], indirect=True),
]


def view(_request):
    return reason()


def write(_request=None):
    Book.objects.create(title="new")
    return reason()


def nested(_request):
    with transaction.atomic():
        inside = reason()
    return f"{inside} {reason()}"


def nested_without_savepoint(_request):
    with transaction.atomic(savepoint=False):
        return reason()


def write_in_savepoint(_request):
    with transaction.atomic():
        Book.objects.create(title="new")
    return reason()


def in_a_scope(_request):
    with routing_scope(safe=True):
        first = reason()
        with transaction.atomic():
            inside = reason()
        return f"{first} {inside} {reason()}"


def in_a_scope_that_writes(_request):
    with routing_scope(safe=True):
        Book.objects.create(title="new")
        return reason()


def in_a_scope_after_a_write(_request):
    Book.objects.create(title="new")
    with routing_scope(safe=True):
        return reason()


def in_a_scope_that_may_write(_request):
    with routing_scope():
        return reason()


class ClassBased(View):
    def get(self, request):
        return HttpResponse(reason())


def without_atomic_requests(view, using=None):
    """Exempt a copy: Django's decorator marks the very function that it is given."""
    copy = functools.partial(view)
    return transaction.non_atomic_requests(using=using)(functools.wraps(view)(copy))


class LateResponse(SimpleTemplateResponse):
    @property
    def rendered_content(self):
        return reason()


VIEWS = {
    "a read": (view, "window"),
    "a write, and what follows": (write, "wrote_in_scope"),
    "a transaction of its own inside": (nested, "in_transaction window"),
    "one without a savepoint": (nested_without_savepoint, "in_transaction"),
    "a write in a savepoint": (write_in_savepoint, "wrote_in_scope"),
    "atomic as a decorator": (transaction.atomic(view), "in_transaction"),
    "no transaction around the view": (without_atomic_requests(view), "window"),
    "none, but one inside": (without_atomic_requests(nested), "in_transaction window"),
    "none, but atomic as a decorator": (
        without_atomic_requests(transaction.atomic(view)),
        "in_transaction",
    ),
    "none of another database": (without_atomic_requests(view, "other"), "window"),
    "use_replica": (use_replica()(view), "use_replica"),
    "use_primary": (use_primary()(view), "use_primary"),
    "a level": (consistency("eventual")(view), "eventual"),
    "a class": (ClassBased.as_view(), "window"),
    "a decorated class": (
        method_decorator(consistency("eventual"), name="dispatch")(
            type("Decorated", (ClassBased,), {})
        ).as_view(),
        "eventual",
    ),
    "a scope inside": (in_a_scope, "window in_transaction window"),
    "one inside that writes": (in_a_scope_that_writes, "in_transaction"),
    "one inside after a write": (in_a_scope_after_a_write, "in_transaction"),
    "one inside that may write": (in_a_scope_that_may_write, "in_transaction"),
    "a late rendering": (lambda _request: LateResponse("x"), "window"),
}


@pytest.mark.parametrize(("view", "expected"), VIEWS.values(), ids=VIEWS)
def test_atomic_requests_around_a_safe_view_is_no_reason(atomic_requests, site, view, expected):
    assert site.get(view).text == expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (view, "in_transaction"),
        (use_replica()(view), "in_transaction"),
        (consistency("eventual")(view), "in_transaction"),
        (use_primary()(view), "use_primary"),
        (without_atomic_requests(view), "unsafe_method"),
    ],
    ids=["a read", "use_replica", "a level", "use_primary", "no transaction"],
)
def test_around_an_unsafe_one_it_is(atomic_requests, site, view, expected):
    assert site.post(view).text == expected


def test_atomic_requests_of_two_databases(atomic_requests, site, monkeypatch):
    monkeypatch.setitem(connections["other"].settings_dict, "ATOMIC_REQUESTS", True)
    assert site.get(view).text == "window"


def test_it_really_is_in_a_transaction(atomic_requests, site):
    """Without this, the tests above would show nothing."""
    assert site.get(lambda _request: connection.in_atomic_block).text == "True"


def test_a_view_that_fails_is_rolled_back_and_may_pin(atomic_requests, site):
    def failing(_request):
        Book.objects.create(title="new")
        raise ZeroDivisionError

    site.client.raise_request_exception = False
    assert site.get(failing).status_code == 500
    assert Book.objects.using("default").count() == 0
    assert site.get(view).text == "pinned"


def test_on_commit_runs_after_the_views_transaction_and_sees_the_write(atomic_requests, site):
    seen = []

    def on_commit():
        seen.append((connection.in_atomic_block, reason(), Book.objects.count()))

    def writing(_request):
        Book.objects.create(title="new")
        transaction.on_commit(on_commit)

    site.get(writing)
    assert seen == [(False, "wrote_in_scope", 1)]


@pytest.mark.parametrize(
    ("path", "name", "of_middleware", "of_view"),
    [
        ("atomic_around", "around", "in_transaction", "in_transaction"),
        ("atomic_before", "before", "in_transaction", "window"),
        ("atomic_after", "after", "in_transaction", "window"),
        ("AtomicInProcessView", "process_view", "in_transaction", "window"),
    ],
)
@pytest.mark.parametrize("requests", ["atomic", "plain"])
def test_transactions_of_middleware_are_told_apart(
    request, site, settings, path, name, of_middleware, of_view, requests
):
    if requests == "atomic":
        request.getfixturevalue("atomic_requests")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"tests.app.middleware.{path}"]
    middleware.found.clear()
    assert site.get(view).text == of_view
    assert middleware.found == {name: of_middleware}


def test_a_transaction_after_a_view_that_read_is_not_taken_for_the_views(atomic_requests, site, settings):
    """The view's own block was seen and is over: a block like it is another one."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.app.middleware.atomic_after"]
    for _request in range(3):
        middleware.found.clear()
        assert site.get(view).text == "window"
        assert middleware.found == {"after": "in_transaction"}


def test_without_autocommit_everything_is_in_a_transaction(site):
    def manual(_request):
        list(Book.objects.using("default"))
        transaction.set_autocommit(False)
        try:
            inside = reason()
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        return f"{inside} {reason()}"

    assert site.get(manual).text == "in_transaction window"
