"""The load generator: users in threads, and all of their requests with what became of them."""

from __future__ import annotations

import http.client
import itertools
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from proofs.background import in_background
from proofs.client import Answer, Browser

REASON = re.compile(r"(\w+) read=\d+ \(([^)]*)\)")
"""A database in the header X-Served-By, and why it was read from."""
EXCUSED = frozenset({"degraded"})
"""Reasons with which a read may be stale under any level: documented, counted and logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a user does."""

    level: str = ""
    """Named in each read; empty: the site's own."""
    writes: float = 0.0
    """The share of requests that write, where a user draws between reading and writing."""
    sleep: float = 0.0
    """Seconds that the database takes for each of the user's reads."""
    using: str = ""
    """The database that is named for each of them, so that no other can take its place."""
    excusable: bool = True
    """Whether stale reads are none of the user's concern at the level ``eventual``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What became of one request."""

    user: int
    role: Role
    at: float
    """When it was sent: monotonic seconds."""
    seconds: float
    method: str
    answer: Answer
    """With status 0 where none came."""
    own: bool
    """Whether it was about what its user writes."""
    stale: bool
    """Whether it missed what had been written before it was sent."""
    error: str
    """In words; empty if its user met none."""

    @property
    def failed(self) -> bool:
        """Whether its user met an error."""
        return bool(self.error)

    @property
    def reads(self) -> list[tuple[str, list[str]]]:
        """The databases that it was read from, with the router's reasons."""
        return [(alias, reasons.split(", ")) for alias, reasons in REASON.findall(self.answer.served_by)]

    @property
    def excused(self) -> bool:
        """Whether it may be stale."""
        if self.role.level == "eventual":
            return self.role.excusable
        return any(EXCUSED.intersection(reasons) for _, reasons in self.reads)


class User:
    """One user, with cookies and connections of its own. A subclass says what it does in its turn."""

    def __init__(self, load: Load, number: int, role: Role) -> None:
        self.load = load
        self.number = number
        self.role = role
        self.random = random.Random(load.seed * 1000 + number)
        self.browser = Browser(load.host, load.port)

    def turn(self) -> bool:
        """Send a request, or several that belong together. Returns ``False`` if it was the last turn."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what is open."""
        self.browser.close()

    def send(
        self,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        statuses: Collection[int],
        misses: Callable[[Answer], bool] | None = None,
        own: bool = True,
        browser: Browser | None = None,
    ) -> Request:
        """Send a POST with ``data``, otherwise a GET, and keep what became of it.

        An answer with another status than ``statuses`` is an error. ``misses`` tells whether an answer is
        stale; it raises ``ValueError`` for an answer that is wrong in another way.
        """
        browser = browser or self.browser
        answer, stale, error = Answer(0, b"", ""), False, ""
        at = time.monotonic()
        try:
            answer = browser.get(path) if data is None else browser.post(path, data)
        except (OSError, http.client.HTTPException) as failure:
            error = repr(failure)
        seconds = time.monotonic() - at
        if answer.status and answer.status not in statuses:
            error = f"{answer.status}: {answer.body[:200]!r}"
        if not error and misses is not None:
            try:
                stale = misses(answer)
            except ValueError as failure:
                error = repr(failure)
        request = Request(
            user=self.number,
            role=self.role,
            at=at,
            seconds=seconds,
            method="GET" if data is None else "POST",
            answer=answer,
            own=own,
            stale=stale,
            error=error,
        )
        self.load.requests.append(request)
        return request


@dataclass(slots=True, kw_only=True)
class Load:
    """Users who take their turns inside :meth:`running`, all together ``rate`` a second.

    Fewer if the site is slower: a user does nothing while waiting for an answer, and a slow site is not asked
    to catch up.
    """

    host: str
    port: int
    user: Callable[[Load, int, Role], User]
    """Makes a user from its number, counted from 0, and its role."""
    users: int
    roles: Sequence[Role] = (Role(),)
    """Users take turns in these."""
    rate: float = 0.0
    """0: each user begins a turn as soon as the last has ended."""
    irregular: bool = False
    """Whether pauses are drawn, so that requests come as from people who know nothing of each other."""
    seed: int = 0
    requests: list[Request] = field(default_factory=list)
    """All that were answered, or failed, so far. Users append to it at any time."""
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: Sequence[threading.Thread] = ()

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Let users work inside the block; at its end each finishes its turn."""
        roles = itertools.islice(itertools.cycle(self.roles), self.users)
        users = [self.user(self, number, role) for number, role in enumerate(roles)]
        lives = [lambda user=user: self._live(user) for user in users]
        with in_background(lives, self._stopped) as self._threads:
            yield self

    def finish(self) -> None:
        """Return when all users have had their last turn."""
        for thread in self._threads:
            thread.join()

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        """Return when something is so, or ``False`` after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while not until():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def wait_for(self, count: int, timeout: float = 600.0) -> bool:
        """Return when there were so many requests, or ``False`` after ``timeout`` seconds."""
        return self.wait(lambda: len(self.requests) >= count, timeout)

    def _live(self, user: User) -> None:
        period = self.users / self.rate if self.rate else 0.0
        due = time.monotonic() + user.random.uniform(0, period)
        try:
            while not self._stopped.wait(max(0.0, due - time.monotonic())) and user.turn():
                pause = user.random.expovariate(1 / period) if self.irregular else period
                due = max(due, time.monotonic() - period) + pause
        finally:
            user.close()
