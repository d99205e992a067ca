"""A primary and two replicas on SQLite, with replication on demand."""

import functools
import shutil
import sqlite3
from contextlib import closing

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connections
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client
from django.urls import path

from django_rwrouter import process
from django_rwrouter.stats import recorder
from django_rwrouter.testing import capture_routing
from tests.app.models import Book
from tests.settings import DATABASES, FOLDER

REPLICAS = ("replica1", "replica2")
FRESH = FOLDER / "fresh.sqlite3"


def replicate(*aliases, source=DATABASES["default"]["NAME"]):
    """Bring these replicas (all, without arguments) level with the primary."""
    with closing(sqlite3.connect(source)) as original:
        for alias in aliases or REPLICAS:
            with closing(sqlite3.connect(DATABASES[alias]["NAME"])) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                original.backup(copy)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker):
    """Make the files; they are in a folder of their own, so no "test_" databases are needed."""
    with django_db_blocker.unblock():
        call_command("migrate", run_syncdb=True, verbosity=0)
        connections.close_all()
    shutil.copy(DATABASES["default"]["NAME"], FRESH)
    replicate(*DATABASES, source=FRESH)
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture
def databases(django_db_setup, django_db_blocker):
    """Start with all databases migrated, empty and level; several times as quick as flushing them."""
    with django_db_blocker.unblock():
        replicate(*DATABASES, source=FRESH)
        ContentType.objects.clear_cache()
        process.reset()
        yield
        process.reset()


@pytest.fixture
def routed(databases):
    """Collect the decisions of the test."""
    with capture_routing() as decisions:
        yield decisions


def ask(model=Book):
    """Read once; return the decision."""
    with capture_routing() as decisions:
        model.objects.count()
    (decision,) = (decision for decision in decisions if decision.model is model)
    return decision


def reason(model=Book):
    """Read once; return why it went where it went."""
    return ask(model).reason.value


def events():
    """Return what was counted in this test, by name and subject."""
    return {
        (name, subject): count
        for row in recorder._counters.take()
        for name, subject, count in row.data["events"]
    }


class Site:
    """One page, answered by the view of a test, and one client that visits it.

    A view may return anything: what is not a response becomes the text of one.
    """

    def __init__(self, settings, mode):
        self.settings = settings
        self.client = Client() if mode == "wsgi" else AsyncClient()
        self.mode = mode

    def serve(self, view):
        """Answer all requests with this view from now on."""
        self.settings.ROOT_URLCONF = (path("", self._as_view(view)),)

    def get(self, view=None, **headers):
        return self.visit("GET", view, **headers)

    def post(self, view=None, **headers):
        return self.visit("POST", view, **headers)

    def visit(self, method, view=None, **headers):
        """Make a request; if a view is given, it answers this one and all that follow."""
        if view is not None:
            self.serve(view)
        if self.mode == "wsgi":
            return self.client.generic(method, "/", headers=headers)

        async def main():
            return await self.client.generic(method, "/", headers=headers)

        return async_to_sync(main)()

    def forget(self):
        """Be another client from now on."""
        self.client.cookies.clear()

    def _as_view(self, view):
        if iscoroutinefunction(view):

            @functools.wraps(view)
            async def awaited(request):
                return _as_response(await view(request))

            return awaited
        if self.mode == "async view":

            @functools.wraps(view)
            async def threaded(request):
                return _as_response(await sync_to_async(view)(request))

            return threaded

        @functools.wraps(view)
        def called(request):
            return _as_response(view(request))

        return called


def _as_response(answer):
    return answer if isinstance(answer, HttpResponseBase) else HttpResponse(str(answer))


@pytest.fixture(params=["wsgi", "asgi", "async view"])
def site(request, databases, settings):
    """The same test for a sync server, an async server, and a view of its own thread."""
    return Site(settings, request.param)


@pytest.fixture
def atomic_requests(databases, monkeypatch):
    """Let Django open a transaction around each view."""
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)


class Servers:
    """The servers of the replicas, as far as a file can be one."""

    def __init__(self, monkeypatch, nowhere):
        self._monkeypatch = monkeypatch
        self._nowhere = str(nowhere)
        self._names = {alias: connections[alias].settings_dict["NAME"] for alias in REPLICAS}

    def kill(self, *aliases):
        """Make these (all, without arguments) impossible to connect to."""
        for alias in aliases or REPLICAS:
            connections[alias].close()
            self._monkeypatch.setitem(connections[alias].settings_dict, "NAME", self._nowhere)

    def revive(self, *aliases):
        for alias in aliases or REPLICAS:
            self._monkeypatch.setitem(connections[alias].settings_dict, "NAME", self._names[alias])


@pytest.fixture
def servers(databases, tmp_path, monkeypatch):
    yield Servers(monkeypatch, tmp_path)
    for alias in REPLICAS:
        connections[alias].close()
