"""Keeps a context in force while a streamed response is consumed, long after the view has returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

from asgiref.sync import sync_to_async
from django.http.response import HttpResponseBase, StreamingHttpResponse

from django_rwrouter.scope.context import Paused


def keep(response: HttpResponseBase, *, at_end: Callable[[], object] | None = None) -> None:
    """Run each step of a streaming response's iterator with what is in force now; others are left alone.

    It is left before a chunk is handed over, so that it never leaks to the server that consumes the iterator,
    in whatever thread or task it does. ``at_end`` is called once, in the same way, when the body has ended or
    was given up; it may wait for a server.
    """
    if not isinstance(response, StreamingHttpResponse):
        return
    if getattr(response, "file_to_stream", None) is not None:
        return  # A file asks no database, and the server may have a faster way to send it.
    paused = Paused()
    chunks = response.streaming_content
    if isinstance(chunks, AsyncIterator):
        response.streaming_content = _asynchronously(chunks, paused, at_end)
    else:
        response.streaming_content = _synchronously(chunks, paused, at_end)


def _synchronously(
    chunks: Iterator[bytes], paused: Paused, at_end: Callable[[], object] | None
) -> Iterator[bytes]:
    try:
        while True:
            with paused.resumed():
                try:
                    chunk = next(chunks)
                except StopIteration:
                    return
            yield chunk
    finally:
        paused.end()
        if at_end is not None:
            with paused.resumed():
                at_end()


async def _asynchronously(
    chunks: AsyncIterator[bytes], paused: Paused, at_end: Callable[[], object] | None
) -> AsyncIterator[bytes]:
    try:
        while True:
            with paused.resumed():
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield chunk
    finally:
        paused.end()
        if at_end is not None:
            with paused.resumed():
                await sync_to_async(at_end)()
