"""Why a read would go where it would go: the engine is asked about a made-up one, and its rules are told.

The rules are the engine's own. Nothing is decided here: a question becomes the state and the situation that
the engine looks at, each step that it asks for is supposed to have succeeded, and the reason of its decision
names the rule that applied. The rules before that one did not apply, or they would have decided.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.utils.translation import gettext_lazy as _

from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, ModelRoute, get_topology
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.databases import has_positions
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.routing.rules import NEEDS_POSITION, route_read
from django_rwrouter.routing.steps import (
    AskFloor,
    AskPrimary,
    AskReplica,
    Attempts,
    LoadToken,
    Open,
    Situation,
    Spill,
    Step,
    Transaction,
    WaitFor,
)
from django_rwrouter.scope.context import SAFE_METHODS
from django_rwrouter.scope.state import Block, BlockKind, ClusterScope, RoutingState
from django_rwrouter.scope.token import EMPTY, Mark, Token
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrPromise


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


@dataclass(frozen=True, slots=True)
class _Rule:
    """One of the engine's rules, in words."""

    name: str
    reasons: frozenset[Reason]
    """What the engine says when it applies, and all servers are well."""
    title: _StrPromise
    applies: _StrPromise
    passed: _StrPromise


def _rule(
    name: str, *reasons: Reason, title: _StrPromise, applies: _StrPromise, passed: _StrPromise
) -> _Rule:
    return _Rule(name, frozenset(reasons), title, applies, passed)


OURS: Final = _rule(
    "ours",
    title=_("A model of no cluster"),
    applies=_("No cluster of the settings serves this model: other routers and Django decide."),
    passed=_("The cluster “%(cluster)s” serves the model."),
)
WRITES: Final = _rule(
    "write",
    Reason.WRITE,
    title=_("A write"),
    applies=_("Writes go to the primary, always."),
    passed=_("It is a read."),
)
RULES: Final = (
    _rule(
        "disabled",
        Reason.DISABLED,
        title=_("The kill switch"),
        applies=_("Routing is switched off: by ENABLED in the settings, or by an operator."),
        passed=_("Routing is switched on."),
    ),
    _rule(
        "primary_only",
        Reason.PRIMARY_ONLY,
        Reason.MIGRATION,
        title=_("Models that are always read from the primary"),
        applies=_(
            "PRIMARY_ONLY names the model, or it is one that always counts as named: sessions, content types,"
            " the database cache, and this package's own."
        ),
        passed=_("PRIMARY_ONLY does not name the model."),
    ),
    _rule(
        "use_primary",
        Reason.USE_PRIMARY,
        title=_("A use_primary() block"),
        applies=_("It is inside use_primary()."),
        passed=_("No use_primary() is the innermost block around it."),
    ),
    _rule(
        "in_transaction",
        Reason.IN_TRANSACTION,
        title=_("A transaction"),
        applies=_("A transaction is open on the primary: it must see its own writes."),
        passed=_(
            "No transaction is open on the primary, but for that of ATOMIC_REQUESTS around a view that reads."
        ),
    ),
    _rule(
        "use_replica",
        Reason.USE_REPLICA,
        title=_("A use_replica() block"),
        applies=_("It is inside use_replica(): any replica will do, however far behind."),
        passed=_("No use_replica() is the innermost block around it."),
    ),
    _rule(
        "instance",
        Reason.INSTANCE,
        title=_("Following an object"),
        applies=_("It follows an object that was read from the primary, and may be on no replica yet."),
        passed=_("It follows no object that was read from the primary."),
    ),
    _rule(
        "wrote_in_scope",
        Reason.WROTE_IN_SCOPE,
        title=_("Written in this request"),
        applies=_("This request, task or scope has written, and reads what it wrote."),
        passed=_("This request, task or scope has not written yet."),
    ),
    _rule(
        "outside",
        Reason.OUTSIDE_SCOPE,
        Reason.OUTSIDE_REPLICA,
        title=_("Outside any request"),
        applies=_("It is outside any request, task or scope: OUTSIDE_REQUEST is “%(outside_request)s”."),
        passed=_("It is inside a request, or a consistency() block says how fresh it has to be."),
    ),
    _rule(
        "unsafe_method",
        Reason.UNSAFE_METHOD,
        title=_("A method that may write"),
        applies=_("%(method)s may write, and what is read may decide what is written."),
        passed=_("%(method)s only reads, or a consistency() block says how fresh it has to be."),
    ),
    _rule(
        "primary",
        Reason.LEVEL_PRIMARY,
        title=_("Level “primary”"),
        applies=_("The level in force is “primary”."),
        passed=_("The level in force is “%(level)s”."),
    ),
    _rule(
        "eventual",
        Reason.EVENTUAL,
        title=_("Level “eventual”"),
        applies=_("The level in force is “eventual”: any replica will do, whatever the client wrote."),
        passed=_("The level in force is “%(level)s”."),
    ),
    _rule(
        "no_position",
        Reason.NO_POSITION,
        title=_("A level that nothing else keeps"),
        applies=_("The database tells no positions, and without them only the primary keeps “%(level)s”."),
        passed=_("“%(level)s” needs no positions, or has them, or falls back to “window”."),
    ),
    _rule(
        "bounded",
        Reason.BOUNDED,
        title=_("Level “bounded”"),
        applies=_("A replica will do that is known to be no more than %(max_staleness)s s behind."),
        passed=_("The level in force is “%(level)s”."),
    ),
    _rule(
        "strong",
        Reason.STRONG,
        title=_("Level “strong”"),
        applies=_("A replica will do that has all that the primary had when the request first asked."),
        passed=_("The level in force is “%(level)s”."),
    ),
    _rule(
        "pinned",
        Reason.PINNED,
        title=_("A client that wrote a moment ago"),
        applies=_(
            "The client wrote %(token_age)s s ago, and reads from the primary for %(pin_seconds)s s"
            " (PIN_SECONDS)."
        ),
        passed=_(
            "The client has not written in the last %(pin_seconds)s s (PIN_SECONDS), or its token says which"
            " position a replica must have reached."
        ),
    ),
    _rule(
        "causal",
        Reason.CAUSAL,
        title=_("Level “causal”"),
        applies=_(
            "A replica will do that has reached the position in the client's token, or, where that has the"
            " time alone, where the primary stood after it; any replica, if the client has not written."
        ),
        passed=_("The level in force is “%(level)s”%(fallback)s."),
    ),
    _rule(
        "window",
        Reason.WINDOW,
        title=_("Level “window”"),
        applies=_("A replica will do that is no more than %(max_lag)s s behind (MAX_LAG)."),
        passed=_("The level in force is “%(level)s”."),
    ),
)
"""In the order of the engine."""


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

    # With all replicas well it is the rule alone that decides.
    ideal = _World(question, _with_replicas(route), caught_up=True, unusable=()).run()
    hit = next(rule for rule in RULES if ideal.decision.reason in rule.reasons)
    unusable = health.unusable()
    outcome = _World(question, route, caught_up=True, unusable=unusable).run()
    behind = _World(question, route, caught_up=False, unusable=unusable).run()
    differs = behind.decision.reason is not outcome.decision.reason
    return Explanation(
        question,
        cluster.name,
        _level(question, cluster),
        _tell(rules, hit, facts),
        outcome,
        behind if differs else None,
    )


