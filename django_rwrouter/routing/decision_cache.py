"""Decisions that hold for a while: most reads of a request or a script are decided like the one before.

What the engine has decided for a model stays right until something changes that it rests on: a write, a
block, a transaction, another thread or connection, the health of a server, the settings, or time. To see that
nothing has costs less than to decide again; whatever is in doubt is decided again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import ModelRoute, get_topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.routing.bound_alias import BoundAlias, alias_to_write, is_generic
from django_rwrouter.routing.decide import decide
from django_rwrouter.routing.opening import is_forbidden
from django_rwrouter.routing.pending_read import PendingRead, begin_read, standings_of
from django_rwrouter.scope.context import current_state, in_force
from django_rwrouter.scope.generators import GeneratorRegions
from django_rwrouter.scope.state import THREAD, RoutingState, running_loop
from django_rwrouter.servers.health import health

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

LASTING: Final = frozenset(
    {
        Reason.DISABLED,
        Reason.USE_PRIMARY,
        Reason.IN_TRANSACTION,
        Reason.WROTE_IN_SCOPE,
        Reason.UNSAFE_METHOD,
        Reason.OUTSIDE_SCOPE,
        Reason.LEVEL_PRIMARY,
        Reason.NO_POSITION,
        Reason.USE_REPLICA,
        Reason.EVENTUAL,
        Reason.CAUSAL,
        Reason.STRONG,
    }
)
"""Reasons that hold until something happens."""
AGEING: Final = frozenset({Reason.PINNED, Reason.WINDOW, Reason.BOUNDED})
"""Reasons that hold until something happens, or for a time."""


@dataclass(slots=True, eq=False)
class Basis:
    """What a decision rests on, in one scope and thread."""

    alias: str
    announced: dict[str, Decision]
    """Where a read is announced to the statement that follows."""
    block: object
    """The innermost, of whatever cluster."""
    thread: int
    """Its number. It may be used again when the thread has ended, and :func:`_forget_thread` was called."""
    primary: BaseDatabaseWrapper
    in_atomic_block: bool
    autocommit: bool
    """These two as they were on the primary's connection."""
    connection: Any
    """The one to be used."""
    is_pinged: bool
    """Whether ``CONN_HEALTH_CHECKS`` wants it pinged once in each request."""
    in_test: bool
    """Whether tests run: a test case of Django's may forbid the use of that connection."""
    opened: Any
    """The driver's connection in it."""
    version: int
    """That of :attr:`Health.version`."""
    until: float
    """Monotonic seconds."""
    end_of_thread: object
    """Has it forgotten when the thread ends, whose connections it holds: a reference to its life."""


Settled = tuple[Decision, str, Basis]
"""A decision for all reads of one model, the model's table, and what the decision rests on."""


def route_read(model: type[Model] | Model, instance: Model | None = None, **_hints: object) -> str | None:
    """Return the alias to read a model from, and announce the read to its statement.

    On the path of every read: plain attributes, no calls but the cheapest, and the clock only if it matters.
    """
    now = in_force()
    state = now.state or THREAD.outside
    decisions = state.settled
    settled: Settled | None
    try:
        settled, is_first = decisions[model], False
    except (KeyError, TypeError):  # An object in place of its class may have no hash.
        settled, is_first = _as_another(model, decisions) if decisions else None, True
    if settled is not None:
        decision, table, basis = settled
        primary, connection = basis.primary, basis.connection
        if (
            (instance is None or (connection is not primary and _came_from(basis.alias, instance)))
            and now.block is basis.block
            and get_ident() == basis.thread
            and primary.in_atomic_block is basis.in_atomic_block
            and primary.autocommit is basis.autocommit
            and connection.connection is basis.opened
            and (not basis.is_pinged or connection.health_check_done)
            and (not basis.in_test or not is_forbidden(connection))
            and health.version == basis.version
            and (basis.until is inf or monotonic() < basis.until)
        ):
            basis.announced[table] = decision
            if is_first:
                decisions[decision.model] = settled
                if not decision.reason.on_primary:
                    state.routed_reads[basis.alias, table] = decision
            return basis.alias
    route = get_topology().route(model)
    decided = None if route is None else decide_read(route, instance)
    if decided is None:
        return None
    if instance is None or not is_generic(instance, decided.model):
        return decided.alias
    if not decided.reason.on_primary:
        current_state().bound_to_replica = True
    return BoundAlias(decided.alias)


