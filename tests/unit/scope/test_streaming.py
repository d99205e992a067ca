"""What is in force while a body is consumed: what was in force for its view, and at no other time."""

import asyncio
import io

import pytest
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from django_rwrouter import routing_scope, use_primary, use_replica
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.scope import context
from django_rwrouter.scope.context import current_block, current_scope

REQUEST = RequestFactory().get("/")


def in_force():
    block = current_block("default")
    return f"{'none' if block is None else block.kind.value} {current_scope() is not None}"


NOTHING = "none False"

# How a response is made whose body is kept in a context, and what is in force in that body.
KEPT = {
    "by a request": (lambda view: ReadWriteMiddleware(view)(REQUEST), "none True"),
    "by a decorator": (lambda view: use_replica()(view)(REQUEST), "use_replica False"),
    "by a scope": (lambda view: routing_scope()(view)(REQUEST), "none True"),
    "by both": (
        lambda view: ReadWriteMiddleware(use_replica()(view))(REQUEST),
        "use_replica True",
    ),
    "by two decorators": (
        lambda view: use_replica()(routing_scope()(view))(REQUEST),
        "use_replica True",
    ),
}
kept = pytest.mark.parametrize(("serve", "expected"), KEPT.values(), ids=KEPT)


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    left = in_force()
    context._in_force.set(context.NOTHING)  # so that one failure is one failure
    assert left == NOTHING


def stream(body):
    return lambda _request: StreamingHttpResponse(body)


def three_times():
    for _chunk in range(3):
        yield in_force()


async def three_times_async():
    for _chunk in range(3):
        yield in_force()
        await asyncio.sleep(0)


def read(response):
    """Read as a server does; return the chunks, and what was in force between them."""
    between = []
    chunks = []
    for chunk in response:
        between.append(in_force())
        chunks.append(chunk.decode())
    return chunks, between


def aread(response):
    async def main():
        between = []
        chunks = []
        async for chunk in response:
            between.append(in_force())
            chunks.append(chunk.decode())
        assert in_force() == NOTHING
        return chunks, between

    return asyncio.run(main())


# --- when it is in force ---------------------------------------------------------------------------


@kept
def test_it_is_in_force_while_a_chunk_is_made_and_not_when_it_is_handed_over(serve, expected):
    assert read(serve(stream(three_times()))) == ([expected] * 3, [NOTHING] * 3)


@kept
def test_an_async_body(serve, expected):
    assert aread(serve(stream(three_times_async()))) == ([expected] * 3, [NOTHING] * 3)


@kept
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_sync_body_on_an_event_loop_and_an_async_one_without(serve, expected):
    assert aread(serve(stream(three_times())))[0] == [expected] * 3
    assert read(serve(stream(three_times_async())))[0] == [expected] * 3


@kept
def test_an_error_in_the_body_passes_and_leaves_nothing_behind(serve, expected):
    def body():
        yield in_force()
        raise ZeroDivisionError

    async def async_body():
        yield in_force()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read(serve(stream(body())))
    assert in_force() == NOTHING
    with pytest.raises(ZeroDivisionError):
        aread(serve(stream(async_body())))


@kept
def test_a_body_that_is_not_read_to_its_end_is_closed(serve, expected):
    closed = []

    def body():
        try:
            yield in_force()
            yield "never"
        finally:
            closed.append(True)

    response = serve(stream(body()))
    assert next(iter(response)).decode() == expected
    response.close()
    assert closed == [True]


@kept
def test_a_reader_that_is_cancelled_leaves_nothing_behind(serve, expected):
    waiting = []

    async def body():
        waiting.append(in_force())
        await asyncio.sleep(60)
        yield "never"

    async def reader(response):
        try:
            async for _chunk in response:
                pass
        finally:
            waiting.append(in_force())

    async def main():
        task = asyncio.ensure_future(reader(serve(stream(body()))))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert waiting == [expected, NOTHING]


# --- blocks inside the body ------------------------------------------------------------------------
# Decorating a generator function is refused; a block inside it is what the message recommends.


def in_a_block(make=use_primary):
    with make():
        yield from three_times()


async def in_a_block_async():
    with use_primary():
        async for chunk in three_times_async():
            yield chunk


def inside(expected):
    return f"use_primary {expected.partition(' ')[2]}"


@kept
def test_a_block_inside_a_body_holds_from_chunk_to_chunk_and_does_not_leak_to_the_server(serve, expected):
    assert read(serve(stream(in_a_block()))) == ([inside(expected)] * 3, [NOTHING] * 3)


@kept
def test_a_block_inside_an_async_body_holds_and_does_not_leak(serve, expected):
    assert aread(serve(stream(in_a_block_async()))) == ([inside(expected)] * 3, [NOTHING] * 3)


@kept
def test_two_bodies_read_in_turns_do_not_disturb_each_other(serve, expected):
    one, other = (serve(stream(in_a_block(make))) for make in (use_primary, use_replica))
    chunks = [b" ".join(pair).decode() for pair in zip(one, other, strict=True)]
    scope = expected.partition(" ")[2]
    assert chunks == [f"use_primary {scope} use_replica {scope}"] * 3


@kept
def test_a_body_with_a_block_that_is_given_up_leaves_nothing_behind(serve, expected):
    response = serve(stream(in_a_block()))
    next(iter(response))
    assert in_force() == NOTHING
    response.close()


# --- what is left alone ------------------------------------------------------------------------------


@kept
def test_other_responses_are_left_alone(serve, expected):
    response = serve(lambda _request: HttpResponse(in_force()))
    assert response.content.decode() == expected


@kept
def test_a_file_is_left_to_the_server(serve, expected):
    class Watched(io.BytesIO):
        def read(self, *args):
            assert in_force() == NOTHING
            return super().read(*args)

    file = Watched(b"x" * 10)
    response = serve(lambda _request: FileResponse(file))
    assert response.file_to_stream is file
    assert b"".join(response) == b"x" * 10
    response.close()
