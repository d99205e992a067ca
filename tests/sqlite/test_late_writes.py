"""A write while a streamed body is sent: too late for cookie, header and session, not for the cache."""

import asyncio

import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse, StreamingHttpResponse

from django_rwrouter.middleware import ReadWriteMiddleware
from tests.app.models import Book

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def read(_request):
    return HttpResponse(Book.objects.count())


async def aread(_request):
    return HttpResponse(await Book.objects.acount())


def stream(_request):
    def body():
        yield b"begin"
        Book.objects.create(title="late")

    return StreamingHttpResponse(body())


async def astream(_request):
    async def body():
        yield b"begin"
        await Book.objects.acreate(title="late")

    return StreamingHttpResponse(body())


def request(rf):
    made = rf.get("/")
    made.COOKIES[django_settings.SESSION_COOKIE_NAME] = "a-session-of-this-client"
    return made


STORES = pytest.mark.parametrize(("store", "seen"), [("cache", b"1"), ("cookie", b"0")])


@STORES
def test_the_next_request_sees_it_where_the_store_is_on_the_server(rf, settings, databases, store, seen):
    settings.RWROUTER = {**settings.RWROUTER, "STORE": store}
    list(ReadWriteMiddleware(stream)(request(rf)))
    assert ReadWriteMiddleware(read)(request(rf)).content == seen


@STORES
def test_the_same_on_an_event_loop(rf, settings, databases, store, seen):
    settings.RWROUTER = {**settings.RWROUTER, "STORE": store}

    async def both():
        async for _chunk in await ReadWriteMiddleware(astream)(request(rf)):
            pass
        return await ReadWriteMiddleware(aread)(request(rf))

    assert asyncio.run(both()).content == seen


def test_a_body_that_is_given_up_has_written_all_the_same(rf, settings, databases):
    settings.RWROUTER = {**settings.RWROUTER, "STORE": "cache"}

    def written_first(_request):
        def body():
            Book.objects.create(title="late")
            yield b"begin"
            yield b"never asked for"

        return StreamingHttpResponse(body())

    response = ReadWriteMiddleware(written_first)(request(rf))
    next(iter(response))
    response.close()
    assert ReadWriteMiddleware(read)(request(rf)).content == b"1"
