"""The ladder: which replicas may answer a read that is bound to a position or to freshness.

Pure functions of the candidates and where they stand: each returns who may answer, or the one thing that has
to be found out first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from django_rwrouter.balancers import LAG_TIE
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.decision import Reason
from django_rwrouter.routing.pending_read import PendingRead
from django_rwrouter.routing.rules import TAKE_DELAYED, Demand
from django_rwrouter.routing.steps import (
    ASK_FLOOR,
    SPILL,
    AskPrimary,
    Draw,
    OnPrimary,
    Verdict,
    WaitFor,
)
from django_rwrouter.scope.token import Mark

MAX_ASKED: Final = 3
"""How many replicas one read may ask where they stand."""
CLOCK_MARGIN: Final = 2.0
"""Seconds by which the clocks of two hosts may differ. A write whose position is not known has a time by one
host's clock; a sample of the primary that was taken here less than that after it may lack the write."""


def narrowed(
    demand: Demand, settings: ClusterSettings, mark: Mark | None, *, shadow: bool, positions: bool
) -> Demand:
    """Return what is left of a demand that any replica may turn out to have: then nothing is looked up."""
    if shadow:  # Replicas are not asked anything; usually they have caught up.
        return Demand.ANY if demand in TAKE_DELAYED else Demand.TIMELY
    if demand is Demand.TOKEN and mark is None:
        return Demand.TIMELY
    if demand is Demand.RECENT and not positions:
        is_bound = mark is not None and mark.position is not None and settings.monotonic_reads
        return demand if is_bound else Demand.TIMELY
    return demand


def climb(demand: Demand, reason: Reason, read: PendingRead) -> Verdict:
    """Return who may answer a read that demands more than any replica has, or what is to be found out."""
    mark = read.mark
    if demand is Demand.LEVEL_WITH_PRIMARY:
        return _level_with_primary(reason, read)
    if demand is Demand.TOKEN and mark is not None and mark.uncovered_at:
        return _newer_than(mark.uncovered_at, reason, read)
    if not read.replicas:
        return no_replica(read.tried.forbidden)
    if demand is Demand.FRESH:
        return _fresh_enough(reason, read)
    if demand is Demand.RECENT and mark is not None and read.positions:
        return _recent_enough(mark, reason, read)
    if mark is None or mark.position is None:
        return _recent(reason, read)
    return _caught_up(mark.position, reason, read, mark.wrote_at)


def no_replica(forbidden: Collection[str]) -> OnPrimary:
    """Send a read to the primary for which there is no replica."""
    return OnPrimary(Reason.FORBIDDEN_IN_TEST if forbidden else Reason.NO_REPLICA)


def _recent_enough(mark: Mark, reason: Reason, read: PendingRead) -> Verdict:
    """Admit replicas within ``MAX_LAG``, and by ``MONOTONIC_READS`` those no older than what was seen."""
    verdict, settings = _recent(reason, read), read.standings.cluster.settings
    if not settings.monotonic_reads or not isinstance(verdict, Draw) or verdict.bound:
        return verdict  # Bound, it is a question.
    if verdict.reason is not Reason.DEGRADED:
        read = read.limited_to(read.standings.cluster.max_lag)
    if mark.blind_at:
        return _newer_than(mark.blind_at, verdict.reason, read)
    if mark.position is None:
        return verdict
    return _caught_up(mark.position, verdict.reason, read, mark.wrote_at)


def _newer_than(wrote_at: float, reason: Reason, read: PendingRead) -> Verdict:
    """Admit replicas that have reached where the primary stood after a write whose position is not known.

    Those that are known to have reached a sample of the primary that is safely newer than the write, or else
    where it stands now.
    """
    standings = read.standings
    limit = read.now - wrote_at - CLOCK_MARGIN
    position = None if read.mark is None else read.mark.position
    fresh = [
        replica
        for replica in read.replicas
        if standings.staleness(replica.alias) <= limit
        and (position is None or standings.reached(replica.alias, position))
    ]
    return Draw(fresh, reason, bound=True, identify=True) if fresh else _level_with_primary(reason, read)


def _level_with_primary(reason: Reason, read: PendingRead) -> Verdict:
    """Bind the read to where the primary stood when this request, or this block, first asked."""
    entry = None if read.block is None else read.block.entry
    floors = read.scope.floors
    if entry not in floors:
        return ASK_FLOOR
    floor = floors[entry]
    return OnPrimary(Reason.NO_POSITION) if floor is None else _caught_up(floor, reason, read)


