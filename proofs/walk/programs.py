"""Random requests, as plain data: what a view does are steps, each a tuple that begins with its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from proofs.walk.oracle import Slot
from proofs.walk.settings import CLUSTERS

Step = tuple[Any, ...]
Steps = tuple[Step, ...]
LEVELS = ("eventual", "window", "causal", "strong", "bounded")
READS = ("aggregate", "newest", "values", "raw", "cursor")
WRITES = {
    "cell": ("update", "save", "locked", "update_or_create", "cursor"),
    "entry": ("create", "bulk_create", "get_or_create", "save_new"),
}
KEYS = 2
CLIENTS = 5


@dataclass(frozen=True)
class Configuration:
    """The settings of a chapter of the walk."""

    level: str
    stores: tuple[str, ...]
    engine: str
    """Of the sessions."""
    monitor: str
    replica_per: str
    atomic_requests: bool
    persistent: bool
    """Whether connections outlive a request."""
    save_every_request: bool
    monotonic: bool
    sync_replicas: int
    quiet: bool
    """Whether primaries do not answer the package's questions at times."""
    refuses: bool
    """Whether they take no new connection then, as when they have too many."""


@dataclass(frozen=True)
class Visit:
    """One request of a client."""

    client: int
    method: str
    server: str
    """``wsgi`` or ``asgi``."""
    view: str
    """``sync`` or ``async``."""
    steps: Steps
    ending: str
    body: tuple[Steps, ...] = ()
    """What is done for each chunk, where the body is streamed."""
    chunks: int = 99
    """How many of them the client waits for."""
    unsafe_path: bool = False


@dataclass(frozen=True)
class Event:
    """What happens besides: time passes, a replica is copied, a primary says nothing, a client goes."""

    name: str
    arguments: tuple[Any, ...] = ()


def configuration(random: Random, level: str | None) -> Configuration:
    """Return the settings of one chapter."""
    stores = random.choice(
        [("cookie",), ("session",), ("header",), ("cache",), ("cookie", "header"), ("session", "header"),
         ("cache", "header"), ("cookie", "cache"), ("cookie", "session")]
    )  # fmt: skip
    return Configuration(
        level=level or random.choice(["window", "causal", "causal", "strong"]),
        stores=stores,
        engine=random.choice(["db", "cache", "cached_db", "file", "signed_cookies"]),
        monitor=random.choice(["inline", "off"]),
        replica_per=random.choice(["request", "query"]),
        atomic_requests=random.random() < 0.2,
        persistent=random.random() < 0.5,
        save_every_request=random.random() < 0.2,
        monotonic=random.random() < 0.25,
        sync_replicas=random.choice([0, 0, 0, 1, 2]),
        quiet=random.random() < 0.3,
        refuses=random.random() < 0.5,
    )


