"""Explains where a read would go, and why, by running the engine on a hypothetical one.

The rules are the engine's own. Nothing is decided here: a question becomes the state and the situation that
the engine looks at, each step that it asks for is supposed to have succeeded, and the reason of its decision
names the rule that applied. The rules before that one did not apply, or they would have decided.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.utils.translation import gettext_lazy as _

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, ModelRoute, get_topology
from django_rwrouter.databases import has_positions
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.routing.candidates import Candidates, Standings
from django_rwrouter.routing.ladder import climb, narrowed
from django_rwrouter.routing.rules import (
    NEED_TOKEN,
    NEEDS_POSITION,
    NOTHING_MORE,
    RULES,
    TAKE_DELAYED,
    Demand,
    Read,
    Rule,
    describe,
    first_rule,
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
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge

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
    """Seconds, for ``bounded``."""
    token_age: float | None = None
    """Seconds since the client's last write, in an earlier request; ``None`` if it has not written."""
    wrote: bool = False
    """Whether this request has written already."""
    in_transaction: bool = False
    """Whether it is inside ``atomic()`` on the primary."""
    from_primary: bool = False
    """Whether it follows an object that this request has read from the primary."""
    write: bool = False
    """Whether it is a write."""


class RuleVerdict(str, Enum):
    """What became of a rule."""

    PASSED = "passed"
    """It does not apply."""
    APPLIES = "applies"
    NOT_REACHED = "not_reached"
    """An earlier one has decided."""


@dataclass(frozen=True, slots=True)
class Told:
    """One rule, told for one question."""

    name: str
    """The same in every version."""
    title: str
    verdict: RuleVerdict
    text: str
    """Why it applies, or does not; empty for one that was not reached."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the read goes, and what is done on the way."""

    decision: Decision
    among: tuple[str, ...]
    """The databases that may answer, of which the balancer draws one; under shadow, that would answer."""
    steps: tuple[str, ...]
    """What has to be done before it is decided, in order."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to a question."""

    question: Question
    cluster: str
    """Empty for a model of no cluster of ours."""
    level: Level | None
    """The level in force; ``None`` where no rule has to do with it."""
    rules: tuple[Told, ...]
    outcome: Outcome | None
    """``None`` where other routers and Django decide."""
    otherwise: Outcome | None = None
    """The same if all replicas are too far behind, where that makes a difference."""


OURS: Final = Rule(
    "ours",
    (),
    Demand.PRIMARY,
    lambda _read: False,
    title=_("A model of no cluster"),
    text=_("No cluster of the settings serves this model: other routers and Django decide."),
    passed=_("The cluster “%(cluster)s” serves the model."),
)
WRITES: Final = Rule(
    "write",
    (Reason.WRITE,),
    Demand.PRIMARY,
    lambda _read: False,
    title=_("A write"),
    text=_("Writes go to the primary, always."),
    passed=_("It is a read."),
)
"""These two come before the rules for reads."""


def explain(question: Question) -> Explanation:
    """Say where it would go, and why.

    What this process knows of its servers counts: which are ejected or drained, and whether the kill switch
    is thrown. How far they are behind is supposed, once one way and once the other. Asks no server.
    """
    topology = get_topology()
    route = topology.route(question.model)
    if route is None:
        told = _tell((OURS, WRITES, *RULES), OURS, {})
        return Explanation(question, "", None, told, None)
    route = _as_supposed(route, question)
    cluster = route.cluster
    rules = (OURS, WRITES, *RULES)
    facts = _facts(question, cluster)
    if question.write:
        decision = route.decide(cluster.primary, Reason.WRITE, "write")
        told = _tell(rules, WRITES, facts)
        return Explanation(question, cluster.name, None, told, Outcome(decision, (cluster.primary,), ()))

    suppose = _Supposition(question, route)
    rule, reason = first_rule(suppose.read())
    outcome = suppose.outcome(rule.demand, reason, caught_up=True)
    behind = suppose.outcome(rule.demand, reason, caught_up=False)
    differs = behind.decision.reason is not outcome.decision.reason
    return Explanation(
        question,
        cluster.name,
        _level(question, cluster),
        _tell(rules, rule, facts),
        outcome,
        behind if differs else None,
    )


def _as_supposed(route: ModelRoute, question: Question) -> ModelRoute:
    """Return the model's route with the level that was asked for."""
    cluster = route.cluster
    settings = cluster.settings
    if question.level is not None and question.level is not Level.BOUNDED:
        settings = replace(settings, consistency=question.level)
    supposed = Cluster(settings, enabled=cluster.enabled, shadow=cluster.shadow)
    return ModelRoute(supposed, question.model, route.fixed)