def _caught_up(position: Any, reason: Reason, read: PendingRead, wrote_at: float | None = None) -> Verdict:
    """Go down the ladder: a replica known to have caught up, one that says so, one that soon will have.

    ``wrote_at`` is the time of the client's write, for a position that it brought.
    """
    if not read.replicas:
        return no_replica(read.tried.forbidden)
    ready = read.having(position)
    if ready:
        return Draw(ready, reason, bound=True, identify=True)
    if read.scope.gave_up:  # Not again for each query of a page.
        return OnPrimary(Reason.BEHIND)
    if (question := _ask_another(read.replicas, reason, read)) is not None:
        return question
    tried, standings = read.tried, read.standings
    if wrote_at is not None and read.now - wrote_at >= standings.cluster.settings.pin_seconds:
        # An old token that nobody satisfies may belong to a history that a failover has cut off. Then it
        # says nothing any more; numbers of two histories are never compared. The answer has to be newer than
        # the token, or its history would not be in it yet.
        if not tried.asked_primary:
            return AskPrimary(at_most_old=0.0)
        if tried.primary is not None and not tried.primary.covers(position):
            return _recent(Reason.WINDOW, read)
    if not tried.waited:
        return WaitFor(min(tried.asked, key=standings.staleness), position)
    return OnPrimary(Reason.BEHIND)


def _recent(reason: Reason, read: PendingRead) -> Verdict:
    """Admit replicas within ``MAX_LAG``, for a read that is bound to nothing.

    If none is, the primary answers a few of such reads at once, and a replica that lags the others: were all
    of them to go there, the primary would fall, too.
    """
    replicas, standings = read.replicas, read.standings
    if not read.positions:
        return Draw(replicas, reason)
    limit = standings.cluster.max_lag
    fresh = read.within(limit)
    if fresh and fresh[0] is read.kept:
        return Draw(fresh, reason, identify=True)
    if len(fresh) < len(replicas) and not read.tried.known_only:
        question = _look_for_more(fresh, limit, reason, read)
        if question is not None:
            return question
    if fresh:
        return Draw(fresh, reason, identify=True)
    if not standings.away():
        if read.tried.spilled is None:
            return SPILL
        if read.tried.spilled:
            return OnPrimary(Reason.SPILLED)
    ages = {replica.alias: standings.staleness(replica.alias) for replica in replicas}
    least = min(ages.values())
    nearest = [replica for replica in replicas if ages[replica.alias] <= least + LAG_TIE]
    return Draw(nearest, Reason.DEGRADED, identify=True)


def _look_for_more(
    fresh: Collection[ReplicaSettings], limit: float, reason: Reason, read: PendingRead
) -> Verdict | None:
    """Ask a replica that nobody has asked lately, if it is its turn: where no monitor asks its server.

    If the fresh ones answered alone, they would go on doing so for ever.
    """
    tried, standings = read.tried, read.standings
    if standings.away() or (fresh and tried.asked):
        return None
    unknown = [
        replica
        for replica in read.replicas
        if replica not in fresh and not standings.asked_lately(replica.alias)
    ]
    if not unknown or (tried.asked_primary and tried.primary is None):
        return None
    if fresh:
        among = [replica for replica in read.replicas if replica in fresh or replica in unknown]
        return Draw(among, reason, identify=True, to_ask=unknown)
    if not tried.asked_primary:
        return AskPrimary(at_most_old=limit)
    return _ask_another(unknown, reason, read)


def _fresh_enough(reason: Reason, read: PendingRead) -> Verdict:
    """Admit replicas known to be no older than the bound."""
    limit = 0.0 if read.block is None else read.block.max_staleness
    fresh = read.within(limit)
    if fresh:
        return Draw(fresh, reason, bound=True, identify=True)
    if not read.tried.asked_primary:
        return AskPrimary(at_most_old=limit)
    if read.tried.primary is None:
        return OnPrimary(Reason.NO_POSITION)
    return _ask_another(read.replicas, reason, read) or OnPrimary(Reason.BEHIND)


def _ask_another(replicas: Sequence[ReplicaSettings], reason: Reason, read: PendingRead) -> Draw | None:
    """Ask a replica that was not asked yet, the scope's own first; ``None`` after a few of them."""
    asked = read.tried.asked
    left = [replica for replica in replicas if replica.alias not in asked]
    if not left or len(asked) >= MAX_ASKED:
        return None
    return Draw(left, reason, bound=True, identify=True, to_ask=left)
