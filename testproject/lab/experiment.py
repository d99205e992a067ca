"""The experiment: write a row, then look for it at once in every way that a request can read."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from threading import Barrier
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_rwrouter import (
    Reason,
    consistency,
    current_token,
    routing_scope,
    use_primary,
    use_replica,
)
from django_rwrouter.databases import encode, has_positions
from django_rwrouter.databases.base import Position
from django_rwrouter.routing.decide import last_steps
from django_rwrouter.stores.exchange import accept
from lab.models import Probe
from served_by.record import recording

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise as StrOrPromise

PROBES_KEPT = 1000
READERS = 3
CLUSTER = "default"
MAX_STALENESS = 1.0
"""Seconds, for the level ``bounded``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to read."""

    name: str
    code: str
    """The Python that a view would use for it."""
    promise: StrOrPromise
    """What it promises, in a sentence."""
    block: Callable[[], AbstractContextManager[object]]
    """Makes the block that the read stands in."""
    needs_positions: bool = False
    """Whether it is what it says only where the database's log has positions."""
    same_client: bool = True
    """Whether the reader is the one who wrote, or another visitor, who knows nothing of the write."""


WAYS: tuple[Way, ...] = (
    Way(
        name="eventual",
        code='consistency("eventual")',
        promise=_("Any replica may answer, however late it is."),
        block=partial(consistency, "eventual"),
    ),
    Way(
        name="window",
        code='consistency("window")',
        promise=_("Who has just written reads from the primary, everybody else from a replica."),
        block=partial(consistency, "window"),
    ),
    Way(
        name="causal",
        code='consistency("causal")',
        promise=_(
            "Who has just written reads from any replica that has the write, or else from the primary."
        ),
        block=partial(consistency, "causal"),
        needs_positions=True,
    ),
    Way(
        name="strong",
        code='consistency("strong")',
        promise=_("Everybody sees all that was written before they asked. Here, another visitor looks."),
        block=partial(consistency, "strong"),
        needs_positions=True,
        same_client=False,
    ),
    Way(
        name="bounded",
        code=f'consistency("bounded", max_staleness={MAX_STALENESS})',
        promise=_("A replica answers that is at most a second behind, or else the primary."),
        block=partial(consistency, "bounded", max_staleness=MAX_STALENESS),
        needs_positions=True,
    ),
    Way(
        name="primary",
        code='consistency("primary")',
        promise=_("The primary answers always."),
        block=partial(consistency, "primary"),
    ),
    Way(
        name="use_replica",
        code="use_replica()",
        promise=_("A replica answers, even to somebody who has just written."),
        block=use_replica,
    ),
)
"""All that the lab compares; a level that the package gains is one more entry."""


def available_ways() -> list[Way]:
    """Return those that this project's database can show."""
    positions = has_positions(connections[DEFAULT_DB_ALIAS].vendor)
    return [way for way in WAYS if positions or not way.needs_positions]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that the router had to do before it could decide."""

    name: str
    """As in ``django_rwrouter.routing.ladder``."""
    alias: str
    duration: timedelta

    @property
    def label(self) -> StrOrPromise:
        """Return it in words."""
        return STEP_LABELS.get(self.name, self.name)


STEP_LABELS = {
    "LoadToken": _("read the token"),
    "Open": _("take a connection"),
    "AskFloor": _("ask the primary"),
    "AskPrimary": _("ask the primary"),
    "AskReplica": _("ask a replica"),
    "WaitFor": _("wait for a replica"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The same steps, taken by one or more readings."""

    labels: tuple[StrOrPromise, ...]
    count: int
    longest: timedelta
    """The longest that all steps of one reading took together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One attempt to read back what was just written."""

    alias: str
    reason: Reason
    stale: bool
    """Whether the database did not have the row."""
    behind: timedelta
    """How long ago the oldest row was written that the database did not have; zero if it had all.

    It is behind by that much at least: nobody can tell how late it is where nothing was written.
    """
    position: str
    """Where the primary's log ended after the write, as the token says; empty if it does not."""
    steps: Sequence[Step]
    """What the router did before it decided."""

    @property
    def preparation(self) -> timedelta:
        """How long all steps took."""
        return sum((step.duration for step in self.steps), timedelta())


