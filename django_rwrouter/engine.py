"""The one place that decides where a read goes.

Pure: it looks at what it is given, and returns a decision or the next step to take. The caller takes the
step and asks again. No SQL, no request, no global state is touched here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from django_rwrouter.balancers import Balancer
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.options import ReplicaSettings
from django_rwrouter.state import Block, BlockKind, ClusterScope, RoutingState
from django_rwrouter.token import Mark
from django_rwrouter.topology import ModelRoute


class Transaction(Enum):
    """What is open on the primary's connection."""

    NONE = "none"
    VIEW = "view"
    """Only the block that ``ATOMIC_REQUESTS`` put around the running view."""
    BLOCK = "block"


# --- the next steps ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadToken:
    """Look at what the client brought."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the connection of the replica that was drawn."""

    alias: str
    reason: Reason
    """Why a replica may answer; the reason of the decision if nothing else is asked of it."""
    bound: bool = False
    """Whether the read is bound to a position, so that it matters which server is reached and where it is."""
    identify: bool = False
    """Whether to ask a new connection which server it has reached, if there is time for it."""


@dataclass(frozen=True, slots=True)
class AskFloor:
    """Ask the primary where it stands, for all reads of the request or the block that are bound to that."""


@dataclass(frozen=True, slots=True)
class AskPrimary:
    """Ask the primary where it stands."""

    at_most_old: float
    """Seconds; an answer that was given so recently will do."""


@dataclass(frozen=True, slots=True)
class AskReplica:
    """Ask an open replica where it stands."""

    alias: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Let an open replica wait until it has replayed a position."""

    alias: str
    position: Any


@dataclass(frozen=True, slots=True)
class Spill:
    """Take one of the few places on the primary for reads that are there because replicas lag."""


Step = LoadToken | Open | AskFloor | AskPrimary | AskReplica | WaitFor | Spill
Verdict = Decision | Step

LOAD_TOKEN: Final = LoadToken()
ASK_FLOOR: Final = AskFloor()
SPILL: Final = Spill()


@dataclass(slots=True)
class Attempts:
    """What was tried for one read; the caller notes here how each step went."""

    unusable: Collection[str] = ()
    """Replicas that failed lately."""
    known_only: bool = False
    """Whether there is no time to ask anybody anything."""
    switched_off: bool = False
    """Whether the cluster's kill switch was thrown while the site runs."""
    forbidden: set[str] = field(default_factory=set)
    """Replicas that the running test keeps from us."""
    asked: list[str] = field(default_factory=list)
    """Replicas that were asked where they stand."""
    waited: bool = False
    """Whether it was waited for, as far as anybody may wait."""
    asked_primary: bool = False
    primary: Any = None
    """Where the primary stands, if it was asked and has answered."""
    spilled: bool | None = None
    """Whether there was a place on the primary for a read that is there because replicas lag."""


def _no(_alias: str = "") -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class Situation:
    """What the engine has to know of the world around one read."""

    transaction: Transaction = Transaction.NONE
    now: float = 0.0
    """Unix time."""
    balancer: Balancer
    opened: Container[str]
    """Replicas whose connection is known to be open."""
    positions: bool
    """Whether the database has positions at all, and tells them."""
    reached: Callable[[str, Any], bool]
    """Whether a replica is known to have replayed a position."""
    staleness: Callable[[str], float]
    """By how many seconds a replica is behind at most."""
    asked_lately: Callable[[str], bool] = _no
    """Whether a replica has said so recently where it stands that it need not be asked again."""
    watched: Callable[[], bool] = _no
    """Whether a monitor samples all servers, so that no read has to ask."""
    away: Callable[[], bool] = _no
    """Whether the primary has not answered lately."""


UNCONDITIONAL: Final = frozenset(
    {Reason.DISABLED, Reason.PRIMARY_ONLY, Reason.MIGRATION, Reason.FORBIDDEN_IN_TEST}
)
"""Reasons that hold whatever the code asks for: ``strict=True`` does not object, and they tell nothing about
the reads that follow."""
NEEDS_POSITION: Final = frozenset({Level.CAUSAL, Level.STRONG, Level.BOUNDED})
UNTRIED: Final = Attempts()
"""Where every read begins; the caller makes one of its own before it notes anything."""
MAX_ASKED: Final = 3
"""How many replicas one read may ask where they stand."""
CLOCK_MARGIN: Final = 2.0
"""Seconds by which the clocks of two hosts may differ. A write whose position is not known has a time by one
host's clock; a sample of the primary that was taken here less than that after it may lack the write."""
LAG_TIE: Final = 0.1
"""Seconds of difference in lag that do not make one replica better than another."""