def _level(question: Question, cluster: Cluster) -> Level:
    return Level.BOUNDED if question.level is Level.BOUNDED else cluster.settings.consistency


def _facts(question: Question, cluster: Cluster) -> dict[str, object]:
    settings = cluster.settings
    level = _level(question, cluster)
    without = level is Level.CAUSAL and not _has_positions(cluster)
    return {
        "cluster": cluster.name,
        "method": question.method,
        "level": level.value,
        "fallback": _(", which counts as “window”, as the database has no positions") if without else "",
        "outside_request": settings.outside_request,
        "max_staleness": f"{question.max_staleness:g}",
        "token_age": f"{question.token_age or 0:g}",
        "pin_seconds": f"{settings.pin_seconds:g}",
        "max_lag": f"{settings.pin_seconds if settings.max_lag is None else settings.max_lag:g}",
    }


def _tell(rules: Sequence[Rule], hit: Rule, facts: dict[str, object]) -> tuple[Told, ...]:
    def each() -> Iterator[Told]:
        reached = True
        for rule in rules:
            if rule is hit:
                reached = False
                yield Told(rule.name, str(rule.title), RuleVerdict.APPLIES, str(rule.text % facts))
            elif reached:
                yield Told(rule.name, str(rule.title), RuleVerdict.PASSED, str(rule.passed % facts))
            else:
                yield Told(rule.name, str(rule.title), RuleVerdict.NOT_REACHED, "")

    return tuple(each())


def _has_positions(cluster: Cluster) -> bool:
    has_some = has_positions(connections[cluster.primary].vendor)
    return has_some and knowledge.has_positions(cluster.name, cluster.replica_aliases)


class _Place:
    """A position that stands for any other."""

    def covers(self, other: Any) -> bool:
        return True

    def merge(self, other: Any) -> Any:
        return other

    def encode(self) -> str:
        return ""

    @classmethod
    def decode(cls, text: str) -> _Place:
        return cls()


_PLACE: Final = _Place()


class _Supposed(Standings):
    """Where the servers stand as supposed: all alike, once they are asked, or where a monitor asks them."""

    def __init__(self, cluster: Cluster, *, caught_up: bool = True, asked: Collection[str] = ()) -> None:
        self.cluster = cluster
        self.positions = _has_positions(cluster)
        self.now = time.time()
        self._watched = get_settings().monitor.mode == "thread"
        self._caught_up = caught_up
        self._asked = asked

    def reached(self, alias: str, position: Position) -> bool:
        return self._caught_up and alias in self._asked

    def staleness(self, alias: str) -> float:
        return 0.0 if self._caught_up and (self._watched or alias in self._asked) else inf

    def asked_lately(self, alias: str) -> bool:
        return self._watched


