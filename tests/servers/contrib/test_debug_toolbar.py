"""The panel of django-debug-toolbar: what it records, keeps and shows."""

import json
import re
from html.parser import HTMLParser

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.utils import translation

pytest.importorskip("debug_toolbar", reason="django-debug-toolbar is not installed")

from debug_toolbar.settings import get_config
from debug_toolbar.store import MemoryStore
from debug_toolbar.toolbar import DebugToolbar

from django_rwrouter import consistency, use_primary
from django_rwrouter.contrib.debug_toolbar import REASONS
from tests.app.models import Author, Book

PAGE = "<!doctype html><html><head><title>Books</title></head><body>{}</body></html>"
CSP = "default-src 'self'"


def strict_csp(get_response):
    """Forbid whatever is inline, as a project may."""

    def middleware(request):
        response = get_response(request)
        response.headers["Content-Security-Policy"] = CSP
        return response

    return middleware


class Site:
    def __init__(self, settings, client):
        self._settings = settings
        self.client = client
        self.request_id = ""

    def visit(self, view, method="GET"):
        """Have a view answer; return the page, with the toolbar in it."""
        self._settings.ROOT_URLCONF = (
            path("", view),
            path("__debug__/", include("debug_toolbar.urls")),
        )
        response = self._ask(method, "/")
        text = response.content.decode()
        self.request_id = re.search(r'data-request-id="(\w+)"', text)[1]
        return text

    def stored(self):
        """Return what is kept of the last visit."""
        return MemoryStore.panel(self.request_id, "RoutingPanel")

    def panel(self):
        """Return the panel of the last visit, as the toolbar's script fetches it."""
        query = f"request_id={self.request_id}&panel_id=RoutingPanel"
        response = self._ask("GET", f"/__debug__/render_panel/?{query}")
        return json.loads(response.content)["content"]

    def _ask(self, method, address):
        if isinstance(self.client, Client):
            return self.client.generic(method, address)

        async def main():
            return await self.client.generic(method, address)

        return async_to_sync(main)()


@pytest.fixture(params=[Client, AsyncClient], ids=["wsgi", "asgi"])
def site(request, cluster, settings):
    settings.DEBUG = True
    settings.INTERNAL_IPS = ["127.0.0.1"]
    settings.MIDDLEWARE = [
        "debug_toolbar.middleware.DebugToolbarMiddleware",
        *settings.MIDDLEWARE,
    ]
    settings.RWROUTER = {"REPLICAS": ["replica1"], "CONSISTENCY": "causal"}
    get_config.cache_clear()
    MemoryStore.clear()
    yield Site(settings, request.param())
    MemoryStore.clear()


def read(request):
    return HttpResponse(PAGE.format(len(Book.objects.all())))


def test_every_query_is_there_with_its_database_and_reason(site, cluster):
    def view(request):
        list(Book.objects.all())
        with use_primary():
            Author.objects.count()
        Book.objects.create(title="x")
        with connections["replica1"].cursor() as cursor:
            cursor.execute("SELECT * FROM app_tag")
        return HttpResponse(PAGE)

    site.visit(view)
    queries = site.stored()["queries"]
    assert [
        (query["alias"], query["operation"], query["reason"], query["model"], query["is_primary"])
        for query in queries
    ] == [
        ("replica1", "read", "causal", "app.Book", False),
        ("default", "read", "use_primary", "app.Author", True),
        ("default", "write", "write", "app.Book", True),
        ("replica1", "read", "explicit", "", False),
    ]
    assert all(query["milliseconds"] > 0 for query in queries)
    shown = site.panel()
    for query in queries:
        assert str(REASONS[query["reason"]]) in shown
        assert query["reason"] in shown
    assert "FROM `app_book`" in shown
    assert site.stored()["databases"]["default"]["writes"] == 1
    assert site.stored()["databases"]["replica1"]["reads"] == 2


def test_what_is_kept_is_plain_data(site):
    site.visit(read)
    stored = site.stored()
    assert json.loads(json.dumps(stored)) == stored


def test_the_side_bar_counts_them(site):
    assert "1 query, 1 on replicas" in site.visit(read)


