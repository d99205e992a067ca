"""Clients, and the servers that bring their requests to Django's handlers."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings

from proofs.walk.oracle import Needs

HEADER = "X-Read-Your-Writes"


@dataclass
class Answer:
    """What a client is sent."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)

    def set_cookies(self) -> SimpleCookie:
        """Return the cookies that the response sets or deletes."""
        cookies: SimpleCookie = SimpleCookie()
        for name, value in self.headers:
            if name.lower() == "set-cookie":
                cookies.load(value)
        return cookies

    def header(self, name: str) -> str:
        """Return one header, or nothing."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass
class Client:
    """A browser, or a program that keeps no cookies and sends its key and the package's header."""

    number: int
    is_browser: bool
    cookies: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Values, and when they expire."""
    token: str = ""
    """Of the header."""
    authorization: str = ""
    needs: Needs = field(default_factory=dict)
    """What it carries itself."""
    seen: Needs = field(default_factory=dict)
    """What its requests have shown."""
    answers: int = 0
    wrote: bool = False

    def request_headers(self, now: float) -> dict[str, str]:
        """Return what it sends."""
        headers = {}
        kept = {name: value for name, (value, expires) in self.cookies.items() if now < expires}
        if kept and self.is_browser:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in kept.items())
        if self.token and not self.is_browser:
            headers[HEADER] = self.token
        if self.authorization:
            headers["Authorization"] = self.authorization
        return headers

    def take(self, answer: Answer, now: float) -> None:
        """Keep what a response gives it to keep."""
        for name, morsel in answer.set_cookies().items():
            if not morsel.value or morsel["max-age"] == 0 or morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                age = float(morsel["max-age"]) if morsel["max-age"] else float("inf")
                self.cookies[name] = morsel.value, now + age
        self.token = answer.header(HEADER) or self.token

    def session(self, now: float) -> str:
        """Return the cookie of its session."""
        value, expires = self.cookies.get(settings.SESSION_COOKIE_NAME, ("", 0.0))
        return value if self.is_browser and now < expires else ""


def serve_wsgi(handler: Any, method: str, path: str, headers: dict[str, str], chunks: int) -> Answer:
    """Have a request answered as a WSGI server does; the client leaves after so many chunks."""
    answer = Answer()

    def start_response(status: str, sent: list[tuple[str, str]], _error: object = None) -> None:
        answer.status, answer.headers = int(status.split(maxsplit=1)[0]), sent

    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "walk",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.url_scheme": "http",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }
    response = handler(environ, start_response)
    try:
        for number, _chunk in enumerate(response, 1):
            if number >= chunks:
                break
    finally:
        response.close()
    return answer


async def serve_asgi(handler: Any, method: str, path: str, headers: dict[str, str], chunks: int) -> Answer:
    """Have a request answered as an ASGI server does; the client disconnects after so many chunks."""
    answer = Answer()
    left = asyncio.Event()
    asked = False
    count = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal count
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(name.decode(), value.decode()) for name, value in message["headers"]]
        elif message.get("more_body"):
            count += 1
            if count >= chunks:
                left.set()
                await asyncio.sleep(0)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    await handler(scope, receive, send)
    left.set()
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:  # They end generators that were left.
        await asyncio.wait(others)
    return answer
