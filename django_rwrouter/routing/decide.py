"""Take the steps that the rules ask for, until they have decided."""

from __future__ import annotations

import time
import weakref
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from django.db import Error, connections

from django_rwrouter import events, stats
from django_rwrouter.balancers import get_balancer
from django_rwrouter.conf.clusters import Cluster, ModelRoute, get_topology
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.databases import has_positions
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.exceptions import NoReplicaAvailable
from django_rwrouter.routing import ladder, rules
from django_rwrouter.routing.bound_alias import is_generic
from django_rwrouter.routing.candidates import Candidates, Standings
from django_rwrouter.routing.decision_cache import settle, settle_write
from django_rwrouter.routing.opening import Opening, open_primary, open_replica
from django_rwrouter.routing.rules import Demand
from django_rwrouter.routing.steps import (
    UNTRIED,
    AskFloor,
    AskPrimary,
    AskReplica,
    Attempts,
    Draw,
    OnPrimary,
    Open,
    Spill,
    Step,
    Transaction,
    Verdict,
    WaitFor,
)
from django_rwrouter.routing.transactions import transaction_of
from django_rwrouter.scope.context import current_block, current_state
from django_rwrouter.scope.state import (
    Block,
    ClusterScope,
    RoutingState,
    on_event_loop,
    this_thread,
    when_thread_ends,
)
from django_rwrouter.scope.token import Mark
from django_rwrouter.servers import asking, identity, pools, spill_slots, waiting, wrapper_installation
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.freshness import knowledge

if TYPE_CHECKING:
    from django.db.models import Model

_BECAUSE_OF_LAG: Final = frozenset({Reason.SPILLED, Reason.DEGRADED})