class _Supposition:
    """What the rules and the ladder are told for one question, where each step goes as supposed."""

    def __init__(self, question: Question, route: ModelRoute) -> None:
        self.question = question
        self.route = route
        self.mark = self._mark()
        self.block = self._block()

    def read(self) -> Read:
        """Describe the read to the rules; its token has been looked at."""
        question, cluster = self.question, self.route.cluster
        state = RoutingState(safe=question.method.upper() in SAFE_METHODS, outside=not question.method)
        scope = ClusterScope()
        scope.wrote, scope.read_primary = question.wrote, question.from_primary
        around_views = connections.settings[cluster.primary]["ATOMIC_REQUESTS"] and question.method
        facts = describe(
            self.route,
            state,
            scope,
            self.block,
            cluster.primary if question.from_primary else None,
            _Supposed(cluster),
            self.mark,
            cluster.enabled and cluster.name not in health.switches.off,
            question.in_transaction or bool(around_views and not state.safe),
        )
        return Read(*facts)

    def _block(self) -> Block | None:
        question = self.question
        if question.block in (BlockKind.PRIMARY, BlockKind.REPLICA):
            return Block(kind=question.block)
        if question.block is None and question.level is not Level.BOUNDED:
            return None
        level = _level(question, self.route.cluster)
        return Block(kind=BlockKind.CONSISTENCY, level=level, max_staleness=question.max_staleness)

    def outcome(self, demand: Demand, reason: Reason, *, caught_up: bool) -> Outcome:
        """Go down the ladder, and suppose that each step was taken.

        ``caught_up`` tells whether replicas turn out to have what is asked of them.
        """
        cluster, decide = self.route.cluster, self.route.decide
        steps: dict[str, None] = {}
        looks_at_token = demand in NEED_TOKEN or reason is Reason.PINNED
        if looks_at_token and self.question.method:
            steps[str(_("The client's token is looked at."))] = None
        if demand is Demand.PRIMARY:
            return Outcome(decide(cluster.primary, reason), (cluster.primary,), tuple(steps))
        tried = Attempts()
        standings = _Supposed(cluster, caught_up=caught_up, asked=tried.asked)
        demand = narrowed(
            demand, cluster.settings, self.mark, shadow=cluster.shadow, positions=standings.positions
        )
        replicas = self.route.replicas if demand in TAKE_DELAYED else self.route.timely_replicas
        unusable = health.unusable()
        usable = [replica for replica in replicas if replica.alias not in unusable]
        if not usable:
            return Outcome(decide(cluster.primary, Reason.NO_REPLICA), (cluster.primary,), tuple(steps))
        verdict: Verdict = Draw(usable, reason)
        if demand not in NOTHING_MORE:
            candidates = Candidates(usable, None, standings, tried, self.mark, ClusterScope(), self.block)
            verdict = self._climb(demand, reason, candidates, steps)
        if isinstance(verdict, OnPrimary):
            return Outcome(decide(cluster.primary, verdict.reason), (cluster.primary,), tuple(steps))
        assert isinstance(verdict, Draw)  # noqa: S101  (for the type checker)
        among, first = tuple(replica.alias for replica in usable), verdict.among[0].alias
        if cluster.shadow:
            return Outcome(decide(cluster.primary, verdict.reason, would_be=first), among, tuple(steps))
        steps.setdefault(str(_OPENED))
        return Outcome(decide(first, verdict.reason), among, tuple(steps))

    def _climb(
        self, demand: Demand, reason: Reason, candidates: Candidates, steps: dict[str, None]
    ) -> Verdict:
        while True:
            verdict = climb(demand, reason, candidates)
            if isinstance(verdict, OnPrimary) or (isinstance(verdict, Draw) and not verdict.to_ask):
                return verdict
            self._suppose(verdict, candidates, steps)

    def _suppose(self, step: Verdict, candidates: Candidates, steps: dict[str, None]) -> None:
        """Suppose that a step was taken, and say it in words."""
        settings, tried, scope = self.route.cluster.settings, candidates.tried, candidates.scope
        match step:
            case Draw(to_ask=to_ask):
                steps.setdefault(str(_OPENED))
                steps.setdefault(str(_("A replica is asked where it stands, unless that is known already.")))
                tried.asked.append(next(iter(to_ask)).alias)
            case AskFloor():
                steps.setdefault(
                    str(_("The primary is asked where it stands, once for the request or the block."))
                )
                scope.floors[None] = _PLACE
            case AskPrimary(at_most_old=seconds):
                text = _("The primary is asked where it stands.")
                if seconds:
                    text = _("The primary is asked where it stands, unless it was in the last %(seconds)s s.")
                steps.setdefault(str(text % {"seconds": f"{seconds:g}"}))
                tried.asked_primary, tried.primary = True, _PLACE
            case Spill():
                text = _(
                    "The read takes one of %(limit)s places (SPILL_LIMIT) on the primary for reads that are"
                    " there because replicas lag; with none left, the replica that lags least answers."
                )
                steps.setdefault(str(text % {"limit": settings.spill_limit}))
                tried.spilled = True
            case WaitFor():
                text = _(
                    "A replica is waited for, %(seconds)s s at most (WAIT_TIMEOUT); or not at all, if that"
                    " has not helped lately."
                )
                steps.setdefault(str(text % {"seconds": f"{settings.wait_timeout:g}"}))
                tried.waited = scope.gave_up = True

    def _mark(self) -> Mark | None:
        """Return the mark of the client's token that was supposed."""
        age = self.question.token_age
        if age is None:
            return None
        cluster, now = self.route.cluster, time.time()
        settings = cluster.settings
        wanted = _level(self.question, cluster) in NEEDS_POSITION or settings.monotonic_reads
        position: Any = _PLACE if wanted and _has_positions(cluster) else None
        return Mark(now - age, position).alive(get_topology().lifetimes[cluster.name], now)


_OPENED: Final = _("A replica is drawn, and its connection opened if it is not open yet.")
