"""Serves requests to a contestant's site, and says what they took.

Reads lines of JSON: a method of ``Site`` and its arguments. Answers each with a line of JSON.
"""

from __future__ import annotations

import asyncio
import http.cookies
import io
import json
import sys
import time
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any
from unittest import mock

from benchmarks.workers.fill import SESSION
from benchmarks.workers.scenes import set_up

CALLS = frozenset({"call", "c_call"})
"""Events of ``sys.setprofile()``: functions written in Python, and in C."""
COMPREHENSIONS = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>"})
"""Calls in some versions of Python alone."""


class Site:
    """One contestant's site, in this process, and one client of it."""

    def __init__(self) -> None:
        from django.core.handlers.asgi import ASGIHandler
        from django.core.handlers.wsgi import WSGIHandler

        self._wsgi = WSGIHandler()
        self._asgi = ASGIHandler()
        self._cookies: dict[str, str] = {}

    def become(self, *, logged_in: bool, wrote_seconds_ago: float | None) -> None:
        """Take the cookies of a client that is logged in, or has written, or neither."""
        self._cookies = {"sessionid": SESSION} if logged_in else {}
        if wrote_seconds_ago is not None:
            now = time.time
            with mock.patch("time.time", side_effect=lambda: now() - wrote_seconds_ago):
                self._request("POST", "/write/")

    def seconds(self, method: str, path: str, requests: int) -> float:
        """Return the seconds of each of so many requests."""
        if method == "ASYNC":
            return asyncio.run(self._seconds_of_async(path, requests))
        environments = [self._environment(method, path) for _ in range(requests)]
        started = time.perf_counter()
        for environment in environments:
            self._serve(environment)
        return (time.perf_counter() - started) / requests

    def calls(self, method: str, path: str) -> int:
        """Return the calls of functions that a request makes: the least of a few."""
        if method == "ASYNC":
            return asyncio.run(self._calls_of_async(path))
        # Django looks after each open connection with each request: let every replica have been drawn.
        for _ in range(20):
            self._serve(self._environment(method, path))
        return min(_count(lambda: self._serve(self._environment(method, path))) for _ in range(5))

    def profile(self, method: str, path: str) -> dict[str, int]:
        """Return the calls of a request by function, with those that it makes of functions in C."""
        calls: dict[str, int] = {}

        def note(frame: FrameType, event: str, _argument: object) -> None:
            if event in CALLS:
                name = _name(frame.f_code)
                calls[name] = calls.get(name, 0) + 1

        self._serve(self._environment(method, path))
        environment = self._environment(method, path)
        sys.setprofile(note)
        try:
            self._serve(environment)
        finally:
            sys.setprofile(None)
        return calls

    def _environment(self, method: str, path: str) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self._cookies.items()),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
        }

    def _request(self, method: str, path: str) -> None:
        """Make a request, and keep the cookies that come back."""
        for name, value in self._serve(self._environment(method, path)):
            if name == "Set-Cookie":
                for key, morsel in http.cookies.SimpleCookie(value).items():
                    self._cookies[key] = morsel.value

    def _serve(self, environment: dict[str, Any]) -> list[tuple[str, str]]:
        answered: list[tuple[str, list[tuple[str, str]]]] = []
        response = self._wsgi(environment, lambda status, headers: answered.append((status, headers)))
        b"".join(response)
        response.close()
        [(status, headers)] = answered
        if not status.startswith("200"):
            raise RuntimeError(f"{environment['PATH_INFO']}: {status}")
        return headers

    async def _seconds_of_async(self, path: str, requests: int) -> float:
        await self._serve_async(path)
        started = time.perf_counter()
        for _ in range(requests):
            await self._serve_async(path)
        return (time.perf_counter() - started) / requests

    async def _calls_of_async(self, path: str) -> int:
        """Count on the event loop's thread, and between the signals of the request, which use another."""
        from django.core.handlers.asgi import ASGIRequest

        scope = self._asgi_scope(path)
        counts = []
        for _ in range(6):
            request = ASGIRequest(scope, io.BytesIO())
            with _Counter() as counter:
                response = await self._asgi.get_response_async(request)
            response.close()
            counts.append(counter.calls)
        return min(counts)

    async def _serve_async(self, path: str) -> None:
        statuses: list[int] = []
        body = [{"type": "http.request", "body": b""}]

        async def receive() -> dict[str, Any]:
            if not body:
                await asyncio.Event().wait()  # The client stays.
            return body.pop()

        async def send(message: Mapping[str, Any]) -> None:
            statuses.append(message.get("status", 200))

        await self._asgi(self._asgi_scope(path), receive, send)
        if set(statuses) != {200}:
            raise RuntimeError(f"{path}: {statuses}")

    @staticmethod
    def _asgi_scope(path: str) -> dict[str, Any]:
        return {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}


class _Counter:
    """Counts the calls that this thread makes inside."""

    def __enter__(self) -> _Counter:
        self.calls = 0
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.setprofile(None)
        self.calls -= 2  # This one, and setprofile().

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event in CALLS and (event == "c_call" or frame.f_code.co_name not in COMPREHENSIONS):
            self.calls += 1


def _count(serve: Callable[[], object]) -> int:
    with _Counter() as counter:
        serve()
    return counter.calls


def _name(code: CodeType) -> str:
    return f"{'/'.join(code.co_filename.split('/')[-3:])}:{code.co_firstlineno} {code.co_name}"


def main() -> None:
    """Do what each line asks for."""
    set_up()
    from django.db import connections

    if connections["default"].vendor == "sqlite":
        from benchmarks import fixed_positions

        fixed_positions.register()
    site = Site()
    for line in sys.stdin:
        method, arguments = json.loads(line)
        print(json.dumps(getattr(site, method)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
