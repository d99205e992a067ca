"""Users of the site: each writes an item of its own now and then, and reads items.

The pace is given for all users together, so that more users mean more patient ones, not more load. After a
write its user reads the item back at once; other reads are of the user's own item or of somebody else's,
evenly.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from proofs.client import Answer
from proofs.load import Load, Request, Role, User
from proofs.oracle import Read, Write
from web_server import HOST


def items_load(port: int, *, users: int, rate: float, writes: float, seed: int) -> Load:
    """Return a load of users of whose requests this part writes."""
    return Load(
        host=HOST,
        port=port,
        # Higher than the versions of any run before, so that what is left of that is seen to be stale.
        user=partial(ItemUser, {}, time.time_ns() // 1000),
        users=users,
        roles=[Role(writes=writes)],
        rate=rate,
        irregular=True,
        seed=seed,
    )


class ItemUser(User):
    """The writer of one item. ``versions`` has, by item, the version that was last acknowledged."""

    def __init__(self, versions: dict[int, int], version: int, load: Load, number: int, role: Role) -> None:
        super().__init__(load, number, role)
        self._item = number + 1
        self._version = version
        self._versions = versions

    def turn(self) -> bool:
        """Write the item and read it back, or read an item."""
        if self.random.random() < self.role.writes:
            self._version += 1
            written = self.send(f"/items/{self._item}/?version={self._version}", {}, statuses={303})
            if not written.failed:
                self._versions[self._item] = self._version
            if written.answer.status:
                self._read(self._item)
        else:
            self._read(self.random.choice([self._item, self.random.randint(1, self.load.users)]))
        return True

    def _read(self, item: int) -> None:
        expected = self._versions.get(item, 0)

        def misses(answer: Answer) -> bool:
            return bool(json.loads(answer.body)["version"] < expected)

        self.send(f"/items/{item}/", statuses={200}, misses=misses, own=item == self._item)


@dataclass(frozen=True, slots=True)
class Seen:
    """What users saw."""

    requests: Sequence[Request]

    def _answered(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method and not request.failed]

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return len(self.read_seconds) + len(self.write_seconds)

    @property
    def reads(self) -> list[Read]:
        """Reads, for the oracle."""
        return [
            Read(request.user, request.at, request.at + request.seconds) for request in self._answered("GET")
        ]

    @property
    def writes(self) -> list[Write]:
        """Writes with their positions, for the oracle."""
        return [
            Write(
                request.user,
                request.at + request.seconds,
                int(request.answer.body.rsplit(b"-", 1)[-1]),
            )
            for request in self._answered("POST")
        ]

    @property
    def own_reads(self) -> int:
        """Reads of what their own user writes."""
        return sum(request.own for request in self._answered("GET"))

    @property
    def stale_own(self) -> int:
        """Reads that missed what their own user had written."""
        return sum(request.stale and request.own for request in self.requests)

    @property
    def stale_others(self) -> int:
        """Reads that missed what another user had been told was written."""
        return sum(request.stale and not request.own for request in self.requests)

    @property
    def databases(self) -> Counter[str]:
        """Who answered the reads."""
        return Counter(json.loads(request.answer.body)["database"] for request in self._answered("GET"))

    @property
    def read_seconds(self) -> list[float]:
        """How long each read took."""
        return [request.seconds for request in self._answered("GET")]

    @property
    def write_seconds(self) -> list[float]:
        """How long each write took."""
        return [request.seconds for request in self._answered("POST")]

    @property
    def errors(self) -> Counter[str]:
        """Errors by kind: the method and the status, or the exception where no answer came."""
        return Counter(
            f"{request.method} {request.answer.status}"
            if request.answer.status
            else request.error.partition("(")[0]
            for request in self.requests
            if request.failed
        )


def together(parts: Sequence[Seen]) -> Seen:
    """Return several runs as one."""
    return Seen([request for part in parts for request in part.requests])
