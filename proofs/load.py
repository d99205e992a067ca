"""A steady load of users, each request of which is kept: for what happens while a server fails."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from proofs.client import Answer, Browser

WRITE_SHARE = 0.1
"""How many of a writing user's requests are writes."""
RECONNECT_SHARE = 0.1
"""Before how many requests a user connects anew, and so may meet another process."""
REASON = re.compile(r"(\w+) read=\d+ \(([^)]*)\)")
"""A database in the header X-Served-By, and why it was read from."""
EXCUSED = frozenset({"degraded"})
"""Reasons with which a read may be stale under any level: documented, counted and logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What became of one request."""

    at: float
    """When it was sent: monotonic seconds."""
    seconds: float
    level: str
    writer: bool
    """Whether its user ever writes: others are bound to nothing, and need no primary."""
    excusable: bool
    """Whether its user puts up with stale reads at the level ``eventual``."""
    method: str
    status: int
    """0 where no answer came."""
    served_by: str
    process: str
    stale: bool
    """Whether it missed what its user had written, or what everybody has."""
    error: str

    @property
    def failed(self) -> bool:
        """Whether its user met an error."""
        return bool(self.error)

    @property
    def reads(self) -> list[tuple[str, list[str]]]:
        """The databases that it was read from, with the router's reasons."""
        return [(alias, reasons.split(", ")) for alias, reasons in REASON.findall(self.served_by)]

    @property
    def excused(self) -> bool:
        """Whether it may be stale."""
        if self.level == "eventual":
            return self.excusable
        return any(EXCUSED.intersection(reasons) for _, reasons in self.reads)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a user does."""

    level: str
    writes: bool = False
    sleep: float = 0.0
    """Seconds that the database takes for each of the user's reads."""
    using: str = ""
    """The database that is named for each of them, so that no other can take its place."""
    excusable: bool = True
    """Whether stale reads are none of the user's concern at the level ``eventual``."""


READERS_AND_WRITERS = (
    Role(level="window", writes=True),
    Role(level="causal", writes=True),
    Role(level="window"),
    Role(level="eventual"),
)
"""Users take turns in these."""


@dataclass(slots=True, kw_only=True)
class SteadyLoad:
    """Users who send requests at a steady rate inside the block, all together ``rate`` a second.

    Fewer if the site is slower: a user sends nothing while waiting for an answer. ``prefix`` is that
    of the API, ``thread`` one of the board's, and ``post`` one that every database has.
    """

    host: str
    port: int
    thread: int
    post: int
    prefix: str = "/api"
    users: int = 24
    rate: float = 150.0
    roles: Sequence[Role] = READERS_AND_WRITERS
    requests: list[Request] = field(default_factory=list)
    """All that were answered, or failed, so far. Users append to it at any time."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> SteadyLoad:
        for number, role in zip(range(self.users), itertools.cycle(self.roles), strict=False):
            user = _User(self, number, role)
            self._threads.append(threading.Thread(target=user.run, name=f"user-{number}", daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def stopped(self) -> threading.Event:
        """Set when users are to go home."""
        return self._stop

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


class _User:
    """One user: reads, and writes and reads back."""

    def __init__(self, load: SteadyLoad, number: int, role: Role) -> None:
        self._load = load
        self._role = role
        self._name = f"user {number}"
        self._random = random.Random(number)
        self._browser = Browser(load.host, load.port)
        self._newest: int | None = None
        """The last post that this user was told to have written."""
        self._read_back = False
        query = f"level={role.level}" + (f"&sleep={role.sleep}" if role.sleep else "")
        query += f"&using={role.using}" if role.using else ""
        self._paths = {
            "common": f"{load.prefix}/posts/{load.post}/?{query}",
            "latest": f"{load.prefix}/latest/?{query}&author={self._name.replace(' ', '+')}",
            "own": f"{load.prefix}/posts/%d/?{query}",
        }

    def run(self) -> None:
        """Send requests until the load ends."""
        period = self._load.users / self._load.rate
        due = time.monotonic() + self._random.uniform(0, period)
        try:
            while not self._load.stopped.wait(max(0.0, due - time.monotonic())):
                self._one_request()
                # One that was late does not hurry to make up for it.
                due = max(due + period, time.monotonic())
        finally:
            self._browser.close()

    def _one_request(self) -> None:
        if self._random.random() < RECONNECT_SHARE:
            self._browser.close()
        if self._role.writes and not self._read_back and self._random.random() < WRITE_SHARE:
            self._write()
        elif self._newest is None or (not self._read_back and self._random.random() < 0.5):
            self._send("GET", self._paths["common"], lambda answer: answer.status == 404)
        elif self._read_back or self._random.random() < 0.5:
            self._read_back = False
            self._send("GET", self._paths["own"] % self._newest, lambda answer: answer.status == 404)
        else:
            self._send("GET", self._paths["latest"], self._lacks_the_newest)

    def _write(self) -> None:
        data = {"thread": self._load.thread, "author": self._name, "text": "Here it is."}
        answer = self._send("POST", f"{self._load.prefix}/posts/", lambda _answer: False, data)
        if answer is not None and answer.status == 201:
            self._newest = int(json.loads(answer.body)["id"])
            self._read_back = True

    def _lacks_the_newest(self, answer: Answer) -> bool:
        if answer.status == 200:
            # What failed may have been written all the same.
            return self._newest is not None and int(json.loads(answer.body)["id"]) < self._newest
        return answer.status == 404

    def _send(
        self, method: str, path: str, is_stale: Callable[[Answer], bool], data: dict[str, Any] | None = None
    ) -> Answer | None:
        at = time.monotonic()
        try:
            answer = self._browser.get(path) if data is None else self._browser.post(path, data)
        except (OSError, http.client.HTTPException) as error:
            seconds = time.monotonic() - at
            self._keep(at, seconds, method, Answer(0, b"", ""), stale=False, error=repr(error))
            return None
        seconds = time.monotonic() - at
        fine = answer.status in {200, 201, 404}
        wrong = "" if fine else f"{answer.status}: {answer.body[:200]!r}"
        self._keep(at, seconds, method, answer, stale=fine and is_stale(answer), error=wrong)
        return answer

    def _keep(
        self, at: float, seconds: float, method: str, answer: Answer, *, stale: bool, error: str
    ) -> None:
        self._load.requests.append(
            Request(
                at=at,
                seconds=seconds,
                level=self._role.level,
                writer=self._role.writes,
                excusable=self._role.excusable,
                method=method,
                status=answer.status,
                served_by=answer.served_by,
                process=answer.process,
                stale=stale,
                error=error,
            )
        )