@dataclass(slots=True)
class Outcome:
    """All readings in one way."""

    way: Way
    readings: list[Reading] = field(default_factory=list)

    @property
    def stale_count(self) -> int:
        """How many readings missed the row."""
        return sum(reading.stale for reading in self.readings)

    @property
    def furthest_behind(self) -> timedelta:
        """The most that a database was behind."""
        return max((reading.behind for reading in self.readings), default=timedelta())

    @property
    def newest_position(self) -> str:
        """The position in the last token; empty if it had none."""
        return self.readings[-1].position if self.readings else ""

    @property
    def longest_wait(self) -> timedelta:
        """The longest that a reading waited for a replica."""
        waits = (
            step.duration for reading in self.readings for step in reading.steps if step.name == "WaitFor"
        )
        return max(waits, default=timedelta())

    @property
    def paths(self) -> list[Path]:
        """The steps that readings took, with how many took the same; the most frequent first."""
        by_labels: dict[tuple[StrOrPromise, ...], list[timedelta]] = {}
        for reading in self.readings:
            labels = tuple(step.label for step in reading.steps)
            by_labels.setdefault(labels, []).append(reading.preparation)
        paths = [
            Path(labels=labels, count=len(times), longest=max(times)) for labels, times in by_labels.items()
        ]
        return sorted(paths, key=lambda path: path.count, reverse=True)

    @property
    def aliases(self) -> list[tuple[str, int]]:
        """The databases that answered, with how often."""
        return sorted(Counter(reading.alias for reading in self.readings).items())

    @property
    def reasons(self) -> list[tuple[Reason, int]]:
        """The reasons that the router gave, with how often; the most frequent first."""
        return Counter(reading.reason for reading in self.readings).most_common()


class History:
    """The probes that the primary is known to hold, in the order of their keys."""

    def __init__(self) -> None:
        with use_primary():
            newest = Probe.objects.order_by("-pk").values_list("pk", "written_at")[:PROBES_KEPT]
            known = sorted(newest)
        self._keys: list[int] = [key for key, _written_at in known]
        self._times: list[datetime] = [written_at for _key, written_at in known]

    def add(self, probe: Probe) -> None:
        """Note a probe that was just written."""
        self._keys.append(probe.pk)
        self._times.append(probe.written_at)

    def behind(self, newest_seen: Probe | None) -> timedelta:
        """Return how far a database is behind, at least, whose newest probe is this one."""
        missing = 0 if newest_seen is None else bisect_right(self._keys, newest_seen.pk)
        if missing == len(self._keys):
            return timedelta()
        return timezone.now() - self._times[missing]


def run_experiment(rounds: int, pause: float = 0.0) -> list[Outcome]:
    """Write and read back in each way, ``rounds`` times, with ``pause`` seconds between the rounds.

    Each write and each read stands in a routing scope of its own, and the token goes from one to
    the next, as a cookie would between the requests of one client. Each read has a write of its
    own: with one for all, replicas would have had more time for the ways that come last.
    """
    history = History()
    outcomes = [Outcome(way) for way in available_ways()]
    for number in range(rounds):
        if number and pause:
            time.sleep(pause)
        for outcome in outcomes:
            outcome.readings.append(_write_and_read_back(outcome.way, history))
    forget_old_probes()
    return outcomes


def _write_and_read_back(way: Way, history: History) -> Reading:
    written, token = _write(way)
    reading = _read(way, written, token, token if way.same_client else "", history)
    history.add(written)
    return reading


def _write(way: Way) -> tuple[Probe, str]:
    # The block stands around the write, too: it says what the token has to know.
    with routing_scope(), way.block():
        return Probe.objects.create(), current_token()


def _read(way: Way, written: Probe, token: str, brought: str, history: History) -> Reading:
    with recording() as statements, routing_scope(safe=True, token=brought), way.block():
        newest = Probe.objects.order_by("-pk").first()
        steps = last_steps(CLUSTER)
    # Somebody else's later probe will do as well: a database that has it has ours.
    stale = newest is None or newest.pk < written.pk
    return Reading(
        alias=statements[-1].alias,
        reason=statements[-1].reason,
        stale=stale,
        behind=history.behind(newest),
        position=_position(token),
        steps=[
            Step(name=name, alias=alias, duration=timedelta(seconds=seconds))
            for name, alias, seconds in steps
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreeReadings:
    """What three application servers saw that read at once, right after one write."""

    way: Way
    readings: Sequence[Reading]
    """First the server that the writer asks, then two that others ask."""


def run_three_servers() -> list[ThreeReadings]:
    """In each way, write once and let three servers read at the same time.

    Each is a thread with connections of its own, as a process has. The first has the writer's token, the
    others serve visitors who wrote nothing.
    """
    return [
        ThreeReadings(way=way, readings=_read_on_three_servers(way, *_write(way))) for way in available_ways()
    ]


def _read_on_three_servers(way: Way, written: Probe, token: str) -> list[Reading]:
    at_once = Barrier(READERS)

    def read(brought: str) -> Reading:
        try:
            at_once.wait()
            return _read(way, written, token, brought, History())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(READERS) as servers:
        first = token if way.same_client else ""
        return list(servers.map(read, [first, *[""] * (READERS - 1)]))


def _position(token: str) -> str:
    """Return the position in a token, as the database writes it."""
    mark = accept(token).marks.get(CLUSTER)
    position = None if mark is None else mark.position
    # The first letter names the kind.
    return encode(position)[1:] if isinstance(position, Position) else ""


def forget_old_probes() -> None:
    """Delete all but the newest probes."""
    with use_primary():
        newest = Probe.objects.order_by("-pk").first()
        if newest is not None:
            Probe.objects.filter(pk__lte=newest.pk - PROBES_KEPT).delete()
