"""Clients that keep no cookies: the token in a header, with REST framework and the documented clients."""

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test.testcases import LiveServerThread

from tests.app.models import Book

pytest.importorskip("rest_framework", reason="djangorestframework is not installed")

from rest_framework.test import APIClient

HEADER = "X-Read-Your-Writes"
PAGE = Path(__file__).resolve().parents[3] / "docs" / "api-clients.md"


class RememberingClient(APIClient):
    """Sends back what it got in the header, and no cookies."""

    token = ""

    def generic(self, *args, **kwargs):
        self.cookies.clear()
        headers = {**(kwargs.pop("headers", None) or {}), **({HEADER: self.token} if self.token else {})}
        response = super().generic(*args, headers=headers, **kwargs)
        self.token = response.headers.get(HEADER, self.token)
        return response


@pytest.fixture
def forgetful(cluster):
    class Client(APIClient):
        def generic(self, *args, **kwargs):
            self.cookies.clear()
            return super().generic(*args, **kwargs)

    return Client()


@pytest.fixture
def remembering(cluster):
    return RememberingClient()


def titles(client):
    return [book["title"] for book in client.get("/api/books/").data]


def test_a_client_that_sends_the_header_back_sees_what_it_wrote(remembering, lagging):
    assert remembering.post("/api/books/", {"title": "new"}, format="json").status_code == 201
    assert titles(remembering) == ["new"]


def test_one_that_does_not_misses_it(forgetful, lagging):
    assert forgetful.post("/api/books/", {"title": "new"}, format="json").status_code == 201
    assert titles(forgetful) == []


def test_what_it_changes_and_deletes_is_seen_too(remembering, lagging):
    book = Book.objects.create(title="old")
    lagging.resume(lagging.replicas[0])
    lagging.resume(lagging.replicas[1])
    lagging.wait_all()
    for replica in lagging.replicas:
        lagging.pause(replica)
    url = f"/api/books/{book.pk}/"
    assert remembering.patch(url, {"title": "new"}, format="json").data["title"] == "new"
    assert remembering.get(url).data["title"] == "new"
    assert remembering.delete(url).status_code == 204
    assert remembering.get(url).status_code == 404


def test_replicas_answer_as_soon_as_they_have_caught_up(remembering, cluster, routed):
    remembering.post("/api/books/", {"title": "new"}, format="json")
    cluster.wait_all()
    routed.clear()
    assert titles(remembering) == ["new"]
    assert [(decision.alias.rstrip("12"), decision.reason.value) for decision in routed] == [
        ("replica", "causal")
    ]


def test_only_a_response_that_wrote_sets_the_header(remembering, forgetful):
    assert HEADER not in forgetful.get("/api/books/").headers
    response = remembering.post("/api/books/", {"title": "new"}, format="json")
    assert response.headers[HEADER]
    assert HEADER in response.headers["Vary"]
    assert "private" in response.headers["Cache-Control"]
    refused = forgetful.post("/api/books/", {}, format="json")
    assert (refused.status_code, HEADER in refused.headers) == (400, False)


@pytest.mark.parametrize("value", ["", "made up", "x" * 5000, "é"])
def test_a_made_up_header_is_as_none(cluster, forgetful, routed, value):
    assert forgetful.get("/api/books/", headers={HEADER: value}).status_code == 200
    assert routed[-1].alias.startswith("replica")


# --- the documented clients --------------------------------------------------------------------


def documented(first_line):
    """Return the block of the page that begins with this line."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    [block] = [block for block in blocks if block.startswith(first_line)]
    return block


@pytest.mark.parametrize("library", ["requests", "httpx"])
def test_the_documented_client(library, lagging, live_server_url):
    pytest.importorskip(library)
    source = documented(f"import {library}\n").replace("https://api.example.com", live_server_url)
    names = {}
    exec(compile(source, f"{PAGE.name}: {library}", "exec"), names)
    assert [book["title"] for book in names["books"]] == ["Dune"]


@pytest.fixture
def live_server_url(cluster):
    """A server of this process; pytest-django's own would empty and fill the databases."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler, connections_override={})
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    assert thread.error is None
    yield f"http://127.0.0.1:{thread.port}"
    thread.terminate()
