"""Decides one read: evaluates the rules, and takes the steps that they ask for until one has decided."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections

from django_rwrouter import stats
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.exceptions import NoReplicaAvailable
from django_rwrouter.routing import ladder, rules
from django_rwrouter.routing.opening import Opening, open_primary, open_replica
from django_rwrouter.routing.pending_read import PendingRead, begin_read
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
from django_rwrouter.scope.context import current_state
from django_rwrouter.scope.state import this_thread
from django_rwrouter.scope.token import Token
from django_rwrouter.servers import asking, identity, spill_slots, waiting
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health


def decide(read: PendingRead) -> Decision:
    """Decide one read, and open the connection that it will use.

    Notes what the decision tells about the reads that follow, and tells of one that replicas' lag has led.
    Raises ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    decision = _decide(read)
    scope, block, name, reason = read.scope, read.block, read.route.cluster.name, decision.reason
    if not reason.on_primary:
        read.state.routed_reads[decision.alias, read.route.table] = decision
    if decision.would_be is not None:
        scope.replica = decision.would_be
    elif reason.on_primary and reason not in rules.UNCONDITIONAL:
        if block is not None and block.strict:
            raise NoReplicaAvailable(
                f"This read would go to the primary ({reason.label}), and the block around it says"
                " strict=True. Catch this error, or leave strict out."
            )
        # A read that has spilled may lose the primary, and be answered by a replica: the cursor sees which.
        scope.read_primary = scope.read_primary or reason is not Reason.SPILLED
        if reason is Reason.PINNED and not scope.pinned:
            scope.pinned = True
            if read.state.is_request and not read.state.uncounted:
                stats.count_event("pinned_request", name)
    if reason is Reason.SPILLED:
        emit.event(EventKind.READ_SPILLED, name)
    elif reason is Reason.DEGRADED:
        emit.event(EventKind.READ_DEGRADED, name)
    return decision


def substitute(decision: Decision, cluster: Cluster, failed: Collection[str]) -> Decision:
    """Decide anew where to run a read that has lost its replica, and open the connection.

    What bound the read still binds it. ``failed`` are the databases that it has lost already: with the
    primary among them, the decision may be for it all the same, as there is no other. Raises
    ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    topology = get_topology()
    route = None if decision.model is None else topology.route(decision.model)
    read = begin_read(route or topology.raw_route(cluster.name))
    if read.scope.replica in failed:
        read.scope.replica = None
    if failed:
        read.state.settled = {}
    read.tried = Attempts(unusable={*health.unusable(), *failed})
    if cluster.primary in failed:
        read.tried.asked_primary, read.tried.spilled = True, False
    return decide(read)


def _decide(read: PendingRead) -> Decision:
    """Apply the rules, and find the replica that the first one demands, if it demands one."""
    route, state, here = read.route, read.state, read.standings
    cluster, primary, in_transaction = route.cluster, here.primary, False
    read.positions = here.has_driver and knowledge.has_positions(cluster.name, cluster.replica_aliases)
    enabled = cluster.enabled and (health.all_well or cluster.name not in health.off)
    if primary.in_atomic_block or not primary.autocommit:
        transaction = transaction_of(primary, state, read.scope, cluster.name)
        in_transaction = transaction is Transaction.BLOCK or (
            transaction is Transaction.VIEW and not state.safe
        )
    token = state.token
    while True:  # Twice where a rule needs the client's token, nobody has looked at it, and there is one.
        if token is not None and cluster.name in token.marks:
            read.mark, read.now = token.marks[cluster.name], time.time()
        rule, reason = rules.FIRST_RULES[rules.describe(read, enabled, in_transaction)]
        if rule.demand is Demand.PRIMARY:
            return route.decide(cluster.primary, reason)
        if token is None and rule.demand in rules.NEED_TOKEN:
            if read.on_loop and state.may_block:
                return route.decide(cluster.primary, Reason.EVENT_LOOP)
            token = _load_token(read) if state.may_block else state.known_token()
            if cluster.name in token.marks:
                continue
        return _find_replica(read, rule.demand, reason)


def _load_token(read: PendingRead) -> Token:
    """Look at the client's token, which may wait for a server."""
    began = _begin_step(read)
    token = read.state.known_token()
    read.scope.steps.append(("LoadToken", read.route.cluster.primary, time.perf_counter() - began))
    return token


def _find_replica(  # noqa: C901, PLR0912  (one turn, which calls little: on the path of every read)
    read: PendingRead, demand: Demand, reason: Reason
) -> Decision:
    """Take the steps that the ladder asks for, until a replica may answer, or the primary has to."""
    route, scope, cluster = read.route, read.scope, read.route.cluster
    demand = ladder.narrowed(
        demand, cluster.settings, read.mark, shadow=cluster.shadow, positions=read.positions
    )
    replicas = route.replicas if demand in rules.TAKE_DELAYED else route.timely_replicas
    while True:
        tried = read.tried
        read.replicas, read.kept = replicas, None
        if tried.unusable or tried.forbidden:
            passed_over = {*tried.unusable, *tried.forbidden}
            read.replicas = [replica for replica in replicas if replica.alias not in passed_over]
        if scope.replica is not None and cluster.keeps_replica:
            for replica in read.replicas:
                if replica.alias == scope.replica:
                    read.kept = replica
        verdict: Verdict
        if demand not in rules.NOTHING_MORE:
            verdict = ladder.climb(demand, reason, read)
        elif read.replicas:
            verdict = Draw(read.replicas, reason)
        else:
            verdict = ladder.no_replica(tried.forbidden)
        result: Decision | Step
        match verdict:
            case OnPrimary():
                result = route.decide(cluster.primary, verdict.reason)
            case Draw():
                result = _drawn(verdict, read)
            case _:
                result = verdict
        if tried.drawn:
            _hand_back(tried, getattr(result, "alias", None))
        match result:
            case Decision():
                return result
            case Open(alias=alias, bound=False) if read.on_loop:
                # On the loop's own thread nothing may wait: what is known already has to do.
                scope.replica = alias
                return route.decide(alias, result.reason)
            case step if read.on_loop and not isinstance(step, Spill):
                if tried.known_only:
                    return route.decide(cluster.primary, Reason.EVENT_LOOP)
                read.tried = replace(tried, known_only=True)
            case step:
                began = _begin_step(read)
                _take_step(step, read)
                alias = getattr(step, "alias", cluster.primary)
                scope.steps.append((type(step).__name__, alias, time.perf_counter() - began))


