"""The rules: where one read goes. Pure functions of what they are given."""

from __future__ import annotations

from typing import Final

from django_rwrouter.conf.clusters import ModelRoute
from django_rwrouter.decision import Level, Reason
from django_rwrouter.scope.state import Block, BlockKind, ClusterScope, RoutingState
from tests.unit.routing.previous.ladder import (
    _level_with_primary,
    caught_up,
    draw,
    fresh_enough,
    newer_than,
    recent,
)
from tests.unit.routing.previous.steps import LOAD_TOKEN, Attempts, Situation, Transaction, Verdict

UNCONDITIONAL: Final = frozenset(
    {Reason.DISABLED, Reason.PRIMARY_ONLY, Reason.MIGRATION, Reason.FORBIDDEN_IN_TEST}
)
"""Reasons that hold whatever the code asks for: ``strict=True`` does not object, and they tell nothing about
the reads that follow."""
NEEDS_POSITION: Final = frozenset({Level.CAUSAL, Level.STRONG, Level.BOUNDED})


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
        return draw(route, scope, Reason.USE_REPLICA, situation, attempts)

    # What this scope has seen or done on the primary, it must be able to follow there.
    if instance_alias == primary and (scope.read_primary or scope.wrote):
        return route.decide(primary, Reason.INSTANCE)
    if scope.wrote or scope.read_to_write:
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
        return draw(route, scope, reason, situation, attempts, delayed=True)
    if level in (Level.BOUNDED, Level.STRONG) and not situation.positions:
        return route.decide(primary, Reason.NO_POSITION)  # Nothing else keeps what they promise.
    if level is Level.BOUNDED:
        limit = 0.0 if block is None else block.max_staleness
        return fresh_enough(route, scope, limit, situation, attempts)
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
            return draw(route, scope, reason, situation, attempts)
        return recent(route, scope, reason, situation, attempts)
    pinned_at = mark.uncovered_at if causal else mark.wrote_at
    if situation.now - pinned_at < settings.pin_seconds:
        return route.decide(primary, Reason.PINNED)
    if causal and pinned_at:
        return newer_than(route, scope, reason, pinned_at, mark, block, situation, attempts)
    if mark.position is None or not (causal or settings.monotonic_reads):
        return recent(route, scope, reason, situation, attempts)
    return caught_up(route, scope, reason, mark.position, mark, situation, attempts)
