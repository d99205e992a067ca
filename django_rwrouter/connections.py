"""Carrying out what the engine asks for: look at the transaction, open a connection, fetch the token."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection
from contextlib import ContextDecorator
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Final

from django.db import Error, connections

from django_rwrouter import engine, events, hooks, servers, spills, stats
from django_rwrouter.balancers import get_balancer
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.engine import (
    UNTRIED,
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
from django_rwrouter.exceptions import NoReplicaAvailable
from django_rwrouter.health import health
from django_rwrouter.knowledge import knowledge
from django_rwrouter.load import load_of
from django_rwrouter.positions import has_positions
from django_rwrouter.settled import settle, settle_write
from django_rwrouter.state import (
    Block,
    ClusterScope,
    RoutingState,
    ThreadConnections,
    current_block,
    current_state,
    on_event_loop,
    this_thread,
)
from django_rwrouter.topology import Cluster, ModelRoute, get_topology

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

_DECORATED: Final = ContextDecorator()(lambda: None).__code__
"""The code of every function that was decorated with a context manager, such as ``atomic()``."""


class Opening(Enum):
    """How opening a replica's connection went."""

    OPENED = "opened"
    FAILED = "failed"
    FORBIDDEN = "forbidden"
    """The running test has not declared that it uses this database."""