def _came_from(replica: str, instance: Model) -> bool:
    """Whether the object that a read follows came from this replica, where then nothing tells it from others.

    What leads elsewhere by a generic relation is remembered for itself.
    """
    return instance._state.db == replica and not instance._meta.private_fields


def decide_read(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one read and announce it, and let the decision hold; ``None`` if it is not ours to decide."""
    origin = None if instance is None else instance._state.db
    if origin is not None and get_topology().is_foreign(origin):
        return None
    read = begin_read(route, origin)
    decision = decide(read)
    read.state.announced_reads.setdefault(decision.alias, {})[route.table] = decision
    if origin is None:
        _settle(decision, read)
    return decision


def _as_another(model: type[Model] | Model, decisions: Mapping[object, Settled]) -> Settled | None:
    """Return the newest decision of a model's cluster, for the model, if no setting tells it from others."""
    route = get_topology().route(model)
    if route is None or not route.is_plain:
        return None
    try:
        other, _table, basis = decisions[route.cluster.name]
    except KeyError:
        return None
    return route.decide(basis.alias, other.reason), route.table, basis


def holds(
    decision: Decision | None,
    statement: Statement,
    state: RoutingState,
    block: object,
    connection: BaseDatabaseWrapper,
) -> bool:
    """Whether the decision for a read holds, now that its statement has come to a replica.

    On the path of every read of a replica, too. ``False`` says that it has to be looked at. ``connection`` is
    the statement's, and tells the thread.
    """
    if decision is None or statement.writes or state.bound_to_replica:
        return False
    try:
        settled, _table, basis = state.settled[decision.model]
    except KeyError:
        return False
    primary, apart = basis.primary, get_topology().tables_apart
    return (
        settled is decision
        and block is basis.block
        and connection is basis.connection
        and primary.in_atomic_block is basis.in_atomic_block
        and primary.autocommit is basis.autocommit
        and (not apart or apart.isdisjoint(statement.tables))
    )


@dataclass(slots=True, eq=False)
class SettledWrite:
    """The decision for all writes of one model in one scope and thread: they go to the primary."""

    alias: str
    decision: Decision
    table: str
    writes: dict[str, Decision]
    """Where a write is announced to the statements that follow."""
    reads: dict[str, Decision]
    """Where it is announced to a read before them."""
    thread: int
    """Its number; another one that gets it has its connection prepared when it opens one."""
    version: int
    """That of :attr:`Health.version`, which the settings change, too."""


def route_write(model: type[Model] | Model, instance: Model | None = None, **_hints: object) -> str | None:
    """Return the alias to write a model to, and announce the write to the statements that follow."""
    now = in_force()
    state = current_state() if now.block.__class__ is GeneratorRegions else now.state or THREAD.outside
    origin = None if instance is None else instance._state.db
    settled: SettledWrite | None
    try:
        settled = state.settled_writes[model]
    except (KeyError, TypeError):
        settled = None
    if (
        settled is None
        or get_ident() != settled.thread
        or health.version != settled.version
        or (origin is not None and origin != settled.alias)
    ):
        route = get_topology().route(model)
        if route is None or (origin is not None and get_topology().is_foreign(origin)):
            return None
        settled = _decide_write(route, state)
    table = settled.table
    settled.writes.pop(table, None)  # So that the newest is the last.
    settled.writes[table] = settled.reads[table] = settled.decision
    return settled.alias if instance is None else alias_to_write(settled.alias, instance, state)


def _decide_write(route: ModelRoute, state: RoutingState) -> SettledWrite:
    """Decide one write, and let the decision hold for the writes of this model that follow."""
    cluster = route.cluster
    alias = cluster.primary
    here = THREAD.standings.get(cluster.name)
    if here is None or here.cluster is not cluster:
        # The first time: the primary's statements are observed from now on.
        standings_of(cluster, on_loop=running_loop() is not None)
    settled = SettledWrite(
        alias,
        route.decide(alias, Reason.WRITE, "write"),
        route.table,
        state.announced_writes.setdefault(alias, {}),
        state.announced_reads.setdefault(alias, {}),
        get_ident(),
        health.version,
    )
    # Models that are made anew each time, as a migration's are, must not be kept.
    if route.model is not None and route.fixed is None:
        state.settled_writes[route.model] = settled
    return settled


def _settle(decision: Decision, read: PendingRead) -> None:
    """Let a decision hold for the reads of this model that follow, if it is of the kind that can."""
    reason, route, state, here = decision.reason, read.route, read.state, read.standings
    if (
        (reason not in LASTING and reason not in AGEING)
        or route.model is None
        or route.fixed is not None
        or decision.would_be is not None
        or state.loading
    ):
        return
    primary = here.primary
    connection: Any = primary
    # A view's own transaction changes what holds inside it; manual ones begin without a sign.
    if not primary.settings_dict["AUTOCOMMIT"]:
        return
    if primary.in_atomic_block and state.scope_of_view(route.cluster.name) is not None:
        return
    if read.innermost.__class__ is GeneratorRegions:
        return  # What holds changes with each step of a generator.
    if not reason.on_primary:
        opened, alias = here.opened, decision.alias
        if not route.cluster.keeps_replica or alias not in opened or opened[alias].connection is None:
            return
        connection = opened[alias]
    until = inf
    if reason in AGEING and (seconds := _seconds_left(decision, read)) != inf:
        until = monotonic() + seconds
        # A monitor ends all of them at each of its looks, so that they need no clock. What binds a read to a
        # replica must hold also when no monitor looks any more.
        if reason.on_primary and until >= health.watched_until and health.watched:
            until = inf
    thread = get_ident()
    basis = Basis(
        decision.alias,
        state.announced_reads[decision.alias],
        read.innermost,
        thread,
        primary,
        primary.in_atomic_block,
        primary.autocommit,
        connection,
        connection.health_check_enabled,
        read.in_test,
        connection.connection,
        read.version,
        until,
        ref(THREAD.life, partial(_forget_thread, ref(state), thread)),
    )
    settled = read.decisions[route.model] = decision, route.table, basis
    if route.is_plain:
        read.decisions[route.cluster.name] = settled


def _seconds_left(decision: Decision, read: PendingRead) -> float:
    """Return for how long a decision for one of the ageing reasons will be the engine's."""
    reason, cluster, mark = decision.reason, read.route.cluster, read.mark
    if reason is Reason.PINNED:
        # Under "causal" by the write that the position does not cover: the earlier end is right for both.
        pinned = 0.0 if mark is None else min(mark.uncovered_at or mark.wrote_at, mark.wrote_at)
        return pinned + cluster.settings.pin_seconds - read.now
    if not read.positions:
        return inf
    if reason is Reason.BOUNDED:
        limit = 0.0 if read.block is None else read.block.max_staleness
    else:
        limit = cluster.max_lag
    return limit - read.standings.staleness(decision.alias)


def _forget_thread(state_of: ref[RoutingState], thread: int, _life: object) -> None:
    """Let go of the connections of a thread that has ended."""
    settled: dict[object, Settled] = {} if (state := state_of()) is None else state.settled
    for key in [key for key, (_, _, basis) in list(settled.items()) if basis.thread == thread]:
        settled.pop(key, None)


def _invalidate_all() -> None:
    """Invalidate every cached decision of this process: they depend on the settings."""
    health.version += 1


process.on_change(_invalidate_all, [SETTING])
