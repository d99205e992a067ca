"""The Server-Timing header: what it says, and to whom."""

import re

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.functional import SimpleLazyObject

from django_rwrouter import read_connection, use_primary
from django_rwrouter.contrib import statement_recording
from django_rwrouter.contrib.server_timing import ServerTimingMiddleware
from django_rwrouter.signals import statement_routed
from tests.app.models import Author, Book
from tests.sqlite.conftest import replicate

MIDDLEWARE = "django_rwrouter.contrib.server_timing.ServerTimingMiddleware"
ENTRY = re.compile(r'(?P<name>[^;, ]+);desc="(?P<text>(?:[^"\\]|\\.)*)";dur=(?P<ms>\d+\.\d)')


@pytest.fixture(autouse=True)
def _nobody_listens_afterwards():
    """As in a project without the middleware: to listen costs, and other tests look who does."""
    yield
    statement_routed.disconnect(dispatch_uid="django_rwrouter.contrib.statement_recording")


@pytest.fixture
def timed(settings):
    """With the middleware, and DEBUG."""
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
    settings.DEBUG = True
    settings.RWROUTER = {"REPLICAS": ["replica1"]}


def entries(response):
    """Return the texts of the header's entries by their names, and see to it that there is nothing else."""
    header = response.headers["Server-Timing"]
    found = list(ENTRY.finditer(header))
    assert ", ".join(match[0] for match in found) == header
    return {match["name"]: match["text"] for match in found}


def read(request):
    return HttpResponse(list(Book.objects.all()))


def test_each_database_is_named_with_its_statements_its_time_and_the_main_reason(timed, site):
    def view(request):
        list(Author.objects.all())
        list(Book.objects.all())
        with use_primary():
            list(Book.objects.all())
        Book.objects.create(title="x")
        return list(Book.objects.all())

    assert entries(site.get(view)) == {
        "db-replica1": "replica1: 2 reads (window)",
        "db-default": "default: 2 reads (use_primary, ...), 1 write",
    }


def test_requests_do_not_see_each_others_statements(timed, site):
    assert entries(site.get(read)) == {"db-replica1": "replica1: 1 read (window)"}
    assert entries(site.get(read)) == {"db-replica1": "replica1: 1 read (window)"}


def test_a_response_without_statements_of_ours_says_nothing(timed, site):
    def view(request):
        with connections["other"].cursor() as cursor:
            cursor.execute("SELECT 1")

    assert "Server-Timing" not in site.get(view).headers


def test_what_is_there_already_stays(timed, site):
    def view(request):
        return HttpResponse(list(Book.objects.all()), headers={"Server-Timing": "app;dur=3"})

    header = site.get(view).headers["Server-Timing"]
    assert header.startswith('app;dur=3, db-replica1;desc="')


def test_a_streaming_response_tells_what_was_asked_before_its_headers(timed, site):
    def view(request):
        list(Author.objects.all())
        return StreamingHttpResponse(str(ask().count()) for ask in [Book.objects.all])

    assert entries(site.get(view)) == {"db-replica1": "replica1: 1 read (window)"}


def test_only_developers_are_told(timed, site, settings):
    settings.DEBUG = False
    assert "Server-Timing" not in site.get(read).headers


@pytest.mark.parametrize("is_staff", [True, False], ids=["staff", "not staff"])
@pytest.mark.parametrize("looks", ["request.user", "request.auser()"])
def test_staff_whom_the_view_has_looked_up_are_told(timed, site, settings, is_staff, looks):
    settings.DEBUG = False
    user = User.objects.create_user("ines", is_staff=is_staff)
    replicate()
    site.client.force_login(user)

    def view(request):
        assert request.user.is_authenticated
        return list(Book.objects.all())

    async def aview(request):
        assert (await request.auser()).is_authenticated
        return [book async for book in Book.objects.all()]

    response = site.get(view if looks == "request.user" else aview)
    assert ("Server-Timing" in response.headers) is is_staff


def test_nobody_is_looked_up_to_find_out(timed, site, settings, routed):
    settings.DEBUG = False
    site.client.force_login(User.objects.create_user("ines", is_staff=True))
    replicate()
    routed.clear()
    assert "Server-Timing" not in site.get(read).headers
    assert [decision.model for decision in routed] == [Book]


@pytest.mark.parametrize(
    ("user", "told"),
    [
        (User(is_staff=True), True),
        (User(is_staff=True, is_active=False), False),
        (AnonymousUser(), False),
        (SimpleLazyObject(lambda: pytest.fail("The user was looked up.")), False),
        (None, False),
    ],
    ids=["staff", "inactive", "anonymous", "unknown yet", "no user"],
)
def test_users_of_all_kinds(timed, databases, rf, settings, user, told):
    settings.DEBUG = False
    request = rf.get("/")
    if user is not None:
        request.user = user
    response = ServerTimingMiddleware(read)(request)
    assert ("Server-Timing" in response.headers) is told


def test_odd_names_of_databases_make_no_odd_header(timed, databases, rf, settings, monkeypatch):
    odd = 'r\u00e9p\n"1"\\;'
    monkeypatch.setitem(connections.settings, odd, {**connections.settings["replica1"]})
    settings.RWROUTER = {"REPLICAS": [odd]}
    try:

        def view(request):
            with read_connection().cursor() as cursor:
                cursor.execute("SELECT * FROM app_book")
            with connections[odd].cursor() as cursor:
                cursor.execute("SELECT * FROM app_book")
            return HttpResponse()

        response = ServerTimingMiddleware(view)(rf.get("/"))
    finally:
        connections[odd].close()
        del connections[odd]
    assert entries(response)["db-r_p__1___"] == 'r?p\\\\n\\"1\\"\\\\;: 1 read (explicit)'


def test_an_error_ends_the_recording_too(timed, databases, rf):
    def view(request):
        raise LookupError

    with pytest.raises(LookupError):
        ServerTimingMiddleware(view)(rf.get("/"))
    assert statement_recording._recordings.get() == ()


def test_it_is_async_where_what_it_calls_is():
    async def view(request):
        return HttpResponse()

    assert iscoroutinefunction(ServerTimingMiddleware(view))
    assert not iscoroutinefunction(ServerTimingMiddleware(read))