def test_the_state_of_the_request_is_there(site, cluster):
    def write(request):
        Book.objects.create(title="x")
        return HttpResponse(PAGE)

    site.visit(write, "POST")
    (before,) = site.stored()["clusters"]
    assert before["name"] == "default"
    assert before["level"] == "causal"
    assert before["wrote"] is True
    assert before["token"] == "none"
    cluster.wait_all()
    site.visit(read)
    (after,) = site.stored()["clusters"]
    assert after["wrote"] is False
    assert after["token"] == "position"
    assert 0 <= after["token_age"] < 60
    assert after["replica"] == "replica1"
    assert "with a position" in site.panel()


def test_the_token_is_not_looked_at_for_the_panel(site):
    def view(request):
        with use_primary():
            return HttpResponse(PAGE.format(Book.objects.count()))

    site.visit(view)
    assert site.stored()["clusters"][0]["token"] == "unseen"
    assert "no read depended on it" in site.panel()


def test_a_client_that_is_pinned_is_said_to_be(site, cluster, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "CONSISTENCY": "window", "PIN_SECONDS": 600}

    def write(request):
        Book.objects.create(title="x")
        return HttpResponse(PAGE)

    site.visit(write, "POST")
    site.visit(read)
    (cluster_of_ours,) = site.stored()["clusters"]
    assert cluster_of_ours["pinned"] is True
    assert cluster_of_ours["token"] == "time"
    assert site.stored()["queries"][0]["reason"] == "pinned"
    assert "with a time alone" in site.panel()


def test_a_decision_that_took_steps_shows_them_with_its_own_query(site, cluster):
    def view(request):
        list(Author.objects.all())
        with consistency("strong"):
            list(Book.objects.all())
            list(Book.objects.all())
        return HttpResponse(PAGE)

    site.visit(view)
    first, second, third = site.stored()["queries"]
    assert "AskFloor" not in [name for name, _alias, _milliseconds in first["steps"]]
    assert [(name, alias) for name, alias, _ms in second["steps"] if name == "AskFloor"] == [
        ("AskFloor", "default")
    ]
    assert third["steps"] == []
    assert second["level"] == "strong"
    assert "asked where it stands: default" in site.panel()


def test_shadow_mode_shows_where_a_read_would_have_gone(site, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "ENABLED": "shadow"}
    site.visit(read)
    (query,) = site.stored()["queries"]
    assert (query["alias"], query["would_be"]) == ("default", "replica1")
    assert "would have been replica1" in site.panel()


def test_a_request_without_queries_says_so(site):
    site.visit(lambda request: HttpResponse(PAGE))
    assert "No queries" in site.panel()


def test_one_request_does_not_show_another(site):
    site.visit(read)
    site.visit(read)
    assert len(site.stored()["queries"]) == 1


def test_what_the_store_keeps_is_enough_to_show_it(site):
    """Another process may show it, in another language, and with other settings."""
    site.visit(read)
    with translation.override(None):
        panel = DebugToolbar.fetch(site.request_id, "RoutingPanel").get_panel_by_id("RoutingPanel")
        assert panel.enabled
        assert panel.nav_subtitle == "1 query, 1 on replicas"
        assert "replica1" in panel.content


def test_a_reason_of_a_newer_version_is_shown_as_it_is(site):
    site.visit(read)
    stored = site.stored()
    stored["queries"][0]["reason"] = "by_the_moon"
    stored["queries"][0]["steps"] = [["LookUp", "the sky", 0.5]]
    MemoryStore.save_panel(site.request_id, "RoutingPanel", stored)
    shown = site.panel()
    assert "by_the_moon" in shown
    assert "LookUp: the sky" in shown


class Inline(HTMLParser):
    """Finds what a policy of ``default-src 'self'`` forbids."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "style" or name.startswith("on") or (value or "").startswith("javascript:"):
                self.found.append((tag, name))
            if name in {"src", "href"} and tag in {"script", "link", "img"} and "//" in value:
                self.found.append((tag, value))
        if tag == "style" or (tag == "script" and "src" not in dict(attrs)):
            self.found.append((tag, "inline"))


def test_it_works_under_a_strict_content_security_policy(site, settings):
    settings.MIDDLEWARE = [f"{__name__}.strict_csp", *settings.MIDDLEWARE]

    def view(request):
        list(Book.objects.filter(title="<b onclick='x'>"))
        with connections["replica1"].cursor() as cursor:
            cursor.execute("SELECT '<script>alert(1)</script>' FROM app_tag")
        return HttpResponse(PAGE)

    assert not Inline(site.visit(view)).found
    shown = site.panel()
    assert "<script>" not in shown
    assert not Inline(shown).found
