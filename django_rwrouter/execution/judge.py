"""Overrules the router's decision at the cursor, once the statement itself is known.

The router is asked for a model, before the statement exists. A query reads more tables than the model's own;
and Django binds some querysets (``raw()``, generic relations) when they are built, however late they run.
What speaks against the replica that the router chose is known once the statement is here; then it is run
where it belongs, in the cursor that the caller holds. What the code names itself is obeyed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from types import CodeType
from typing import Any, Final

from django.apps import apps
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.query import RawModelIterable, RawQuerySet
from django.db.models.sql.compiler import SQLCompiler, SQLInsertCompiler

from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.execution.announcements import RAW_DECISION
from django_rwrouter.execution.failover import replace_cursor
from django_rwrouter.routing.bound_alias import BoundAlias
from django_rwrouter.routing.decide import substitute
from django_rwrouter.routing.pending_read import standings_of
from django_rwrouter.routing.steps import Transaction
from django_rwrouter.routing.transactions import transaction_of
from django_rwrouter.scope.context import current_block
from django_rwrouter.scope.state import BlockKind, ClusterScope, RoutingState, running_loop
from django_rwrouter.servers.freshness import knowledge

_LEVELS: Final = frozenset(
    {Reason.EVENTUAL, Reason.WINDOW, Reason.CAUSAL, Reason.STRONG, Reason.BOUNDED, Reason.USE_REPLICA}
)
"""Reasons that say what the code asked for where the read was decided."""
_QUERIES: Final = frozenset(
    {
        SQLCompiler.execute_sql.__code__,
        SQLInsertCompiler.execute_sql.__code__,
        RawModelIterable.__iter__.__code__,
        vars(RawQuerySet)["columns"].func.__code__,
    }
)
_GET_OR_CREATE: Final = frozenset({QuerySet.get_or_create.__code__})
_DELETION: Final = frozenset({Collector.collect.__code__, Collector.delete.__code__})
_MAKING: Final = Model.__init__.__code__
"""Calls receivers of ``post_init``: what they read is none of what Django reads around them."""
_CONTENT_TYPES: Final = frozenset({"django_content_type"})
_FRAMES: Final = 25
"""How far up the stack Django's own code is looked for, which is what runs a statement."""


def overrule(
    decision: Decision | None,
    statement: Statement,
    connection: BaseDatabaseWrapper,
    state: RoutingState,
    cluster: Cluster,
) -> Decision | None:
    """Return the decision that holds for a statement that came to a replica, if it is another one.

    Of a read whose decision :func:`~django_rwrouter.routing.decision_cache.holds` nothing is asked here.
    """
    topology = get_topology()
    if statement.writes or decision is None or state.bound_to_replica:
        better = _named_by_django(decision, statement, cluster)
        if better is not None or statement.writes:
            return better
    on_primary = topology.tables_on_primary
    reads_primary = bool(on_primary) and not on_primary.isdisjoint(statement.tables)
    lacking = topology.without(cluster, statement.tables) if topology.excepted_tables else ()
    followed: Decision | None = None
    may_stay = not reads_primary and connection.alias not in lacking
    if decision is not None:
        if may_stay and _holds(decision, state, cluster):
            return None
        if decision.model is None and connection.in_atomic_block:
            return None  # The code has begun a transaction by the replica's name.
    else:
        if may_stay and connection.in_atomic_block and _holds(None, state, cluster):
            return None
        decision = _bound(cluster, connection.alias)
        if decision is None:
            decision = followed = _followed(cluster, connection.alias)
        if decision is None:
            return None
    if reads_primary:
        route = None if decision.model is None else topology.route(decision.model)
        return (route or topology.raw_route(cluster.name)).decide(cluster.primary, Reason.PRIMARY_ONLY)
    better = substitute(decision, cluster, lacking)
    # What Django has named itself, and stays where that is, is counted as "explicit".
    return None if followed is not None and better.alias == connection.alias else better


