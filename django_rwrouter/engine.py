"""The one place that decides where a read goes.

Pure: it looks at what it is given, and returns a decision or the next step to take. The caller takes the
step and asks again. No SQL, no request, no global state is touched here.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

from django_rwrouter.balancers import Balancer
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.state import Block, BlockKind, ClusterScope, RoutingState
from django_rwrouter.topology import ModelRoute


class Transaction(Enum):
    """What is open on the primary's connection."""

    NONE = "none"
    VIEW = "view"
    """Only the block that ``ATOMIC_REQUESTS`` put around the running view."""
    BLOCK = "block"


class LoadToken(Enum):
    """The next step: look at what the client brought."""

    STEP = "load"


@dataclass(frozen=True, slots=True)
class Open:
    """The next step: open the connection of the replica that was drawn."""

    alias: str
    reason: Reason
    """Why a replica may answer; the reason of the decision if it opens."""


LOAD_TOKEN: Final = LoadToken.STEP

Verdict = Decision | LoadToken | Open

UNCONDITIONAL: Final = frozenset(
    {Reason.DISABLED, Reason.PRIMARY_ONLY, Reason.MIGRATION, Reason.FORBIDDEN_IN_TEST}
)
"""Reasons that hold whatever the code asks for: ``strict=True`` does not object, and they tell nothing about
the reads that follow."""


def route_read(  # noqa: C901, PLR0912  (the rules are one list, read from top to bottom)
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    *,
    instance_alias: str | None,
    transaction: Transaction,
    balancer: Balancer,
    opened: Container[str],
    unusable: Collection[str],
    forbidden: Collection[str],
    now: float,
) -> Verdict:
    """Apply the rules to one read of a model of ours; the first that fits decides.

    ``instance_alias`` is the database of the object that the read follows; ``opened`` has the replicas
    whose connection is known to be open, ``unusable`` those that failed lately, ``forbidden`` those that the
    running test keeps from us; ``now`` is Unix time.
    """
    cluster = route.cluster
    primary = cluster.primary
    kind = None if block is None else block.kind

    # Always the primary, whatever the code says.
    if not cluster.enabled:
        return route.decide(primary, Reason.DISABLED)
    if route.fixed is not None:
        return route.decide(primary, route.fixed)
    if state.loading:
        return route.decide(primary, Reason.PRIMARY_ONLY)
    if kind is BlockKind.PRIMARY:
        return route.decide(primary, Reason.USE_PRIMARY)

    # A transaction reads its own writes, and what it reads decides what it writes. A view's own transaction
    # counts only from its first write on (then the scope has written, see below), or if it may write.
    if transaction is Transaction.BLOCK or (transaction is Transaction.VIEW and not state.safe):
        return route.decide(primary, Reason.IN_TRANSACTION)

    if kind is BlockKind.REPLICA:
        return _draw(route, scope, Reason.USE_REPLICA, balancer, opened, unusable, forbidden)

    # What this scope has seen or done on the primary, it must be able to follow there.
    if instance_alias == primary and (scope.read_primary or scope.wrote):
        return route.decide(primary, Reason.INSTANCE)
    if scope.wrote:
        return route.decide(primary, Reason.WROTE_IN_SCOPE)

    # Code that may write reads the primary, unless it says how fresh its reads must be.
    level = cluster.settings.consistency
    outside = False
    if block is not None and block.level is not None:
        level = block.level
    elif state.outside:
        if cluster.settings.outside_request == "primary":
            return route.decide(primary, Reason.OUTSIDE_SCOPE)
        outside = True
    elif not state.safe:
        return route.decide(primary, Reason.UNSAFE_METHOD)

    if level is Level.PRIMARY:
        return route.decide(primary, Reason.LEVEL_PRIMARY)
    reason = Reason.EVENTUAL
    if level is Level.WINDOW:
        if state.token is None:
            return LOAD_TOKEN
        if state.token.age(cluster.name, now) < cluster.settings.pin_seconds:
            return route.decide(primary, Reason.PINNED)
        reason = Reason.WINDOW
    if outside:
        reason = Reason.OUTSIDE_REPLICA
    return _draw(route, scope, reason, balancer, opened, unusable, forbidden)


def _draw(
    route: ModelRoute,
    scope: ClusterScope,
    reason: Reason,
    balancer: Balancer,
    opened: Container[str],
    unusable: Collection[str],
    forbidden: Collection[str],
) -> Verdict:
    """Draw a replica of those that may answer."""
    cluster = route.cluster
    kept = scope.replica if cluster.settings.replica_per == "request" else None
    if kept is not None and kept not in unusable:
        alias = kept
    else:
        candidates = cluster.replicas
        if unusable or forbidden:
            candidates = tuple(
                replica
                for replica in candidates
                if replica.alias not in unusable and replica.alias not in forbidden
            )
        if not candidates:
            blame = Reason.FORBIDDEN_IN_TEST if forbidden else Reason.NO_REPLICA
            return route.decide(cluster.primary, blame)
        alias = balancer.choose(candidates).alias
    if cluster.shadow:
        return route.decide(cluster.primary, reason, would_be=alias)
    if alias in opened:
        return route.decide(alias, reason)
    return Open(alias, reason)