def route_read(  # noqa: C901, PLR0912  (the rules are one list, read from top to bottom)
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    instance_alias: str | None,
    situation: Situation,
    attempts: Attempts,
) -> Verdict:
    """Apply the rules to one read of a model of ours; the first that fits decides.

    ``instance_alias`` is the database of the object that the read follows.
    """
    cluster = route.cluster
    settings = cluster.settings
    primary = cluster.primary
    kind = None if block is None else block.kind

    # Always the primary, whatever the code says.
    if not cluster.enabled or attempts.switched_off:
        return route.decide(primary, Reason.DISABLED)
    if route.fixed is not None:
        return route.decide(primary, route.fixed)
    if state.loading:
        return route.decide(primary, Reason.PRIMARY_ONLY)
    if kind is BlockKind.PRIMARY:
        return route.decide(primary, Reason.USE_PRIMARY)

    # A transaction reads its own writes, and what it reads decides what it writes. A view's own transaction
    # counts only from its first write on (then the scope has written, see below), or if it may write.
    transaction = situation.transaction
    if transaction is Transaction.BLOCK or (transaction is Transaction.VIEW and not state.safe):
        return route.decide(primary, Reason.IN_TRANSACTION)

    if kind is BlockKind.REPLICA:
        return _draw(route, scope, Reason.USE_REPLICA, situation, attempts)

    # What this scope has seen or done on the primary, it must be able to follow there.
    if instance_alias == primary and (scope.read_primary or scope.wrote):
        return route.decide(primary, Reason.INSTANCE)
    if scope.wrote:
        return route.decide(primary, Reason.WROTE_IN_SCOPE)

    # Code that may write reads the primary, unless it says how fresh its reads must be.
    level = settings.consistency
    outside = False
    if block is not None and block.level is not None:
        level = block.level
    elif state.outside:
        if settings.outside_request == "primary":
            return route.decide(primary, Reason.OUTSIDE_SCOPE)
        outside = True
    elif not state.safe:
        return route.decide(primary, Reason.UNSAFE_METHOD)

    if level is Level.PRIMARY:
        return route.decide(primary, Reason.LEVEL_PRIMARY)
    if level is Level.EVENTUAL:
        reason = Reason.OUTSIDE_REPLICA if outside else Reason.EVENTUAL
        return _draw(route, scope, reason, situation, attempts)
    if level in (Level.BOUNDED, Level.STRONG) and not situation.positions:
        return route.decide(primary, Reason.NO_POSITION)  # Nothing else keeps what they promise.
    if level is Level.BOUNDED:
        limit = 0.0 if block is None else block.max_staleness
        return _fresh_enough(route, scope, limit, situation, attempts)
    if level is Level.STRONG:
        return _level_with_primary(route, scope, Reason.STRONG, block, situation, attempts)
    if state.token is None:
        return LOAD_TOKEN
    mark = state.token.marks.get(cluster.name)

    # "causal" and "window" differ in which writes pin the client by time alone: those that have no position,
    # or all of them. A token with a position shows that the database has some.
    placed = mark is not None and mark.position is not None
    causal = level is Level.CAUSAL and (situation.positions or placed)
    reason = Reason.CAUSAL if causal else Reason.WINDOW
    if outside:
        reason = Reason.OUTSIDE_REPLICA
    if mark is None:
        if causal:  # Nothing that it must have reached.
            return _draw(route, scope, reason, situation, attempts)
        return _recent(route, scope, reason, situation, attempts)
    pinned_at = mark.uncovered_at if causal else mark.wrote_at
    if situation.now - pinned_at < settings.pin_seconds:
        return route.decide(primary, Reason.PINNED)
    if causal and pinned_at:
        return _newer_than(route, scope, reason, pinned_at, mark, block, situation, attempts)
    if mark.position is None or not (causal or settings.monotonic_reads):
        return _recent(route, scope, reason, situation, attempts)
    return _caught_up(route, scope, reason, mark.position, mark, situation, attempts)


