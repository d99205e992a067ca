"""Users of the site: each writes an item of its own now and then, and reads items, over HTTP.

The pace is given for all users together, so that more users mean more patient ones, not more load. After a
write its user reads the item back at once; other reads are of the user's own item or of somebody else's,
evenly.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from proofs.client import Answer, Browser
from proofs.oracle import Read, Write

JOIN_SECONDS = 90


@dataclass(slots=True)
class Seen:
    """What users saw, one's or all of them together."""

    reads: list[Read] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    stale_own: int = 0
    """Reads that missed what their own user had written."""
    stale_others: int = 0
    """Reads that missed what another user had been told was written."""
    own_reads: int = 0
    databases: Counter[str] = field(default_factory=Counter)
    """Who answered the reads."""
    read_seconds: list[float] = field(default_factory=list)
    write_seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, other: Seen) -> None:
        """Add another user's."""
        self.reads += other.reads
        self.writes += other.writes
        self.stale_own += other.stale_own
        self.stale_others += other.stale_others
        self.own_reads += other.own_reads
        self.databases += other.databases
        self.read_seconds += other.read_seconds
        self.write_seconds += other.write_seconds
        self.errors += other.errors

    @property
    def requests(self) -> int:
        """How many were answered."""
        return len(self.read_seconds) + len(self.write_seconds)


class Load:
    """So many users, for so long."""

    def __init__(
        self, host: str, port: int, *, users: int, rate: float, writes: float, seconds: float, seed: int = 0
    ) -> None:
        self._address = host, port
        self._users = users
        self._pause = users / rate
        self._writes = writes
        self._seconds = seconds
        self._seed = seed
        self._versions: dict[int, int] = {}
        """By item, the version that was last acknowledged."""

    def run(self) -> Seen:
        """Let them work; returns what all of them saw."""
        # Higher than those of any run before, so that what is left of that is seen to be stale.
        first_version = time.time_ns() // 1000
        tallies = [Seen() for _ in range(self._users)]
        self._versions = dict.fromkeys(range(1, self._users + 1), 0)
        end = time.monotonic() + self._seconds
        threads = [
            threading.Thread(target=self._live, args=(number, first_version, end, tally), daemon=True)
            for number, tally in enumerate(tallies, start=1)
        ]
        for thread in threads:
            thread.start()
        total, deadline = Seen(), end + JOIN_SECONDS
        for thread, tally in zip(threads, tallies, strict=True):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                tally.errors["a user who never got an answer"] += 1
            total.add(tally)
        return total

    def _live(self, number: int, version: int, end: float, seen: Seen) -> None:
        draw = random.Random(self._seed * 1000 + number)
        browser = Browser(*self._address)
        try:
            due = time.monotonic() + draw.uniform(0, self._pause)
            while due < end:
                time.sleep(max(0.0, due - time.monotonic()))
                try:
                    if draw.random() < self._writes:
                        version += 1
                        self._write(browser, number, version, seen)
                        self._read(browser, number, number, seen)
                    else:
                        other = draw.randint(1, self._users)
                        self._read(browser, number, draw.choice([number, other]), seen)
                except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                    seen.errors[type(error).__name__] += 1
                # A slow site is not asked to catch up.
                due = max(due, time.monotonic() - self._pause) + draw.expovariate(1 / self._pause)
        finally:
            browser.close()

    def _write(self, browser: Browser, number: int, version: int, seen: Seen) -> None:
        sent = time.monotonic()
        answer = browser.post(f"/items/{number}/?version={version}", {})
        answered = time.monotonic()
        if answer.status != 303:
            seen.errors[f"POST {answer.status}"] += 1
            return
        seen.write_seconds.append(answered - sent)
        seen.writes.append(Write(number, answered, int(answer.body.rsplit(b"-", 1)[-1])))
        self._versions[number] = version

    def _read(self, browser: Browser, number: int, item: int, seen: Seen) -> None:
        expected = self._versions[item]
        sent = time.monotonic()
        answer: Answer = browser.get(f"/items/{item}/")
        answered = time.monotonic()
        if answer.status != 200:
            seen.errors[f"GET {answer.status}"] += 1
            return
        found = json.loads(answer.body)
        seen.read_seconds.append(answered - sent)
        seen.reads.append(Read(number, sent, answered))
        seen.databases[found["database"]] += 1
        seen.own_reads += item == number
        if found["version"] < expected:
            if item == number:
                seen.stale_own += 1
            else:
                seen.stale_others += 1


def together(parts: Sequence[Seen]) -> Seen:
    """Return several runs as one."""
    total = Seen()
    for part in parts:
        total.add(part)
    return total