def move(
    decision: Decision, execute: Callable[..., Any], context: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Let the caller's cursor work where the decision says; return how and in what context it runs."""
    cursor = context["cursor"]
    if hasattr(cursor, RAW_DECISION):
        setattr(cursor, RAW_DECISION, decision)
    if decision.alias == context["connection"].alias:
        return execute, context
    connection = connections[decision.alias]
    if decision.operation == "write":
        _follow_transaction(connection, context["connection"])
        execute = partial(_mark_for_rollback_on_error, execute)
    left = cursor.cursor
    replace_cursor(cursor, connection, chunked=bool(getattr(left, "name", None)))
    left.close()
    return execute, {**context, "connection": connection}


def _mark_for_rollback_on_error(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Execute a write; Django marks the connection that it knows of, which is the replica's."""
    with transaction.mark_for_rollback_on_error(using=context["connection"].alias):
        return execute(sql, params, many, context)


def _follow_transaction(primary: BaseDatabaseWrapper, replica: BaseDatabaseWrapper) -> None:
    """Let what is written on the primary be committed, or rolled back, with the transaction of the replica.

    Django has begun it there, around a deletion, say. A transaction that is open on the primary holds all.
    """
    if not replica.in_atomic_block or primary.in_atomic_block:
        return
    block = transaction.atomic(using=primary.alias)
    block.__enter__()

    def ending(name: str, error: type[DatabaseError] | None) -> Callable[[], None]:
        def end() -> None:
            for ending_name in endings:
                delattr(replica, ending_name)
            block.__exit__(error, None, None)
            getattr(replica, name)()

        return end

    endings = {"commit": None, "rollback": DatabaseError, "close": DatabaseError}
    for name, error in endings.items():
        setattr(replica, name, ending(name, error))


def looks_to_create() -> bool:
    """Whether the statement that runs is the read of a ``get_or_create()``."""
    return _runner(_GET_OR_CREATE) is not None


def _named_by_django(decision: Decision | None, statement: Statement, cluster: Cluster) -> Decision | None:
    """Return the decision for what Django itself has named the replica for, and belongs on the primary.

    That is a write through a queryset that the router has bound, and the content type of an object that came
    from a replica, which may lack it.
    """
    model: Any = None
    reason = Reason.WRITE
    if decision is None and statement.tables == _CONTENT_TYPES and _runner(_content_type_lookups()):
        model = apps.get_model("contenttypes", "ContentType")
        reason = Reason.WRITE if statement.writes else Reason.PRIMARY_ONLY
    elif (collector := _runner(_DELETION)) is not None:  # What it reads decides what is deleted.
        origin = getattr(collector, "origin", None)
        if collector.using.__class__ is BoundAlias and isinstance(origin, QuerySet):
            model = origin.model
    elif statement.writes:
        model = _bound_model(cluster)
    route = None if model is None else get_topology().route(model)
    if route is None or route.cluster is not cluster:
        return None
    return route.decide(cluster.primary, reason, "write" if reason is Reason.WRITE else "read")


def _holds(decision: Decision | None, state: RoutingState, cluster: Cluster) -> bool:
    """Whether nothing of this moment speaks against the replica: the rules, for what can have changed."""
    scope = state.scope(cluster.name)
    block = current_block(cluster.name)
    kind = None if block is None else block.kind
    if kind is BlockKind.PRIMARY:
        return False
    if (scope.wrote or scope.read_to_write) and kind is not BlockKind.REPLICA:
        return False
    if _is_in_transaction(state, scope, cluster):
        return False
    if decision is None or decision.reason not in _LEVELS:
        return kind is not BlockKind.CONSISTENCY
    if kind is BlockKind.REPLICA:
        return decision.reason is Reason.USE_REPLICA
    level = cluster.settings.consistency if block is None or block.level is None else block.level
    if level is Level.CAUSAL and decision.reason is Reason.WINDOW:  # What it is without positions.
        here = standings_of(cluster, on_loop=running_loop() is not None)
        return not (here.has_driver and knowledge.has_positions(cluster.name, cluster.replica_aliases))
    return decision.reason.code == level.value


def _is_in_transaction(state: RoutingState, scope: ClusterScope, cluster: Cluster) -> bool:
    here = standings_of(cluster, on_loop=running_loop() is not None)
    transaction = transaction_of(here.primary, state, scope, cluster.name)
    return transaction is Transaction.BLOCK or (transaction is Transaction.VIEW and not state.safe)


def _bound(cluster: Cluster, alias: str) -> Decision | None:
    """Return a decision for a read of a queryset that the router has bound to a replica, however long ago."""
    model = _bound_model(cluster)
    return None if model is None else _decided(cluster, alias, model)


def _followed(cluster: Cluster, alias: str) -> Decision | None:
    """Return a decision for what Django reads where the object at hand came from, by the name of that."""
    follower = _runner(_followers())
    if follower is None:
        return None
    model: Any = type(follower)
    if model.__module__ == "django.contrib.contenttypes.models":
        model = follower.model_class()
    return _decided(cluster, alias, model)


def _decided(cluster: Cluster, alias: str, model: Any) -> Decision:
    topology = get_topology()
    route = None if model is None or not issubclass(model, Model) else topology.route(model)
    return (route or topology.raw_route(cluster.name)).decide(alias, Reason.EXPLICIT)


def _bound_model(cluster: Cluster) -> Any:
    """Return the model of the queryset that runs the statement, if the router has bound it to a replica."""
    runner = _runner(_QUERIES)
    if isinstance(runner, SQLCompiler):
        return runner.query.model if runner.using.__class__ is BoundAlias else None
    queryset = getattr(runner, "queryset", runner)
    if queryset is None:
        return None
    alias = queryset.query.using
    is_bound = alias.__class__ is BoundAlias or any(alias is own for own in cluster.replica_aliases)
    return queryset.model if is_bound else None


@cache
def _followers() -> frozenset[CodeType]:
    """Return the code by which Django follows generic foreign keys, and finds the next object by a date."""
    methods: list[Any] = [Model._get_next_or_previous_by_FIELD]  # type: ignore[attr-defined]  # noqa: SLF001
    if apps.is_installed("django.contrib.contenttypes"):
        from django.contrib.contenttypes import fields

        methods.append(apps.get_model("contenttypes", "ContentType").get_object_for_this_type)
        # The field itself before Django 6.1.
        prefetcher: Any = getattr(fields, "GenericForeignKeyDescriptor", fields.GenericForeignKey)
        methods.append(prefetcher.get_prefetch_querysets)
    return frozenset(method.__code__ for method in methods)


@cache
def _content_type_lookups() -> frozenset[CodeType]:
    """Return the code of the methods by which Django looks content types up."""
    if not apps.is_installed("django.contrib.contenttypes"):
        return frozenset()
    manager = type(apps.get_model("contenttypes", "ContentType")._default_manager)  # noqa: SLF001
    names = ("get_for_model", "get_for_models", "get_for_id", "get_by_natural_key")
    return frozenset(getattr(manager, name).__code__ for name in names)


def _runner(codes: frozenset[CodeType]) -> Any:
    """Return the object of Django's whose method of one of these codes runs the statement, or ``None``."""
    frame = inspect.currentframe()
    for _step in range(_FRAMES):
        if frame is None or frame.f_code is _MAKING:
            return None
        if frame.f_code in codes:
            return frame.f_locals["self"]
        frame = frame.f_back
    return None