def _as_supposed(route: ModelRoute, question: Question) -> ModelRoute:
    """Return the model's route with the level that was asked for."""
    cluster = route.cluster
    settings = cluster.settings
    if question.level is not None and question.level is not Level.BOUNDED:
        settings = replace(settings, consistency=question.level)
    return ModelRoute(replace(cluster, settings=settings), question.model, route.fixed)


def _with_replicas(route: ModelRoute) -> ModelRoute:
    """Return the route with a replica in its cluster, if that has none."""
    cluster = route.cluster
    if cluster.replicas:
        return route
    settings = replace(cluster.settings, replicas=(ReplicaSettings(alias=""),))
    return ModelRoute(replace(cluster, settings=settings), route.model, route.fixed)


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


def _tell(rules: Sequence[_Rule], hit: _Rule, facts: dict[str, object]) -> tuple[Told, ...]:
    def each() -> Iterator[Told]:
        reached = True
        for rule in rules:
            if rule is hit:
                reached = False
                yield Told(rule.name, str(rule.title), RuleVerdict.APPLIES, str(rule.applies % facts))
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


class _First:
    """A balancer; which replica is drawn makes no difference to the reason."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        return replicas[0]


@dataclass(slots=True)
class _World:
    """What the engine is told of, for one question, where each step goes as supposed."""

    question: Question
    route: ModelRoute
    caught_up: bool
    """Whether replicas turn out to have what is asked of them."""
    unusable: Collection[str]
    opened: set[str] = field(default_factory=set)
    told: dict[str, None] = field(default_factory=dict)
    """The steps in words, each once."""

    def run(self) -> Outcome:
        """Ask the engine, suppose that the step was taken, and ask again until it has decided."""
        question = self.question
        cluster = self.route.cluster
        state = RoutingState(safe=question.method.upper() in SAFE_METHODS, outside=not question.method)
        if question.method:
            state.token = None
        scope = ClusterScope()
        scope.wrote = question.wrote
        scope.read_primary = question.from_primary
        block = self._block()
        switched_off = cluster.name in health.switched_off
        attempts = Attempts(unusable=self.unusable, switched_off=switched_off)
        watched = get_settings().monitor.mode == "thread"
        situation = Situation(
            transaction=self._transaction(),
            now=time.time(),
            balancer=_First(),
            opened=self.opened,
            positions=_has_positions(cluster),
            reached=lambda alias, _position: self.caught_up and alias in attempts.asked,
            staleness=lambda alias: 0.0 if self.caught_up and (watched or alias in attempts.asked) else inf,
            asked_lately=lambda _alias: watched,
            away=lambda: health.is_away(cluster.name),
        )
        instance_alias = cluster.primary if question.from_primary else None
        while True:
            verdict = route_read(self.route, state, scope, block, instance_alias, situation, attempts)
            if isinstance(verdict, Decision):
                meant = verdict.would_be or verdict.alias
                among = (verdict.alias,) if meant == cluster.primary else self._usable()
                return Outcome(verdict, among, tuple(self.told))
            self._take(verdict, state, scope, block, attempts, situation.now)

    def _usable(self) -> tuple[str, ...]:
        replicas = (replica.alias for replica in self.route.cluster.replicas)
        return tuple(alias for alias in replicas if alias not in self.unusable)

    def _transaction(self) -> Transaction:
        if self.question.in_transaction:
            return Transaction.BLOCK
        options = connections.settings[self.route.cluster.primary]
        around_views = options["ATOMIC_REQUESTS"] and self.question.method
        return Transaction.VIEW if around_views else Transaction.NONE

    def _block(self) -> Block | None:
        question = self.question
        if question.block in (BlockKind.PRIMARY, BlockKind.REPLICA):
            return Block(kind=question.block)
        if question.level is Level.BOUNDED:
            return Block(
                kind=BlockKind.CONSISTENCY, level=question.level, max_staleness=question.max_staleness
            )
        if question.block is BlockKind.CONSISTENCY:
            return Block(kind=question.block, level=self.route.cluster.settings.consistency)
        return None

    def _token(self, now: float) -> Token:
        age = self.question.token_age
        if age is None:
            return EMPTY
        cluster = self.route.cluster
        settings = cluster.settings
        wanted = _level(self.question, cluster) in NEEDS_POSITION or settings.monotonic_reads
        position: Any = _PLACE if wanted and _has_positions(cluster) else None
        lives = get_topology().lifetimes[cluster.name]
        mark = Mark(now - age, position).alive(lives, now)
        return EMPTY if mark is None else Token({cluster.name: mark})

    def _take(
        self,
        step: Step,
        state: RoutingState,
        scope: ClusterScope,
        block: Block | None,
        attempts: Attempts,
        now: float,
    ) -> None:
        """Suppose that the step was taken."""
        match step:
            case LoadToken():
                self._note(_("The client's token is looked at."))
                state.token = self._token(now)
            case Open(alias=alias, bound=bound):
                self._note(_("A replica is drawn, and its connection opened if it is not open yet."))
                self.opened.add(alias)
                if bound:
                    self._ask(alias, attempts)
            case AskReplica(alias=alias):
                self._ask(alias, attempts)
            case AskFloor():
                self._note(_("The primary is asked where it stands, once for the request or the block."))
                scope.floors[None if block is None else block.entry] = _PLACE
            case AskPrimary(at_most_old=seconds):
                if seconds:
                    text = _("The primary is asked where it stands, unless it was in the last %(seconds)s s.")
                    self._note(text % {"seconds": f"{seconds:g}"})
                else:
                    self._note(_("The primary is asked where it stands."))
                attempts.asked_primary, attempts.primary = True, _PLACE
            case Spill():
                text = _(
                    "The read takes one of %(limit)s places (SPILL_LIMIT) on the primary for reads that are"
                    " there because replicas lag; with none left, the replica that lags least answers."
                )
                self._note(text % {"limit": self.route.cluster.settings.spill_limit})
                attempts.spilled = True
            case WaitFor():
                seconds = self.route.cluster.settings.wait_timeout
                text = _(
                    "A replica is waited for, %(seconds)s s at most (WAIT_TIMEOUT); or not at all, if that"
                    " has not helped lately."
                )
                self._note(text % {"seconds": f"{seconds:g}"})
                attempts.waited = scope.gave_up = True

    def _ask(self, alias: str, attempts: Attempts) -> None:
        self._note(_("A replica is asked where it stands, unless that is known already."))
        attempts.asked.append(alias)

    def _note(self, text: _StrPromise | str) -> None:
        self.told.setdefault(str(text))