def decide_read(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one read, and open the connection that it will use.

    ``None`` if it is not ours to decide. Raises ``NoReplicaAvailable`` under ``strict=True`` alone.
    """
    instance_alias = None if instance is None else instance._state.db
    if instance_alias is not None and _is_foreign(instance_alias):
        return None
    cluster = route.cluster
    state = current_state()
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    decision = _take_steps(route, state, scope, block, instance_alias)
    if decision.reason.on_primary or decision.would_be is not None:
        _remember(decision, scope, block, cluster)
    _tell(decision, cluster)
    state.announced_reads.setdefault(decision.alias, {})[route.table] = decision
    if instance_alias is None:
        settle(decision, route, state, scope, block, scope.by_thread[this_thread()])
    return decision


def _tell(decision: Decision, cluster: Cluster) -> None:
    """Tell of a read that is where it is only because replicas lag."""
    if decision.reason is Reason.SPILLED:
        events.read_spilled(cluster.name)
    elif decision.reason is Reason.DEGRADED:
        events.read_degraded(cluster.name)


def _take_steps(
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    instance_alias: str | None,
) -> Decision:
    """Ask the engine, do what it asks for, and ask again until it has decided."""
    cluster = route.cluster
    ours = scope.by_thread.get(this_thread()) or _attach_this_thread(scope, cluster)
    _look_around(ours, scope, cluster)
    unusable = health.unusable()
    switched_off = cluster.name in health.switched_off
    attempts = UNTRIED
    if unusable or switched_off:
        attempts = Attempts(unusable=unusable, switched_off=switched_off)
    return _decide(route, state, scope, block, instance_alias, ours, attempts)


def _look_around(ours: ThreadConnections, scope: ClusterScope, cluster: Cluster) -> None:
    """Bring up to date what the engine is told of the world."""
    situation = ours.situation
    primary = ours.primary
    autocommit = primary.autocommit and not primary.in_atomic_block
    situation.transaction = Transaction.NONE if autocommit else _transaction(primary, scope)
    situation.positions = has_positions(primary.vendor) and knowledge.has_positions(
        cluster.name, cluster.replica_aliases
    )
    situation.now = time.time()


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
    state.settled.clear()
    ours = scope.by_thread.get(this_thread()) or _attach_this_thread(scope, cluster)
    _look_around(ours, scope, cluster)
    attempts = Attempts(
        unusable={*health.unusable(), *failed}, switched_off=cluster.name in health.switched_off
    )
    if cluster.primary in failed:
        attempts.asked_primary, attempts.spilled = True, False
    found = _decide(route, state, scope, block, None, ours, attempts)
    if found.reason.on_primary:
        _remember(found, scope, block, cluster)
    _tell(found, cluster)
    return found


def _decide(
    route: ModelRoute,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    instance_alias: str | None,
    ours: ThreadConnections,
    attempts: Attempts,
) -> Decision:
    cluster = route.cluster
    situation = ours.situation
    while True:
        verdict = engine.route_read(route, state, scope, block, instance_alias, situation, attempts)
        if isinstance(verdict, Decision):
            return verdict
        if on_event_loop() and not isinstance(verdict, Spill):
            # On the loop's own thread nothing may wait: what is known already has to do.
            if isinstance(verdict, LoadToken) and not state.may_block:
                state.known_token()
                continue
            if isinstance(verdict, Open) and not verdict.bound:
                scope.replica = verdict.alias
                return route.decide(verdict.alias, verdict.reason)
            if not attempts.known_only:
                attempts = replace(attempts, known_only=True)
                continue
            return route.decide(cluster.primary, Reason.EVENT_LOOP)
        if attempts is UNTRIED:
            attempts = Attempts()
            scope.steps = []
        began = time.perf_counter()
        _take_step(verdict, state, scope, block, cluster, ours, attempts)
        alias = getattr(verdict, "alias", cluster.primary)
        scope.steps.append((type(verdict).__name__, alias, time.perf_counter() - began))


def _take_step(  # noqa: C901, PLR0912  (one branch for each step)
    step: Step,
    state: RoutingState,
    scope: ClusterScope,
    block: Block | None,
    cluster: Cluster,
    ours: ThreadConnections,
    attempts: Attempts,
) -> None:
    """Do one thing that the engine asks for, and note how it went."""
    match step:
        case LoadToken():
            state.known_token()
        case Open(alias=alias):
            opening = open_replica(alias)
            if opening is Opening.OPENED:
                ours.opened[alias] = connections[alias]
                scope.replica = alias
                if step.identify and servers.is_new(connections[alias]):
                    _ask(alias, cluster, attempts)
            elif opening is Opening.FORBIDDEN:
                attempts.forbidden.add(alias)
            else:
                attempts.unusable = {*attempts.unusable, alias}
        case AskFloor():
            scope.floors[None if block is None else block.entry] = servers.ask_primary(cluster, ours.primary)
        case AskPrimary(at_most_old=at_most_old):
            attempts.asked_primary = True
            attempts.primary = servers.ask_primary(cluster, ours.primary, at_most_old=at_most_old)
        case AskReplica(alias=alias):
            _ask(alias, cluster, attempts)
        case Spill():
            attempts.spilled = spills.take(state, this_thread(), cluster.name, cluster.settings.spill_limit)
            if attempts.spilled and not on_event_loop() and not _open_primary(cluster, ours.primary):
                spills.release(state, this_thread(), cluster.name)
                attempts.asked_primary, attempts.spilled = True, False
        case WaitFor(alias=alias, position=position):
            attempts.waited = True
            try:
                reached = servers.wait(cluster, connections[alias], position)
            except Error as error:
                servers.pass_over(alias, error)
                attempts.unusable = {*attempts.unusable, alias}
            else:
                scope.gave_up = not reached


def _open_primary(cluster: Cluster, connection: BaseDatabaseWrapper) -> bool:
    """Open the primary's connection for a read that need not go there; return whether that could be done.

    As in :func:`open_replica`: Django would do the same a moment later, where nobody can catch it.
    """
    try:
        if getattr(connection.connection, "closed", False) and not connection.in_atomic_block:
            connection.close()  # The driver found it lost when it was last used, and Django does not know.
        with load_of(cluster.primary).waiting(connection):
            connection.close_if_health_check_failed()
            connection.ensure_connection()
    except Error as error:
        servers.note_lost_primary(cluster, error)
        return False
    return True


def _ask(alias: str, cluster: Cluster, attempts: Attempts) -> None:
    """Ask a replica where it stands."""
    try:
        servers.ask_replica(cluster, connections[alias])
    except Error as error:
        servers.pass_over(alias, error)
        attempts.unusable = {*attempts.unusable, alias}
    else:
        attempts.asked.append(alias)


def last_steps(cluster: str) -> list[tuple[str, str, float]]:
    """Return the steps of the scope's newest decision that needed any: name, database, seconds.

    The names are those of the steps in ``django_rwrouter.engine``: ``Open``, ``AskReplica``, ``WaitFor``...
    """
    return list(current_state().scope(cluster).steps)


def decide_write(route: ModelRoute, instance: Model | None = None) -> Decision | None:
    """Decide one write: the primary, or ``None`` if it is not ours to decide."""
    if instance is not None and instance._state.db is not None and _is_foreign(instance._state.db):
        return None
    state = current_state()
    scope = state.scope(route.cluster.name)
    if this_thread() not in scope.by_thread:
        _attach_this_thread(scope, route.cluster)
    decision = route.decide(route.cluster.primary, Reason.WRITE, "write")
    settle_write(decision, route, state)
    return decision


def _is_watched(cluster: Cluster) -> bool:
    """Whether a monitor watches, and has found something already."""
    return health.watched and knowledge.knows(cluster.name, (replica.alias for replica in cluster.replicas))


def _is_foreign(alias: str) -> bool:
    """Whether an object came from a database that is not ours.

    One that is in no setting is none at all: a cached object may remember a replica that is long gone.
    """
    return alias not in get_topology().by_alias and alias in connections.settings


def open_replica(alias: str) -> Opening:
    """Open a replica's connection, or make sure that the open one still works.

    This has to happen before Django uses it: a dead server fails in ``connect()``, or in the ping of
    ``CONN_HEALTH_CHECKS``, and neither is seen by an execute wrapper. Bounded by the timeouts in the
    database's ``OPTIONS``.
    """
    connection = hooks.install(connections[alias])
    if _is_forbidden(connection):
        return Opening.FORBIDDEN
    if not health.begin_trial(alias):
        return Opening.FAILED
    try:
        if connection.connection is not None:
            with load_of(alias).waiting(connection):  # The ping of a frozen server may last for ever.
                connection.close_if_health_check_failed()
            if health.watched and health.is_ejected(alias):
                return Opening.FAILED
        connection.ensure_connection()
        if health.is_ejected(alias):
            # Restarted, thawed and restored servers answer with the past: it has to say where it stands now.
            servers.ask_replica(get_topology().by_alias[alias], connection)
    except AssertionError as error:
        if type(error).__name__ == "DatabaseOperationForbidden":  # In other threads, Django tells only here.
            return Opening.FORBIDDEN
        raise
    except Error as error:
        servers.pass_over(alias, error)
        return Opening.FAILED
    seconds = health.works(alias)
    if seconds is not None:
        events.replica_restored(alias, seconds)
    return Opening.OPENED


def note_view(state: RoutingState, view: Callable[..., object]) -> None:
    """Remember the view that Django is about to wrap in a transaction, if it is.

    Called from ``process_view``, when that transaction is not open yet. It matters for requests that may read
    from replicas only.
    """
    if not state.safe:
        return
    exempt = getattr(view, "_non_atomic_requests", ())
    for cluster in get_topology().clusters.values():
        options = connections.settings.get(cluster.primary, {})
        if options.get("ATOMIC_REQUESTS") and cluster.primary not in exempt:
            state.scope(cluster.name).view = view
            state.settled.clear()


def _attach_this_thread(scope: ClusterScope, cluster: Cluster) -> ThreadConnections:
    """Look up the connections of the running thread, once in a scope.

    ``connections[alias]`` costs as much as all the rest of a decision.
    """
    primary = hooks.install(connections[cluster.primary])
    ours = scope.by_thread[this_thread()] = ThreadConnections(primary)
    ours.situation = Situation(
        balancer=get_balancer(cluster.settings.balancer),
        opened=ours.opened,
        positions=False,
        reached=partial(servers.reached, scope, ours),
        staleness=partial(servers.staleness, cluster.name, ours),
        asked_lately=partial(servers.asked_lately, ours),
        watched=partial(_is_watched, cluster),
        away=partial(health.is_away, cluster.name),
    )
    return ours


def _transaction(connection: BaseDatabaseWrapper, scope: ClusterScope) -> Transaction:
    """Tell what is open on the primary's connection."""
    if not connection.in_atomic_block:
        # Without autocommit, a transaction is open from the first statement on.
        manual = connection.connection is not None and not connection.autocommit
        return Transaction.BLOCK if manual else Transaction.NONE
    if scope.view is not None and len(connection.atomic_blocks) == 1:
        block = connection.atomic_blocks[0]
        if scope.view_block is None and _is_around(block, scope.view):
            scope.view_block = block
        if scope.view_block is block:
            return Transaction.VIEW
    return Transaction.BLOCK


def _is_around(block: object, view: Callable[..., object]) -> bool:
    """Whether a transaction that is open is the one that ``ATOMIC_REQUESTS`` put around the view.

    A block that middleware opens looks just the same, but only Django's is a decorator around the view, and
    that can be seen on the stack. Looked for once in a request.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is _DECORATED and frame.f_locals.get("self") is block:
            decorated = frame.f_locals.get("func")
            while decorated is not None and decorated is not view:
                decorated = getattr(decorated, "__wrapped__", None)
            return decorated is view
        frame = frame.f_back
    return False


def _is_forbidden(connection: BaseDatabaseWrapper) -> bool:
    """Whether Django's test case has disarmed the connection, as it does for all but ``databases``."""
    return type(vars(connection).get("cursor")).__name__ == "_DatabaseFailure"


def _remember(decision: Decision, scope: ClusterScope, block: Block | None, cluster: Cluster) -> None:
    """Note what a decision for the primary tells about the reads that follow."""
    if decision.would_be is not None:
        scope.replica = decision.would_be
        return
    if decision.reason in engine.UNCONDITIONAL:
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
        stats.count_event("pinned_request", cluster.name)
