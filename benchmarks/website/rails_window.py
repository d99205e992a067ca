"""The rule of Rails' ``DatabaseSelector``: after a write, a client reads from the primary for two seconds.

``ActiveRecord::Middleware::DatabaseSelector``, with its default ``delay`` and the time of the last write in
the client's own cookie: safe methods read from a replica unless the client wrote less than ``delay`` ago, all
others use the primary, and each of them counts as a write.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponse

from benchmarks.contestants import REPLICAS

DELAY_SECONDS = 2.0
COOKIE = "last_write"

_reads_primary: ContextVar[bool] = ContextVar("rails_window_reads_primary", default=True)


class WindowRouter:
    """Reads from where the middleware says."""

    def db_for_read(self, model: object, **hints: object) -> str:
        """Return the primary while the client's window is open, otherwise any replica."""
        return "default" if _reads_primary.get() else random.choice(REPLICAS)

    def db_for_write(self, model: object, **hints: object) -> str:
        """Return the primary."""
        return "default"


class WindowMiddleware:
    """Keeps the time of a client's last write."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle one request."""
        safe = request.method in ("GET", "HEAD")
        wrote_at = float(request.COOKIES.get(COOKIE, 0))
        _reads_primary.set(not safe or time.time() - wrote_at < DELAY_SECONDS)
        response = self.get_response(request)
        if not safe:
            response.set_cookie(COOKIE, repr(time.time()), samesite="Lax")
        return response
