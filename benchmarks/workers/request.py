"""Times one contestant's requests through Django's handlers, by pyperf: ``BENCH_SCENE`` names the kind.

``get``: a bare view through ``WSGIHandler``. ``post``: a view that writes one row. ``aget``: a bare async
view through ``ASGIHandler``'s middleware, on one event loop.
"""

from __future__ import annotations

import asyncio
import io
import os
import time

import pyperf

from benchmarks.workers.scenes import set_up


def time_requests(loops: int) -> float:
    """Return the seconds that so many requests took."""
    set_up()
    kind = os.environ["BENCH_SCENE"]
    return asyncio.run(_time_async(loops)) if kind == "aget" else _time_sync(loops, kind)


def _time_sync(loops: int, kind: str) -> float:
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import RequestFactory

    handler = WSGIHandler()
    path, method = ("/write/", "POST") if kind == "post" else ("/", "GET")
    environ = RequestFactory().generic(method, path).environ

    def start_response(status: str, headers: object) -> None:
        if not status.startswith("200"):
            raise RuntimeError(status)

    started = time.perf_counter()
    for _ in range(loops):
        response = handler({**environ, "wsgi.input": io.BytesIO()}, start_response)
        response.close()
    return time.perf_counter() - started


async def _time_async(loops: int) -> float:
    from django.core.handlers.asgi import ASGIHandler, ASGIRequest

    handler = ASGIHandler()
    scope = {"type": "http", "method": "GET", "path": "/async/", "query_string": b"", "headers": []}
    started = time.perf_counter()
    for _ in range(loops):
        response = await handler.get_response_async(ASGIRequest(scope, io.BytesIO()))
        response.close()
    return time.perf_counter() - started


if __name__ == "__main__":
    pyperf.Runner().bench_time_func(os.environ["BENCH_NAME"], time_requests)
