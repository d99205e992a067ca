"""Users of a load test: each writes a post, and at once reads it back, over HTTP."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

TIMEOUT_SECONDS = 60
ERRORS_KEPT = 20


@dataclass(slots=True)
class Tally:
    """What users saw. Each has one of its own, and they are added up at the end."""

    pairs: int = 0
    """Posts written and asked for again."""
    stale: int = 0
    """How many of them their writer was told not to exist."""
    error_count: int = 0
    errors: list[str] = field(default_factory=list)
    """The first errors, in words."""
    reads_by_alias: Counter[str] = field(default_factory=Counter)
    """Which database answered when posts were read back."""
    served_by: Counter[str] = field(default_factory=Counter)
    """The same with the router's reasons, as the header ``X-Served-By`` says it."""
    slowest_pair: float = 0.0
    """The longest time from the answer to a write to the answer to its read, in seconds."""

    def add(self, other: Tally) -> None:
        """Add another user's."""
        self.pairs += other.pairs
        self.stale += other.stale
        self.error_count += other.error_count
        self.errors = (self.errors + other.errors)[:ERRORS_KEPT]
        self.reads_by_alias += other.reads_by_alias
        self.served_by += other.served_by
        self.slowest_pair = max(self.slowest_pair, other.slowest_pair)

    def note_error(self, what: str) -> None:
        """Count an error, and keep its words if there are few so far."""
        self.error_count += 1
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(what)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read to its end."""

    status: int
    body: bytes
    served_by: str
    """The header ``X-Served-By``."""
    process: str = ""
    """The header ``X-Process``: the id of the process that answered."""


class Browser:
    """One user's cookies, and two connections that are kept alive.

    One is for writing and one for reading, so that most users are served by different processes of
    the web server for the two: what the user wrote has to travel in the cookies.
    """

    def __init__(self, host: str, port: int) -> None:
        self._connections = {
            method: http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
            for method in ("GET", "POST")
        }
        self._cookies: dict[str, tuple[str, float]] = {}

    def get(self, path: str) -> Answer:
        """Send a GET request."""
        return self._request("GET", path, None)

    def post(self, path: str, data: dict[str, Any]) -> Answer:
        """Send a POST request with JSON."""
        return self._request("POST", path, json.dumps(data).encode())

    def close(self) -> None:
        """Close both connections."""
        for connection in self._connections.values():
            connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        now = time.monotonic()
        cookies = [f"{name}={value}" for name, (value, end) in self._cookies.items() if end > now]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        connection = self._connections[method]
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # The next request opens it again.
            raise
        self._keep_cookies(response)
        served_by, process = (response.getheader(name, "") for name in ("X-Served-By", "X-Process"))
        return Answer(response.status, content, served_by, process)

    def _keep_cookies(self, response: http.client.HTTPResponse) -> None:
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                max_age = morsel["max-age"]
                seconds = float(max_age) if max_age != "" else float("inf")
                self._cookies[name] = (morsel.coded_value, time.monotonic() + seconds)


def drive(
    host: str,
    port: int,
    *,
    users: int,
    pairs: int,
    thread: int,
    another_reads: bool = False,
    prefix: str = "/api",
) -> Tally:
    """Let ``users`` users at once write and read back ``pairs`` posts in all, in a board's thread.

    ``prefix`` is that of the API. With ``another_reads``, each post is read by somebody else than its writer,
    who has written nothing and is told nothing but its number. Returns what they saw, added up.
    """
    tallies = [Tally() for _ in range(users)]
    shares = [pairs // users + (number < pairs % users) for number in range(users)]
    workers = [
        threading.Thread(
            target=_write_and_read_back,
            args=(host, port, f"user {number}", share, thread, tally, another_reads, prefix),
            name=f"user-{number}",
            daemon=True,
        )
        for number, (share, tally) in enumerate(zip(shares, tallies, strict=True))
    ]
    for worker in workers:
        worker.start()
    total = Tally()
    for worker, tally in zip(workers, tallies, strict=True):
        worker.join()
        total.add(tally)
    return total


def _write_and_read_back(
    host: str,
    port: int,
    author: str,
    pairs: int,
    thread: int,
    tally: Tally,
    another_reads: bool,
    prefix: str,
) -> None:
    browser = Browser(host, port)
    reader = Browser(host, port) if another_reads else browser
    try:
        for number in range(pairs):
            try:
                _one_pair(browser, reader, f"{prefix}/posts/", author, f"post {number}", thread, tally)
            except (OSError, http.client.HTTPException, ValueError) as error:
                tally.note_error(f"{author}, post {number}: {error!r}")
    finally:
        browser.close()
        reader.close()


def _one_pair(
    browser: Browser, reader: Browser, posts: str, author: str, text: str, thread: int, tally: Tally
) -> None:
    written = browser.post(posts, {"thread": thread, "author": author, "text": text})
    if written.status != 201:
        tally.note_error(f"{author}: POST answered {written.status}: {written.body[:200]!r}")
        return
    pk = json.loads(written.body)["id"]
    started = time.monotonic()
    read = reader.get(f"{posts}{pk}/")
    tally.slowest_pair = max(tally.slowest_pair, time.monotonic() - started)
    tally.pairs += 1
    tally.reads_by_alias[read.served_by.partition(" ")[0]] += 1
    tally.served_by[read.served_by] += 1
    if read.status == 404:
        tally.stale += 1
    elif read.status != 200:
        tally.note_error(f"{author}: GET answered {read.status}: {read.body[:200]!r}")
    elif json.loads(read.body)["text"] != text:
        tally.note_error(f"{author}: post {pk} came back as {read.body[:200]!r}")
