"""The ladder: which replica may answer a read that is bound to a position or to freshness."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django_rwrouter.conf.clusters import ModelRoute
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.scope.state import Block, ClusterScope
from django_rwrouter.scope.token import Mark
from tests.unit.routing.previous.steps import (
    ASK_FLOOR,
    SPILL,
    AskPrimary,
    AskReplica,
    Attempts,
    Open,
    Situation,
    Step,
    Verdict,
    WaitFor,
)

MAX_ASKED: Final = 3
"""How many replicas one read may ask where they stand."""
CLOCK_MARGIN: Final = 2.0
"""Seconds by which the clocks of two hosts may differ. A write whose position is not known has a time by one
host's clock; a sample of the primary that was taken here less than that after it may lack the write."""
LAG_TIE: Final = 0.1
"""Seconds of difference in lag that do not make one replica better than another."""


def newer_than(
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
        return draw(route, scope, reason, situation, attempts, fresh)
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
        return draw(route, scope, reason, situation, attempts)
    entry = None if block is None else block.entry
    if entry not in scope.floors:
        return ASK_FLOOR
    floor = scope.floors[entry]
    if floor is None:
        return route.decide(route.cluster.primary, Reason.NO_POSITION)
    return caught_up(route, scope, reason, floor, None, situation, attempts)


def caught_up(
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
        return draw(route, scope, reason, situation, attempts)
    ready = [replica for replica in usable if situation.reached(replica.alias, position)]
    if ready:
        return draw(route, scope, reason, situation, attempts, ready)
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
            return recent(route, scope, Reason.WINDOW, situation, attempts)
    if not attempts.waited:
        return WaitFor(min(attempts.asked, key=situation.staleness), position)
    return route.decide(route.cluster.primary, Reason.BEHIND)


def recent(
    route: ModelRoute, scope: ClusterScope, reason: Reason, situation: Situation, attempts: Attempts
) -> Verdict:
    """Admit replicas within ``MAX_LAG``, for a read that is bound to nothing.

    If none is, the primary answers a few of such reads at once, and a replica that lags the others: were all
    of them to go there, the primary would fall, too.
    """
    settings = route.cluster.settings
    if not situation.positions or route.cluster.shadow:
        return draw(route, scope, reason, situation, attempts)
    usable = _usable(route, attempts)
    if not usable:
        return _no_replica(route, attempts)
    limit = settings.pin_seconds if settings.max_lag is None else settings.max_lag
    fresh = [replica for replica in usable if situation.staleness(replica.alias) <= limit]
    if len(fresh) < len(usable) and not attempts.known_only:
        question = _look_for_more(route, scope, reason, usable, fresh, limit, situation, attempts)
        if question is not None:
            return question
    if fresh:
        return draw(route, scope, reason, situation, attempts, fresh, bound=False)
    if not situation.away():
        if attempts.spilled is None:
            return SPILL
        if attempts.spilled:
            return route.decide(route.cluster.primary, Reason.SPILLED)
    least = min(situation.staleness(replica.alias) for replica in usable)
    nearest = [replica for replica in usable if situation.staleness(replica.alias) <= least + LAG_TIE]
    return draw(route, scope, Reason.DEGRADED, situation, attempts, nearest or usable, bound=False)


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
    """Ask a replica that nobody has asked lately, if it is its turn: where no monitor asks its server.

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


def fresh_enough(
    route: ModelRoute, scope: ClusterScope, limit: float, situation: Situation, attempts: Attempts
) -> Verdict:
    """Admit replicas known to be no older than ``limit`` seconds."""
    usable = _usable(route, attempts, delayed=True)
    if not usable:
        return _no_replica(route, attempts)
    if route.cluster.shadow:
        return draw(route, scope, Reason.BOUNDED, situation, attempts, delayed=True)
    fresh = [replica for replica in usable if situation.staleness(replica.alias) <= limit]
    if fresh:
        return draw(route, scope, Reason.BOUNDED, situation, attempts, fresh)
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


def _usable(route: ModelRoute, attempts: Attempts, *, delayed: bool = False) -> Collection[ReplicaSettings]:
    """Return the replicas that may be asked; those that are late on purpose only if ``delayed``."""
    replicas = route.replicas if delayed else route.timely_replicas
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


def draw(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    situation: Situation,
    attempts: Attempts,
    among: Collection[ReplicaSettings] | None = None,
    *,
    bound: bool = True,
    delayed: bool = False,
) -> Verdict:
    """Draw a replica of those that may answer: ``among`` them, if it matters where they stand.

    ``bound`` tells whether a new connection may only be used when its server was asked; ``delayed``, whether
    a replica that is late on purpose will do.
    """
    cluster = route.cluster
    candidates = _usable(route, attempts, delayed=delayed) if among is None else among
    if not candidates:
        return _no_replica(route, attempts)
    alias = _choose(route, scope, situation, candidates)
    if cluster.shadow:
        return route.decide(cluster.primary, reason, would_be=alias)
    if alias in situation.opened:
        return route.decide(alias, reason)
    by_position = among is not None
    return Open(alias, reason, bound=by_position and bound, identify=by_position)