class Writer:
    """Draws what happens next."""

    def __init__(self, random: Random, chosen: Configuration) -> None:
        self._random = random
        self._chosen = chosen

    def next(self) -> Visit | Event:
        """Return a request, or what happens between two."""
        random = self._random
        kind = random.random()
        if kind < 0.62:
            return self.visit()
        if kind < 0.78:
            return self._replication()
        if kind < 0.96:
            return Event(
                "wait", (random.choice([0.001, 0.3, 1.0, 1.0, 3.0, 6.0, 40.0, *[700.0] * (kind > 0.95)]),)
            )
        if self._chosen.quiet and kind < 0.985:
            return Event(random.choice(["quiet", "answering"]), (random.choice(list(CLUSTERS)),))
        return Event("newcomer", (random.randrange(CLIENTS),))

    def _replication(self) -> Event:
        replicas = [alias for _primary, aliases in CLUSTERS.values() for alias in aliases]
        how = self._random.choice(["synchronise", "snapshot", "apply"])
        return Event(how, (self._random.choice(replicas),))

    def visit(self, depth: int = 0) -> Visit:
        """Return a request; it may have others made in the middle."""
        random = self._random
        view = "sync" if self._chosen.atomic_requests else random.choice(["sync", "async"])
        ending = random.choice(["ok", "ok", "ok", "redirect", "status 500", "raise", "stream"])
        body: tuple[Steps, ...] = ()
        if ending == "stream":
            # Whoever ends a session there leaves the browser with its cookie, whatever keeps the token.
            parts = (self.steps(depth + 2, 2) for _ in range(random.randint(1, 3)))
            body = tuple(tuple(step for step in part if step[0] != "session") for part in parts)
        method = random.choice(["GET", "GET", "POST", "HEAD" if ending != "stream" else "GET"])
        return Visit(
            client=random.randrange(CLIENTS),
            method=method,
            server=random.choice(["wsgi", "asgi"]),
            view=view,
            steps=self.steps(depth),
            ending=ending,
            body=body,
            chunks=random.choice([1, 99]),
            unsafe_path=random.random() < 0.05,
        )

    def steps(self, depth: int, most: int = 4, *, locked: bool = False) -> Steps:
        """Return what some code does; ``locked`` if it has a transaction of its own open."""
        locked = locked or self._chosen.atomic_requests
        return tuple(self._step(depth, locked=locked) for _ in range(self._random.randint(1, most)))

    def slot(self) -> Slot:
        """Return something to read or to write."""
        random = self._random
        return Slot(random.choice(list(CLUSTERS)), random.choice(list(WRITES)), random.randrange(KEYS))

    def _step(self, depth: int, *, locked: bool) -> Step:  # noqa: C901, PLR0912  (a list of cases)
        random = self._random
        plain = [*["read"] * 8, *["write"] * 3, "session", "refused", "token"]
        nested = ["block", "block", "atomic", "scope", "thread", "generator", "deferred", "gather"]
        apart = [] if locked else ["meanwhile", "replicate"]
        name = random.choice(plain + (nested + apart) * (depth < 2))
        inner = depth + 1
        if name == "read":
            return name, self.slot(), random.choice(READS)
        if name == "write":
            slot = self.slot()
            return name, slot, random.choice(WRITES[slot.table])
        if name == "session":
            return name, random.choice(["set", "set", "get", "get", "cycle_key", "flush"])
        if name == "refused":
            return name, random.choice(list(CLUSTERS))
        if name == "block":
            kind = random.choice(["primary", "replica", "untracked", *LEVELS, *LEVELS])
            cluster = random.choice([None, None, *CLUSTERS]) if kind != "untracked" else None
            return name, kind, cluster, self.steps(inner, locked=locked)
        if name == "atomic":
            rolled_back = random.random() < 0.3
            return name, random.choice(list(CLUSTERS)), rolled_back, self.steps(inner, 3, locked=True)
        if name == "scope":
            return name, random.random() < 0.7, random.random() < 0.5, self.steps(inner, locked=locked)
        if name == "thread":
            # What it writes would wait for the lock of the transaction around it.
            reads = tuple(("read", self.slot(), random.choice(READS)) for _ in range(2))
            return name, random.random() < 0.5, reads if locked else self.steps(inner, 2)
        if name == "generator":
            kind = random.choice(["primary", "replica", "eventual", "strong", "untracked"])
            return (
                name,
                kind,
                random.choice(["left", "ended"]),
                self.steps(2, 2, locked=locked),
                self.steps(2, 2, locked=locked),
            )
        if name == "deferred":
            return name, self.slot(), random.choice(READS[:-1]), self.steps(inner, 2, locked=locked)
        if name == "gather":
            reads = tuple(("read", self.slot(), random.choice(READS)) for _ in range(2))
            return name, reads if locked else self.steps(2, 3)
        if name == "meanwhile":
            return name, self.visit(depth=2)
        if name == "replicate":
            return name, self._replication()
        return ("token",)


def smaller(visit: Visit | Event) -> list[Visit]:
    """Return the request without one of its steps, in each way."""
    if isinstance(visit, Event):
        return []
    left = [replace(visit, steps=visit.steps[:at] + visit.steps[at + 1 :]) for at in range(len(visit.steps))]
    for at, step in enumerate(visit.steps):
        for inside, part in enumerate(step):
            if isinstance(part, tuple) and part and isinstance(part[0], tuple) and len(part) > 1:
                for gone in range(len(part)):
                    fewer = (*step[:inside], part[:gone] + part[gone + 1 :], *step[inside + 1 :])
                    left.append(replace(visit, steps=(*visit.steps[:at], fewer, *visit.steps[at + 1 :])))
            elif isinstance(part, Visit):
                left += [
                    replace(
                        visit,
                        steps=(
                            *visit.steps[:at],
                            (*step[:inside], less, *step[inside + 1 :]),
                            *visit.steps[at + 1 :],
                        ),
                    )
                    for less in smaller(part)
                ]
    return left
