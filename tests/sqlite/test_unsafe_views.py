"""``UNSAFE_VIEWS``: somebody else's views, whose GETs are treated like a POST."""

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path

from django_rwrouter.testing import capture_routing
from tests.app.models import Book
from tests.sqlite.conftest import reason


@pytest.fixture
def urls():
    """Serve one view under several names, by the mode of the site."""

    def serve(view):
        patterns = [path("ping/<slug:slug>", view, name="by_slug"), path("look/", view, name="look")]
        return (
            path("hc/", include((patterns, "hc"), namespace="checks")),
            path("plain/<slug:slug>", view, name="plain"),
            *i18n_patterns(path("ping/<slug:slug>", view, name="translated")),
        )

    return serve


def ask(site, urls, method, where):
    def view(_request, slug=""):
        return HttpResponse(reason())

    async def threaded(_request, slug=""):
        return HttpResponse(await sync_to_async(reason)())

    site.settings.LANGUAGE_CODE = "en"
    site.settings.ROOT_URLCONF = urls(threaded if site.mode == "async view" else view)
    visit = getattr(site.client, method)
    return (visit if site.mode == "wsgi" else async_to_sync(visit))(where).text


@pytest.mark.parametrize(
    ("entry", "where", "expected"),
    [
        ("plain", "/plain/x", "unsafe_method"),
        ("checks:by_slug", "/hc/ping/x", "unsafe_method"),
        ("hc:by_slug", "/hc/ping/x", "unsafe_method"),
        ("hc:by_slug", "/hc/look/", "window"),
        ("by_slug", "/hc/ping/x", "window"),
        ("translated", "/en/ping/x", "unsafe_method"),
        ("/plain/", "/plain/x", "unsafe_method"),
        ("/plain", "/plain/x", "unsafe_method"),
        ("/hc/ping/", "/hc/look/", "window"),
        ("/ping/", "/en/ping/x", "unsafe_method"),
        ("/ping/", "/hc/ping/x", "window"),
    ],
)
@pytest.mark.parametrize("method", ["get", "head"])
def test_a_view_that_is_named_reads_from_the_primary(site, urls, settings, entry, where, expected, method):
    settings.RWROUTER = {**settings.RWROUTER, "UNSAFE_VIEWS": [entry]}
    if method == "head":  # Has no body to look at.
        with capture_routing() as decisions:
            ask(site, urls, method, where)
        assert [decision.reason.value for decision in decisions] == [expected]
    else:
        assert ask(site, urls, method, where) == expected


@pytest.mark.parametrize("where", ["/", "/en", "/en/", "/nowhere/"])
def test_a_path_without_a_view_breaks_nothing(site, urls, settings, where):
    settings.RWROUTER = {**settings.RWROUTER, "UNSAFE_VIEWS": ["/ping/", "checks:by_slug"]}
    assert "Not Found" in ask(site, urls, "get", where)


def test_what_it_finds_missing_is_created_once(site, settings):
    settings.RWROUTER = {**settings.RWROUTER, "UNSAFE_VIEWS": ["/"]}

    def view(_request):
        if not Book.objects.filter(title="new").exists():
            Book.objects.create(title="new")

    for _client in range(3):
        site.forget()
        site.get(view)
    assert Book.objects.using("default").count() == 1
