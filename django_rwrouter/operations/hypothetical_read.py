"""Runs the engine on a hypothetical read, supposing that each step it asks for succeeds.

What this process knows of its servers counts: which are ejected or drained, and whether the kill switch is
thrown. How far they are behind is supposed. Asks no server.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.utils.translation import gettext as _

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, ModelRoute, get_topology
from django_rwrouter.databases import has_positions
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.routing.ladder import climb, narrowed
from django_rwrouter.routing.pending_read import PendingRead, Standings
from django_rwrouter.routing.rules import (
    NEED_TOKEN,
    NEEDS_POSITION,
    NOTHING_MORE,
    TAKE_DELAYED,
    Demand,
    Read,
    describe,
)
from django_rwrouter.routing.steps import (
    AskFloor,
    AskPrimary,
    Attempts,
    Draw,
    OnPrimary,
    Spill,
    Verdict,
    WaitFor,
)
from django_rwrouter.scope.context import SAFE_METHODS
from django_rwrouter.scope.state import Block, BlockKind, ClusterScope, RoutingState
from django_rwrouter.scope.token import Mark
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health

if TYPE_CHECKING:
    from django.db.models import Model

    from django_rwrouter.databases.base import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A read, or a write, that somebody wants to know about."""

    model: type[Model]
    method: str = "GET"
    """Of the request; empty outside any request, task or scope."""
    level: Level | None = None
    """As if ``CONSISTENCY`` said so; ``None`` for what it says. ``bounded`` implies a block of its own."""
    block: BlockKind | None = None
    """The block around it; ``CONSISTENCY`` is one with ``level``."""
    max_staleness: float = 1.0
    token_age: float | None = None
    """Seconds since the client's last write, in an earlier request; ``None`` if it has not written."""
    wrote: bool = False
    in_transaction: bool = False
    """Whether it is inside ``atomic()`` on the primary."""
    from_primary: bool = False
    """Whether it follows an object that this request has read from the primary."""
    write: bool = False

    @classmethod
    def of(cls, model: type[Model], values: Mapping[str, Any]) -> Question:
        """Make one of the values of a form, or the options of a command; ``None`` stands for the default."""
        names = {field.name for field in fields(cls)} - {"model", "level", "block"}
        return cls(
            model=model,
            level=Level(values["level"]) if values["level"] else None,
            block=BlockKind(values["block"]) if values["block"] else None,
            **{name: value for name, value in values.items() if name in names and value is not None},
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the read goes, and what is done on the way."""

    decision: Decision
    among: tuple[str, ...]
    """The databases that may answer, of which the balancer draws one; under shadow, that would answer."""
    steps: tuple[str, ...] = ()
    """What has to be done before it is decided, in order."""


def tells_positions(cluster: Cluster) -> bool:
    """Whether the database of a cluster has positions, and its servers tell them."""
    has_some = has_positions(connections[cluster.primary].vendor)
    return has_some and knowledge.has_positions(cluster.name, cluster.replica_aliases)


class _AnyPosition:
    """A position that stands for any other."""

    def covers(self, _other: object) -> bool:
        return True


_ANY_POSITION: Final[Any] = _AnyPosition()


class _SupposedStandings(Standings):
    """Where the servers stand as supposed: all alike, once they are asked, or where a monitor asks them."""

    def __init__(self, cluster: Cluster, asked: Collection[str], *, caught_up: bool) -> None:
        self.cluster = cluster
        self._asked = asked
        self._caught_up = caught_up
        self._watched = get_settings().monitor.mode == "thread"

    def reached(self, alias: str, position: Position) -> bool:
        return self._caught_up and alias in self._asked

    def staleness(self, alias: str) -> float:
        return 0.0 if self._caught_up and (self._watched or alias in self._asked) else inf

    def asked_lately(self, alias: str) -> bool:
        return self._watched


class HypotheticalRead:
    """What the rules and the ladder are told for one question, where each step goes as supposed."""

    def __init__(self, question: Question, route: ModelRoute) -> None:
        settings = route.cluster.settings
        if question.level not in (None, Level.BOUNDED):
            settings = replace(settings, consistency=question.level)
        self.question = question
        self.cluster = Cluster(settings, enabled=route.cluster.enabled, shadow=route.cluster.shadow)
        self.level = Level.BOUNDED if question.level is Level.BOUNDED else settings.consistency
        self._route = ModelRoute(self.cluster, question.model, route.fixed)
        self._mark = self._supposed_mark()
        self._block = self._supposed_block()

    def read(self) -> Read:
        """Describe the read to the rules; its token has been looked at."""
        question, cluster, read = self.question, self.cluster, self._pending()
        around_views = connections.settings[cluster.primary]["ATOMIC_REQUESTS"] and question.method
        facts = describe(
            read,
            cluster.enabled and cluster.name not in health.off,
            question.in_transaction or bool(around_views and not read.state.safe),
        )
        return Read(*facts)

    def _pending(self, *, caught_up: bool = True) -> PendingRead:
        question, cluster, tried, scope = self.question, self.cluster, Attempts(), ClusterScope()
        scope.wrote, scope.read_primary = question.wrote, question.from_primary
        return PendingRead(
            self._route,
            RoutingState(safe=question.method.upper() in SAFE_METHODS, outside=not question.method),
            scope,
            self._block,
            _SupposedStandings(cluster, tried.asked, caught_up=caught_up),
            tried,
            instance_alias=cluster.primary if question.from_primary else None,
            positions=tells_positions(cluster),
            mark=self._mark,
            now=time.time(),
        )

    def outcome(self, demand: Demand, reason: Reason, *, caught_up: bool) -> Outcome:
        """Go down the ladder, and suppose that each step was taken.

        ``caught_up`` tells whether replicas turn out to have what is asked of them.
        """
        cluster, decide, read = self.cluster, self._route.decide, self._pending(caught_up=caught_up)
        steps: dict[str, None] = {}

        def on_primary(reason: Reason) -> Outcome:
            return Outcome(decide(cluster.primary, reason), (cluster.primary,), tuple(steps))

        if self.question.method and (demand in NEED_TOKEN or reason is Reason.PINNED):
            steps[_("The client's token is looked at.")] = None
        if demand is Demand.PRIMARY:
            return on_primary(reason)
        demand = narrowed(
            demand, cluster.settings, self._mark, shadow=cluster.shadow, positions=read.positions
        )
        replicas = self._route.replicas if demand in TAKE_DELAYED else self._route.timely_replicas
        unusable = health.unusable()
        read.replicas = [replica for replica in replicas if replica.alias not in unusable]
        if not read.replicas:
            return on_primary(Reason.NO_REPLICA)
        while demand not in NOTHING_MORE:
            verdict = climb(demand, reason, read)
            if isinstance(verdict, OnPrimary):
                return on_primary(verdict.reason)
            if isinstance(verdict, Draw) and not verdict.to_ask:
                reason = verdict.reason
                break
            steps.update(dict.fromkeys(self._suppose(verdict, read)))
        aliases = tuple(replica.alias for replica in read.replicas)
        if cluster.shadow:
            return Outcome(decide(cluster.primary, reason, would_be=aliases[0]), aliases, tuple(steps))
        steps[_opened()] = None
        return Outcome(decide(aliases[0], reason), aliases, tuple(steps))

    def _suppose(self, step: Verdict, read: PendingRead) -> Iterator[str]:
        """Suppose that a step was taken, and say it in words."""
        settings, tried, scope = self.cluster.settings, read.tried, read.scope
        match step:
            case Draw(to_ask=to_ask):
                yield _opened()
                yield _("A replica is asked where it stands, unless that is known already.")
                tried.asked.append(next(iter(to_ask)).alias)
            case AskFloor():
                yield _("The primary is asked where it stands, once for the request or the block.")
                scope.floors[None] = _ANY_POSITION
            case AskPrimary(at_most_old=seconds):
                text = _("The primary is asked where it stands.")
                if seconds:
                    text = _("The primary is asked where it stands, unless it was in the last %(seconds)s s.")
                yield text % {"seconds": f"{seconds:g}"}
                tried.asked_primary, tried.primary = True, _ANY_POSITION
            case Spill():
                yield _(
                    "The read takes one of %(limit)s places (SPILL_LIMIT) on the primary for reads that are"
                    " there because replicas lag; with none left, the replica that lags least answers."
                ) % {"limit": settings.spill_limit}
                tried.spilled = True
            case WaitFor():
                yield _(
                    "A replica is waited for, %(seconds)s s at most (WAIT_TIMEOUT); or not at all, if that"
                    " has not helped lately."
                ) % {"seconds": f"{settings.wait_timeout:g}"}
                tried.waited = scope.gave_up = True

    def _supposed_block(self) -> Block | None:
        question = self.question
        if question.block in (BlockKind.PRIMARY, BlockKind.REPLICA):
            return Block(kind=question.block)
        if question.block is None and question.level is not Level.BOUNDED:
            return None
        return Block(kind=BlockKind.CONSISTENCY, level=self.level, max_staleness=question.max_staleness)

    def _supposed_mark(self) -> Mark | None:
        """Return the mark of the client's token."""
        age = self.question.token_age
        if age is None:
            return None
        cluster, now = self.cluster, time.time()
        wanted = self.level in NEEDS_POSITION or cluster.settings.monotonic_reads
        position = _ANY_POSITION if wanted and tells_positions(cluster) else None
        return Mark(now - age, position).alive(get_topology().lifetimes[cluster.name], now)


def _opened() -> str:
    return _("A replica is drawn, and its connection opened if it is not open yet.")
