"""For load tests: each answer names the process that gave it, and the seconds that it took, in headers."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

PROCESS_HEADER = "X-Process"
SECONDS_HEADER = "X-Seconds"

View = Callable[[HttpRequest], HttpResponseBase]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def describe_answers(get_response: View | AsyncView) -> View | AsyncView:
    """Add the headers, also to errors."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            began = time.perf_counter()
            return _described(await cast("AsyncView", get_response)(request), began)

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        return _described(cast("View", get_response)(request), began)

    return middleware


def _described(response: HttpResponseBase, began: float) -> HttpResponseBase:
    response.headers[PROCESS_HEADER] = str(os.getpid())
    response.headers[SECONDS_HEADER] = f"{time.perf_counter() - began:.4f}"
    return response