def _newer_than(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    wrote_at: float,
    mark: Mark,
    block: Block | None,
    situation: Situation,
    attempts: Attempts,
) -> Verdict:
    """Admit replicas that have reached where the primary stood after a write whose position is not known.

    Those that are known to have reached a sample of the primary that is safely newer than the write, or else
    where it stands now.
    """
    limit = situation.now - wrote_at - CLOCK_MARGIN
    fresh = [
        replica
        for replica in _usable(route, attempts)
        if situation.staleness(replica.alias) <= limit
        and (mark.position is None or situation.reached(replica.alias, mark.position))
    ]
    if fresh:
        return _draw(route, scope, reason, situation, attempts, fresh)
    return _level_with_primary(route, scope, reason, block, situation, attempts)


def _level_with_primary(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    block: Block | None,
    situation: Situation,
    attempts: Attempts,
) -> Verdict:
    """Bind the read to where the primary stood when this request, or this block, first asked."""
    if route.cluster.shadow:
        return _draw(route, scope, reason, situation, attempts)
    entry = None if block is None else block.entry
    if entry not in scope.floors:
        return ASK_FLOOR
    floor = scope.floors[entry]
    if floor is None:
        return route.decide(route.cluster.primary, Reason.NO_POSITION)
    return _caught_up(route, scope, reason, floor, None, situation, attempts)


def _caught_up(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    position: Any,
    mark: Mark | None,
    situation: Situation,
    attempts: Attempts,
) -> Verdict:
    """Go down the ladder: a replica known to have caught up, one that says so, one that soon will have.

    ``mark`` is the client's, for a position that it brought.
    """
    usable = _usable(route, attempts)
    if not usable:
        return _no_replica(route, attempts)
    if route.cluster.shadow:  # Replicas are not asked anything; usually they have caught up.
        return _draw(route, scope, reason, situation, attempts)
    ready = [replica for replica in usable if situation.reached(replica.alias, position)]
    if ready:
        return _draw(route, scope, reason, situation, attempts, ready)
    if scope.gave_up:  # Not again for each query of a page.
        return route.decide(route.cluster.primary, Reason.BEHIND)
    if question := _ask_another(route, scope, reason, usable, situation, attempts):
        return question
    if mark is not None and situation.now - mark.wrote_at >= route.cluster.settings.pin_seconds:
        # An old token that nobody satisfies may belong to a history that a failover has cut off. Then it
        # says nothing any more; numbers of two histories are never compared. The answer has to be newer than
        # the token, or its history would not be in it yet.
        if not attempts.asked_primary:
            return AskPrimary(at_most_old=0.0)
        if attempts.primary is not None and not attempts.primary.covers(position):
            return _recent(route, scope, Reason.WINDOW, situation, attempts)
    if not attempts.waited:
        return WaitFor(min(attempts.asked, key=situation.staleness), position)
    return route.decide(route.cluster.primary, Reason.BEHIND)


def _recent(
    route: ModelRoute, scope: ClusterScope, reason: Reason, situation: Situation, attempts: Attempts
) -> Verdict:
    """Admit replicas within ``MAX_LAG``, for a read that is bound to nothing.

    If none is, the primary answers a few of such reads at once, and a replica that lags the others: were all
    of them to go there, the primary would fall, too.
    """
    settings = route.cluster.settings
    if not situation.positions or route.cluster.shadow:
        return _draw(route, scope, reason, situation, attempts)
    usable = _usable(route, attempts)
    if not usable:
        return _no_replica(route, attempts)
    limit = settings.pin_seconds if settings.max_lag is None else settings.max_lag
    fresh = [replica for replica in usable if situation.staleness(replica.alias) <= limit]
    if len(fresh) < len(usable) and not attempts.known_only and not situation.watched():
        question = _look_for_more(route, scope, reason, usable, fresh, limit, situation, attempts)
        if question is not None:
            return question
    if fresh:
        return _draw(route, scope, reason, situation, attempts, fresh, bound=False)
    if not situation.away():
        if attempts.spilled is None:
            return SPILL
        if attempts.spilled:
            return route.decide(route.cluster.primary, Reason.SPILLED)
    least = min(situation.staleness(replica.alias) for replica in usable)
    nearest = [replica for replica in usable if situation.staleness(replica.alias) <= least + LAG_TIE]
    return _draw(route, scope, Reason.DEGRADED, situation, attempts, nearest or usable, bound=False)


