"""Keeping a context in force while a streamed response is consumed, long after the view has returned."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager

from django.http.response import HttpResponseBase, StreamingHttpResponse

Enter = Callable[[], AbstractContextManager[object]]
"""Makes the context anew for each step."""


def keep(response: HttpResponseBase, enter: Enter) -> None:
    """Run each step of a streaming response's iterator inside ``enter()``; other responses are left alone.

    The context is entered for each step and left before the chunk is handed over, so that it never leaks to
    the server that consumes the iterator, in whatever thread or task it does.
    """
    if not isinstance(response, StreamingHttpResponse):
        return
    if getattr(response, "file_to_stream", None) is not None:
        return  # A file asks no database, and the server may have a faster way to send it.
    chunks = response.streaming_content
    if isinstance(chunks, AsyncIterator):
        response.streaming_content = _asynchronously(chunks, enter)
    else:
        response.streaming_content = _synchronously(chunks, enter)


def _synchronously(chunks: Iterator[bytes], enter: Enter) -> Iterator[bytes]:
    while True:
        with enter():
            try:
                chunk = next(chunks)
            except StopIteration:
                return
        yield chunk


async def _asynchronously(chunks: AsyncIterator[bytes], enter: Enter) -> AsyncIterator[bytes]:
    while True:
        with enter():
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
        yield chunk
