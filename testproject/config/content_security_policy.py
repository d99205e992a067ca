"""A strict Content-Security-Policy on every response.

Django has a middleware for it from 6.0 on; the board also runs on 5.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

View = Callable[[HttpRequest], HttpResponseBase]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def content_security_policy(get_response: View | AsyncView) -> View | AsyncView:
    """Allow what this site serves itself, and nothing inline."""
    if iscoroutinefunction(get_response):

        async def async_middleware(request: HttpRequest) -> HttpResponseBase:
            response = await cast("AsyncView", get_response)(request)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        return async_middleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = cast("View", get_response)(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return middleware
