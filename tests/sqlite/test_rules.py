"""The rules end to end: through requests of a sync and an async server."""

import time

import pytest
from django.db import transaction
from django.http import HttpResponse, HttpResponseRedirect

from django_rwrouter import consistency, use_primary, use_replica
from tests.app.models import AuditRow, Book
from tests.sqlite.conftest import REPLICAS, ask, reason, replicate


def titles(_request=None):
    return ",".join(Book.objects.order_by("pk").values_list("title", flat=True))


def add(_request=None):
    Book.objects.create(title="new")
    return titles()


# --- one request -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "safe"),
    [(method, True) for method in ("GET", "HEAD", "OPTIONS", "TRACE")]
    + [(method, False) for method in ("POST", "PUT", "PATCH", "DELETE", "BREW")],
)
def test_reads_of_a_safe_method_are_a_replicas(site, method, safe):
    found = []
    site.visit(method, lambda _request: found.append(ask()))
    assert found[0].reason.value == ("window" if safe else "unsafe_method")
    assert (found[0].alias in REPLICAS) is safe
    assert found[0].model is Book


def test_a_read_after_a_write_in_the_same_get_sees_it(site):
    assert site.get(add).text == "new"


def test_a_read_after_a_write_under_use_replica_is_stale(site):
    def view(_request):
        add()
        with use_replica():
            return titles()

    assert site.get(view).text == ""


@pytest.mark.parametrize("level", ["primary", "eventual", "window"])
def test_what_a_scope_wrote_it_reads_under_every_level(site, settings, level):
    settings.RWROUTER = {**settings.RWROUTER, "CONSISTENCY": level}
    assert site.get(add).text == "new"

    def view(_request):
        Book.objects.create(title="more")
        with consistency("eventual"):
            return reason()

    assert site.get(view).text == "wrote_in_scope"


def test_the_scope_that_wrote_ends_with_its_request(site):
    site.get(add)
    site.forget()
    assert site.get(lambda _request: reason()).text == "window"


# --- from one request to the next ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_sees_what_it_wrote_before(site, method):
    site.visit(method, add)
    assert site.get(titles).text == "new"
    assert site.get(lambda _request: reason()).text == "pinned"


def test_the_same_under_eventual_is_stale(site, settings):
    settings.RWROUTER = {**settings.RWROUTER, "CONSISTENCY": "eventual"}
    site.post(add)
    assert site.get(titles).text == ""
    assert site.get(lambda _request: reason()).text == "eventual"


def test_another_client_may_not_see_it_yet(site):
    site.post(add)
    site.forget()
    assert site.get(titles).text == ""
    replicate()
    assert site.get(titles).text == "new"


def test_a_client_is_pinned_as_long_as_it_is_told_to(site, settings, monkeypatch):
    settings.RWROUTER = {**settings.RWROUTER, "PIN_SECONDS": 300}
    site.post(add)
    cookie = site.client.cookies["rwrouter"]
    assert cookie["max-age"] == 300
    now = time.time()
    for later, expected in [(299, "pinned"), (300.5, "window")]:
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert site.get(lambda _request: reason()).text == expected


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda: HttpResponse("ok"), id="200"),
        pytest.param(lambda: HttpResponseRedirect("/"), id="302"),
        pytest.param(lambda: HttpResponse(status=204), id="204"),
        pytest.param(lambda: HttpResponse(status=404), id="404"),
        pytest.param(lambda: HttpResponse(status=500), id="500"),
    ],
)
def test_a_write_pins_whatever_the_response_is(site, answer):
    def view(_request):
        Book.objects.create(title="new")
        return answer()

    site.post(view)
    assert site.get(titles).text == "new"


def test_a_view_that_fails_after_its_write_pins_too(site):
    def view(_request):
        Book.objects.create(title="new")
        raise ZeroDivisionError

    site.client.raise_request_exception = False
    assert site.post(view).status_code == 500
    assert site.get(titles).text == "new"


def test_a_post_that_writes_nothing_pins_nobody(site):
    assert site.post(lambda _request: reason()).text == "unsafe_method"
    assert not site.client.cookies
    assert site.get(lambda _request: reason()).text == "window"


# --- blocks in views -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decorate", "expected"),
    [
        (use_primary(), "use_primary"),
        (use_replica(), "use_replica"),
        (consistency("primary"), "level_primary"),
        (consistency("eventual"), "eventual"),
        (consistency("window"), "window"),
    ],
    ids=["use_primary", "use_replica", "primary", "eventual", "window"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_decorated_view(site, decorate, expected, method):
    view = decorate(lambda _request: reason())
    assert site.visit(method, view).text == expected


@pytest.mark.parametrize("level", ["window", "eventual"])
def test_a_level_in_force_in_a_post_ends_with_its_first_write(site, level):
    @consistency(level)
    def view(_request):
        before = reason()
        Book.objects.create(title="new")
        return f"{before} {reason()}"

    assert site.post(view).text == f"{level} wrote_in_scope"


def test_a_write_inside_use_replica_goes_to_the_primary_and_pins_as_always(site):
    site.post(use_replica()(lambda _request: Book.objects.using(None).create(title="new")._state.db))
    assert site.get(titles).text == "new"


def test_views_opt_in_where_the_level_is_primary(site, settings):
    settings.RWROUTER = {**settings.RWROUTER, "CONSISTENCY": "primary"}
    assert site.get(lambda _request: reason()).text == "level_primary"
    assert site.get(consistency("window")(lambda _request: reason())).text == "window"
    site.post(add)
    assert site.get(consistency("window")(titles)).text == "new"


# --- transactions ----------------------------------------------------------------------------------


def test_a_read_inside_atomic_is_the_primarys(site):
    def view(_request):
        with transaction.atomic():
            inside = reason()
        return f"{inside} {reason()}"

    assert site.get(view).text == "in_transaction window"


def test_a_read_inside_atomic_of_another_database_is_a_replicas(site):
    def view(_request):
        with transaction.atomic(using="other"):
            return reason()

    assert site.get(view).text == "window"


# --- primary only ----------------------------------------------------------------------------------


def test_a_primary_only_model_is_read_from_the_primary_and_its_writes_pin_nobody(site, settings):
    settings.RWROUTER = {**settings.RWROUTER, "PRIMARY_ONLY": ["app.AuditRow"]}

    def view(_request):
        AuditRow.objects.create(text="x")
        return f"{AuditRow.objects.count()} {reason(AuditRow)} {reason()}"

    assert site.get(view).text == "1 primary_only window"
    assert not site.client.cookies
