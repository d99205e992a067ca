"""Bodies that are made while they are sent: they keep the scope of their request."""

import asyncio
import io
import logging

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.http import FileResponse, StreamingHttpResponse

from django_rwrouter import routing_scope, use_primary, use_replica
from tests.app.models import Book
from tests.sqlite.conftest import ask, events, reason


def write():
    Book.objects.create(title="new")


def body_of(response):
    """Read the whole body as a server does, and close the response."""

    async def read():
        return [chunk async for chunk in response]

    chunks = async_to_sync(read)() if response.is_async else list(response)
    response.close()
    return b" ".join(chunks).decode()


async def in_thread(function):
    return await sync_to_async(function)()


def sync_body(*steps):
    return (str(step()) for step in steps)


async def async_body(*steps):
    for step in steps:
        yield str(await in_thread(step))
        await asyncio.sleep(0)


@pytest.fixture
def stream(site):
    """Visit a page that streams these steps; return the response and what was in its body.

    The body is of the server's kind: Django collects one of the other kind before it sends it.
    """
    make = sync_body if site.mode == "wsgi" else async_body

    def visit(*steps, before=lambda: None, decorate=lambda view: view):
        def view(_request):
            before()
            return StreamingHttpResponse(make(*steps))

        response = site.get(decorate(view))
        return response, body_of(response)

    return visit


def test_a_body_is_read_from_replicas(stream):
    assert stream(reason, reason)[1] == "window window"


def test_what_the_view_wrote_its_body_sees(stream):
    assert stream(Book.objects.count, reason, before=write)[1] == "1 wrote_in_scope"


def test_a_pinned_clients_body_is_read_from_the_primary(stream, site):
    site.post(lambda _request: write())
    assert stream(reason)[1] == "pinned"


def test_the_whole_body_is_read_from_one_replica(stream):
    for _visit in range(4):
        _response, body = stream(*[lambda: ask().alias] * 6)
        assert len(set(body.split())) == 1


@pytest.mark.parametrize(
    ("decorate", "expected"),
    [(use_primary(), "use_primary"), (use_replica(), "use_replica"), (routing_scope(), "unsafe_method")],
    ids=["use_primary", "use_replica", "routing_scope"],
)
def test_a_decorated_views_body_keeps_its_block(stream, decorate, expected):
    assert stream(reason, reason, decorate=decorate)[1] == f"{expected} {expected}"


def test_what_a_body_wrote_it_sees(stream):
    assert stream(reason, write, reason)[1] == "window None wrote_in_scope"


@pytest.mark.parametrize("safe", [True, False])
def test_also_in_a_scope_of_the_views_own(stream, safe):
    _response, body = stream(write, Book.objects.count, decorate=routing_scope(safe=safe))
    assert body == "None 1"


# --- too late ------------------------------------------------------------------------------------------


def test_a_write_in_a_body_comes_too_late_for_the_token_and_is_logged_once(stream, site, caplog):
    with caplog.at_level(logging.WARNING, logger="django_rwrouter"):
        response, _body = stream(write, write)
    assert not response.cookies
    assert "too late" in caplog.text
    assert len(caplog.records) == 1
    assert caplog.records[0].cluster == "default"
    assert events()["late_write", "default"] == 1
    assert site.get(lambda _request: reason()).text == "window"


def test_also_one_in_a_scope_inside_the_body(stream, caplog):
    with caplog.at_level(logging.WARNING, logger="django_rwrouter"):
        stream(routing_scope()(write))
    assert "too late" in caplog.text


def test_a_write_before_the_body_is_in_time(stream, caplog):
    response, _body = stream(reason, before=write)
    assert "rwrouter" in response.cookies
    assert caplog.text == ""


# --- afterwards ------------------------------------------------------------------------------------------


def test_nothing_is_left_behind(stream):
    stream(reason)
    assert reason() == "outside_scope"


def test_neither_by_a_body_that_fails(site):
    def failing():
        yield reason()
        raise ZeroDivisionError

    async def async_failing():
        yield await in_thread(reason)
        raise ZeroDivisionError

    make = failing if site.mode == "wsgi" else async_failing
    response = site.get(lambda _request: StreamingHttpResponse(make()))
    with pytest.raises(ZeroDivisionError):
        body_of(response)
    assert reason() == "outside_scope"


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_neither_by_one_that_nobody_reads_to_its_end(site):
    response = site.get(lambda _request: StreamingHttpResponse(sync_body(reason, reason)))
    assert next(iter(response)) == b"window"
    assert reason() == "outside_scope"
    response.close()
    assert reason() == "outside_scope"


@pytest.mark.parametrize("site", ["wsgi"], indirect=True)
def test_two_streams_in_turns_on_one_thread(site):
    reading = site.get(lambda _request: StreamingHttpResponse(sync_body(reason, reason)))
    writing = site.get(lambda _request: (write(), StreamingHttpResponse(sync_body(reason, reason)))[1])
    assert [b" ".join(pair) for pair in zip(reading, writing, strict=True)] == [b"window wrote_in_scope"] * 2


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_file_is_sent_and_pins_if_its_view_wrote(site):
    """The test client consumes it; that a server may send it in its own way is tested without."""

    def view(_request):
        write()
        return FileResponse(io.BytesIO(b"content"))

    response = site.get(view)
    assert "rwrouter" in response.cookies
    assert body_of(response) == "content"