def decide_read(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one read, and open the connection that it will use.

    ``None`` if it is not ours to decide. Raises ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    instance_alias = None if instance is None else instance._state.db
    if instance_alias is not None and get_topology().is_foreign(instance_alias):
        return None
    cluster = route.cluster
    state = current_state()
    decisions, version = state.settled, health.version
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    here = scope.by_thread.get(this_thread()) or _attach_this_thread(state, scope, cluster)
    attempts = UNTRIED
    if not health.all_well:
        attempts, scope.steps = Attempts(unusable=health.unusable()), []
    decision = _decide(route, state, scope, block, instance_alias, here, attempts)
    if decision.reason.on_primary or decision.would_be is not None:
        _remember(decision, scope, block, cluster)
    if decision.reason in _BECAUSE_OF_LAG:
        _tell(decision, cluster)
    state.announced_reads.setdefault(decision.alias, {})[route.table] = decision
    if not decision.reason.on_primary:
        state.routed_reads[decision.alias, route.table] = decision
        if instance is not None and is_generic(instance, route.model):
            state.generic_reads[decision.alias, route.table] = decision
    if instance_alias is None:
        settle(decision, route, state, block, here, decisions, version)
    return decision


def _tell(decision: Decision, cluster: Cluster) -> None:
    """Tell of a read that is where it is only because replicas lag."""
    tell = events.read_spilled if decision.reason is Reason.SPILLED else events.read_degraded
    tell(cluster.name)


def substitute(decision: Decision, cluster: Cluster, failed: Collection[str]) -> Decision:
    """Decide anew where to run a read that has lost its replica, and open the connection.

    What bound the read still binds it. ``failed`` are the databases that it has lost already: with the
    primary among them, the decision may be for it all the same, as there is no other. Raises
    ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    topology = get_topology()
    route = None if decision.model is None else topology.route(decision.model)
    route = route or topology.raw_route(cluster.name)
    state = current_state()
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    if scope.replica in failed:
        scope.replica = None
    state.settled = {}
    here = scope.by_thread.get(this_thread()) or _attach_this_thread(state, scope, cluster)
    attempts = Attempts(unusable={*health.unusable(), *failed})
    if cluster.primary in failed:
        attempts.asked_primary, attempts.spilled = True, False
    better = _decide(route, state, scope, block, None, here, attempts)
    if better.reason.on_primary:
        _remember(better, scope, block, cluster)
    if better.reason in _BECAUSE_OF_LAG:
        _tell(better, cluster)
    return better


def _decide(
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    instance_alias: str | None,
    here: Standings,
    attempts: Attempts,
) -> Decision:
    """Apply the rules, and find the replica that the first one demands, if it demands one."""
    cluster = route.cluster
    here.now = time.time()
    here.positions = has_positions(here.primary.vendor) and knowledge.has_positions(
        cluster.name, cluster.replica_aliases
    )
    enabled = cluster.enabled and (health.all_well or cluster.name not in health.switches.off)
    primary, in_transaction = here.primary, False
    if primary.in_atomic_block or not primary.autocommit:
        transaction = transaction_of(primary, state, scope, cluster.name)
        in_transaction = transaction is Transaction.BLOCK or (
            transaction is Transaction.VIEW and not state.safe
        )
    mark = None if state.token is None else state.token.marks.get(cluster.name)
    facts = rules.describe(route, state, scope, block, instance_alias, here, mark, enabled, in_transaction)
    rule, reason = rules.FIRST_RULES[facts]
    if rule.demand is Demand.PRIMARY:
        return route.decide(cluster.primary, reason)
    on_loop = on_event_loop()
    if state.token is None and rule.demand in rules.NEED_TOKEN:
        if on_loop and state.may_block:
            return route.decide(cluster.primary, Reason.EVENT_LOOP)
        if attempts is UNTRIED:
            attempts, scope.steps = Attempts(), []
        began = time.perf_counter()
        mark = state.known_token().marks.get(cluster.name)
        scope.steps.append(("LoadToken", cluster.primary, time.perf_counter() - began))
        facts = rules.describe(
            route, state, scope, block, instance_alias, here, mark, enabled, in_transaction
        )
        rule, reason = rules.FIRST_RULES[facts]
        if rule.demand is Demand.PRIMARY:
            return route.decide(cluster.primary, reason)
    return _find_replica(
        rule.demand, reason, route, state, scope, block, here, mark, attempts, on_loop=on_loop
    )


def _find_replica(  # noqa: C901, PLR0912  (one turn, which calls little: on the path of every read)
    demand: Demand,
    reason: Reason,
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    here: Standings,
    mark: Mark | None,
    attempts: Attempts,
    *,
    on_loop: bool,
) -> Decision:
    """Take the steps that the ladder asks for, until a replica may answer, or the primary has to."""
    cluster = route.cluster
    demand = ladder.narrowed(demand, cluster.settings, mark, shadow=cluster.shadow, positions=here.positions)
    replicas: Sequence[ReplicaSettings] = route.timely_replicas
    if demand in rules.TAKE_DELAYED:
        replicas = route.replicas
    while True:
        usable = replicas
        if attempts.unusable or attempts.forbidden:
            passed_over = {*attempts.unusable, *attempts.forbidden}
            usable = [replica for replica in usable if replica.alias not in passed_over]
        kept = None
        if scope.replica is not None and cluster.keeps_replica:
            for replica in usable:
                if replica.alias == scope.replica:
                    kept = replica
        verdict: Verdict
        if demand in rules.NOTHING_MORE:
            verdict = Draw(usable, reason) if usable else ladder.no_replica(attempts.forbidden)
        else:
            candidates = Candidates(usable, kept, here, attempts, mark, scope, block)
            verdict = ladder.climb(demand, reason, candidates)
        result: Decision | Step
        match verdict:
            case OnPrimary():
                result = route.decide(cluster.primary, verdict.reason)
            case Draw():
                result = _drawn(verdict, kept, route, here, attempts)
            case _:
                result = verdict
        if attempts.drawn:
            _hand_back(attempts, getattr(result, "alias", None), state, cluster)
        match result:
            case Decision():
                return result
            case Open(alias=alias, bound=False) if on_loop:
                # On the loop's own thread nothing may wait: what is known already has to do.
                scope.replica = alias
                return route.decide(alias, result.reason)
            case step if on_loop and not isinstance(step, Spill):
                if attempts.known_only:
                    return route.decide(cluster.primary, Reason.EVENT_LOOP)
                attempts = replace(attempts, known_only=True)
            case step:
                if attempts is UNTRIED:
                    attempts, scope.steps = Attempts(), []
                began = time.perf_counter()
                _take_step(step, state, scope, block, cluster, here, attempts)
                alias = getattr(step, "alias", cluster.primary)
                scope.steps.append((type(step).__name__, alias, time.perf_counter() - began))


def _drawn(
    draw: Draw,
    kept: ReplicaSettings | None,
    route: ModelRoute,
    here: Standings,
    attempts: Attempts,
) -> Decision | Step:
    """Draw a replica, the one that the scope uses already if it may, and tell what comes of it."""
    cluster = route.cluster
    for replica in draw.among:
        if replica is kept:
            break
    else:
        replica = here.balancer.choose(tuple(draw.among))
    alias, reason = replica.alias, draw.reason
    if draw.to_ask and replica in draw.to_ask:
        if not draw.bound and not attempts.asked_primary:
            return AskPrimary(at_most_old=_max_lag(cluster))
        return AskReplica(alias) if alias in here.opened else Open(alias, reason, bound=True, identify=True)
    if cluster.shadow:
        return route.decide(cluster.primary, reason, would_be=alias)
    if alias in here.opened:
        return route.decide(alias, reason)
    return Open(alias, reason, draw.bound, draw.identify)


def _max_lag(cluster: Cluster) -> float:
    settings = cluster.settings
    return settings.pin_seconds if settings.max_lag is None else settings.max_lag


def _hand_back(attempts: Attempts, kept: str | None, state: RoutingState, cluster: Cluster) -> None:
    """Give connections to their pools again whose replicas were asked, but are not to answer the read.

    Else one request would hold a replica's connection and wait for another's, the next one the other way
    round.
    """
    for connection in list(attempts.drawn):
        if connection.alias == kept or connection.in_atomic_block or not connection.autocommit:
            continue
        with suppress(Error):
            connection.close()
        state.forget_connection(cluster.name, connection.alias)
        attempts.drawn.remove(connection)


def _take_step(  # noqa: C901  (one branch for each step)
    step: Step,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    cluster: Cluster,
    here: Standings,
    attempts: Attempts,
) -> None:
    """Do one thing that the engine asks for, and note how it went."""
    match step:
        case Open(alias=alias):
            if _open(alias, here, attempts):
                scope.replica = alias
                if step.identify and identity.server_of(here.opened[alias]) is None:
                    _ask(alias, cluster, attempts)
        case AskFloor():
            scope.floors[None if block is None else block.entry] = asking.ask_primary(cluster, here.primary)
        case AskPrimary(at_most_old=at_most_old):
            attempts.asked_primary = True
            attempts.primary = asking.ask_primary(cluster, here.primary, at_most_old=at_most_old)
        case AskReplica(alias=alias):
            _ask(alias, cluster, attempts)
        case Spill():
            attempts.spilled = spill_slots.take(
                state, this_thread(), cluster.name, cluster.settings.spill_limit
            )
            if attempts.spilled and not on_event_loop() and not open_primary(cluster, here.primary):
                spill_slots.release(state, this_thread(), cluster.name)
                attempts.asked_primary, attempts.spilled = True, False
        case WaitFor(alias=alias, position=position):
            attempts.waited = True
            if alias not in here.opened and not _open(alias, here, attempts):
                return
            try:
                reached = waiting.wait(cluster, connections[alias], position)
            except Error as error:
                asking.pass_over(alias, error)
                attempts.unusable = {*attempts.unusable, alias}
            else:
                scope.gave_up = not reached


def _open(alias: str, here: Standings, attempts: Attempts) -> bool:
    """Open a replica's connection; return whether that could be done."""
    connection = connections[alias]
    was_open = connection.connection is not None
    opening = open_replica(connection)
    if opening is Opening.OPENED:
        here.opened[alias] = connection
        if not was_open and pools.pool_of(connection) is not None:
            attempts.drawn.append(connection)
        return True
    if opening is Opening.FORBIDDEN:
        attempts.forbidden.add(alias)
    else:
        attempts.unusable = {*attempts.unusable, alias}
    return False


def _ask(alias: str, cluster: Cluster, attempts: Attempts) -> None:
    """Ask a replica where it stands."""
    try:
        asking.ask_replica(cluster, connections[alias])
    except Error as error:
        asking.pass_over(alias, error)
        attempts.unusable = {*attempts.unusable, alias}
    else:
        if alias not in attempts.asked:
            attempts.asked.append(alias)


def last_steps(cluster: str) -> list[tuple[str, str, float]]:
    """Return the steps of the scope's newest decision that needed any: name, database, seconds.

    The names are those of the steps in ``routing.steps``: ``Open``, ``AskReplica``, ``WaitFor``...
    """
    return list(current_state().scope(cluster).steps)


def decide_write(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one write: the primary, or ``None`` if it is not ours to decide."""
    origin = None if instance is None else instance._state.db
    if origin is not None and get_topology().is_foreign(origin):
        return None
    state = current_state()
    scope = state.scope(route.cluster.name)
    if this_thread() not in scope.by_thread:
        _attach_this_thread(state, scope, route.cluster)
    decision = route.decide(route.cluster.primary, Reason.WRITE, "write")
    settle_write(decision, route, state)
    return decision


def _attach_this_thread(state: RoutingState, scope: ClusterScope, cluster: Cluster) -> Standings:
    """Look up the connections of the running thread, once in a scope.

    ``connections[alias]`` costs as much as all the rest of a decision. They are kept until the thread ends,
    as Django's are, or the scope does.
    """
    thread = this_thread()
    primary = wrapper_installation.install(connections[cluster.primary])
    balancer = get_balancer(cluster.settings.balancer)
    here = scope.by_thread[thread] = Standings(cluster, primary, balancer)
    forget = partial(_forget_thread, scope, weakref.ref(state), thread)
    here.end_of_thread = when_thread_ends(forget)
    return here


def _forget_thread(
    scope: ClusterScope, state_ref: weakref.ReferenceType[RoutingState], thread: object
) -> None:
    scope.forget_thread(thread)
    if (state := state_ref()) is None:
        return
    settled, settled_writes = state.settled, state.settled_writes
    for model in [model for model, entry in list(settled.items()) if entry.basis.thread is thread]:
        settled.pop(model, None)
    for model in [model for model, entry in list(settled_writes.items()) if entry.thread is thread]:
        settled_writes.pop(model, None)


def _remember(decision: Decision, scope: ClusterScope, block: Block | None, cluster: Cluster) -> None:
    """Note what a decision for the primary tells about the reads that follow."""
    if decision.would_be is not None:
        scope.replica = decision.would_be
        return
    if decision.reason in rules.UNCONDITIONAL:
        return
    if block is not None and block.strict:
        raise NoReplicaAvailable(
            f"This read would go to the primary ({decision.reason.label}), and the block around it says"
            " strict=True. Catch this error, or leave strict out."
        )
    # A read that has spilled may lose the primary, and be answered by a replica: the cursor sees which.
    scope.read_primary = scope.read_primary or decision.reason is not Reason.SPILLED
    if decision.reason is Reason.PINNED and not scope.pinned:
        scope.pinned = True
        state = current_state()
        if state.is_request and not state.uncounted:
            stats.count_event("pinned_request", cluster.name)