def _begin_step(read: PendingRead) -> float:
    """Make room for what is tried for a read, before the first step; return the time, in seconds."""
    if read.tried is UNTRIED:
        read.tried, read.scope.steps = Attempts(), []
    return time.perf_counter()


def _drawn(draw: Draw, read: PendingRead) -> Decision | Step:
    """Draw a replica, the one that the scope uses already if it may, and tell what comes of it."""
    route, here = read.route, read.standings
    for replica in draw.among:
        if replica is read.kept:
            break
    else:
        replica = here.balancer.choose(tuple(draw.among))
        if replica not in draw.among:
            raise ImproperlyConfigured(
                f"{SETTING}['BALANCER'] is {route.cluster.settings.balancer!r}, whose choose() returned"
                f" {replica!r}: it must return one of the replicas that it is given, which all may answer."
            )
    alias, reason = replica.alias, draw.reason
    if draw.to_ask and replica in draw.to_ask:
        if not draw.bound and not read.tried.asked_primary:
            return AskPrimary(at_most_old=route.cluster.max_lag)
        return AskReplica(alias) if here.is_ready(alias) else Open(alias, reason, bound=True, identify=True)
    if route.cluster.shadow:
        return route.decide(route.cluster.primary, reason, would_be=alias)
    if here.is_ready(alias):
        read.scope.replica = alias
        return route.decide(alias, reason)
    return Open(alias, reason, draw.bound, draw.identify)


def _hand_back(tried: Attempts, kept: str | None) -> None:
    """Give connections to their pools again whose replicas were asked, but are not to answer the read.

    Else one request would hold a replica's connection and wait for another's, the next one the other way
    round.
    """
    for connection in list(tried.drawn):
        if connection.alias == kept or connection.in_atomic_block or not connection.autocommit:
            continue
        with suppress(Error):
            connection.close()
        tried.drawn.remove(connection)


def _take_step(step: Step, read: PendingRead) -> None:  # noqa: C901  (one branch for each step)
    """Do one thing that the ladder asks for, and note how it went."""
    state, scope, tried, here = read.state, read.scope, read.tried, read.standings
    cluster, primary = here.cluster, here.primary
    match step:
        case Open(alias=alias):
            if _open(alias, read):
                scope.replica = alias
                if step.identify and identity.server_of(here.opened[alias]) is None:
                    _ask(alias, read)
        case AskFloor():
            floors, entry = scope.floors, None if read.block is None else read.block.entry
            floors[entry] = asking.ask_primary(cluster, primary)
        case AskPrimary(at_most_old=at_most_old):
            tried.asked_primary = True
            tried.primary = asking.ask_primary(cluster, primary, at_most_old=at_most_old)
        case AskReplica(alias=alias):
            _ask(alias, read)
        case Spill():
            tried.spilled = spill_slots.take(state, this_thread(), cluster.name, cluster.settings.spill_limit)
            if tried.spilled and not read.on_loop and not open_primary(cluster, primary):
                spill_slots.release(state, this_thread(), cluster.name)
                tried.asked_primary, tried.spilled = True, False
        case WaitFor(alias=alias, position=position):
            tried.waited = True
            if not here.is_ready(alias) and not _open(alias, read):
                return
            try:
                reached = waiting.wait(cluster, connections[alias], position)
            except Error as error:
                asking.pass_over(alias, error)
                tried.unusable = {*tried.unusable, alias}
            else:
                scope.gave_up = not reached


def _open(alias: str, read: PendingRead) -> bool:
    """Open a replica's connection; return whether that could be done."""
    tried, connection = read.tried, connections[alias]
    was_open = connection.connection is not None
    opening = open_replica(connection)
    if opening is Opening.OPENED:
        read.standings.opened[alias] = connection
        if not was_open and getattr(connection, "pool", None) is not None:
            tried.drawn.append(connection)
        return True
    if opening is Opening.FORBIDDEN:
        tried.forbidden.add(alias)
    else:
        tried.unusable = {*tried.unusable, alias}
    return False


def _ask(alias: str, read: PendingRead) -> None:
    """Ask a replica where it stands."""
    tried = read.tried
    try:
        asking.ask_replica(read.route.cluster, connections[alias])
    except Error as error:
        asking.pass_over(alias, error)
        tried.unusable = {*tried.unusable, alias}
    else:
        if alias not in tried.asked:
            tried.asked.append(alias)


def last_steps(cluster: str) -> list[tuple[str, str, float]]:
    """Return the steps of the scope's newest decision that needed any: name, database, seconds.

    The names are those of the steps in ``routing.steps``: ``Open``, ``AskReplica``, ``WaitFor``...
    """
    return list(current_state().scope(cluster).steps)