def _look_for_more(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    usable: Collection[ReplicaSettings],
    fresh: Collection[ReplicaSettings],
    limit: float,
    situation: Situation,
    attempts: Attempts,
) -> Step | None:
    """Ask a replica that nobody has asked lately, if it is its turn: where no monitor does so.

    If the known ones answered alone, they would go on doing so for ever.
    """
    if situation.away() or (fresh and attempts.asked):
        return None
    unknown = [
        replica for replica in usable if replica not in fresh and not situation.asked_lately(replica.alias)
    ]
    if not unknown:
        return None
    if fresh:
        candidates = [replica for replica in usable if replica in fresh or replica in unknown]
        drawn = _choose(route, scope, situation, candidates)
        unknown = [replica for replica in unknown if replica.alias == drawn]
        if not unknown:
            return None
    if not attempts.asked_primary:
        return AskPrimary(at_most_old=limit)
    if attempts.primary is None:
        return None
    return _ask_another(route, scope, reason, unknown, situation, attempts)


def _fresh_enough(
    route: ModelRoute, scope: ClusterScope, limit: float, situation: Situation, attempts: Attempts
) -> Verdict:
    """Admit replicas known to be no older than ``limit`` seconds."""
    usable = _usable(route, attempts)
    if not usable:
        return _no_replica(route, attempts)
    if route.cluster.shadow:
        return _draw(route, scope, Reason.BOUNDED, situation, attempts)
    fresh = [replica for replica in usable if situation.staleness(replica.alias) <= limit]
    if fresh:
        return _draw(route, scope, Reason.BOUNDED, situation, attempts, fresh)
    if not attempts.asked_primary:
        return AskPrimary(at_most_old=limit)
    if attempts.primary is None:
        return route.decide(route.cluster.primary, Reason.NO_POSITION)
    question = _ask_another(route, scope, Reason.BOUNDED, usable, situation, attempts)
    return question or route.decide(route.cluster.primary, Reason.BEHIND)


def _ask_another(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    usable: Collection[ReplicaSettings],
    situation: Situation,
    attempts: Attempts,
) -> Step | None:
    """Ask a replica that was not asked yet, the scope's own first; ``None`` after a few of them."""
    left = [replica for replica in usable if replica.alias not in attempts.asked]
    if not left or len(attempts.asked) >= MAX_ASKED:
        return None
    alias = _choose(route, scope, situation, left)
    if alias in situation.opened:
        return AskReplica(alias)
    return Open(alias, reason, bound=True, identify=True)


def _usable(route: ModelRoute, attempts: Attempts) -> Collection[ReplicaSettings]:
    replicas = route.cluster.replicas
    if not attempts.unusable and not attempts.forbidden:
        return replicas
    return [
        replica
        for replica in replicas
        if replica.alias not in attempts.unusable and replica.alias not in attempts.forbidden
    ]


def _no_replica(route: ModelRoute, attempts: Attempts) -> Decision:
    blame = Reason.FORBIDDEN_IN_TEST if attempts.forbidden else Reason.NO_REPLICA
    return route.decide(route.cluster.primary, blame)


def _choose(
    route: ModelRoute, scope: ClusterScope, situation: Situation, among: Collection[ReplicaSettings]
) -> str:
    """Return the replica that the whole scope uses, or draw one."""
    if scope.replica is not None and route.cluster.keeps_replica:
        for replica in among:
            if replica.alias == scope.replica:
                return scope.replica
    return situation.balancer.choose(tuple(among)).alias


def _draw(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    situation: Situation,
    attempts: Attempts,
    among: Collection[ReplicaSettings] | None = None,
    *,
    bound: bool = True,
) -> Verdict:
    """Draw a replica of those that may answer: ``among`` them, if it matters where they stand.

    ``bound`` tells whether a new connection may only be used when its server was asked.
    """
    cluster = route.cluster
    candidates = _usable(route, attempts) if among is None else among
    if not candidates:
        return _no_replica(route, attempts)
    alias = _choose(route, scope, situation, candidates)
    if cluster.shadow:
        return route.decide(cluster.primary, reason, would_be=alias)
    if alias in situation.opened:
        return route.decide(alias, reason)
    by_position = among is not None
    return Open(alias, reason, bound=by_position and bound, identify=by_position)
