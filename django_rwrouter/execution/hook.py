"""The execute wrapper on every routed connection: classifies each statement, times it and records writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing, nullcontext
from time import perf_counter
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import stats
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.databases import get_product
from django_rwrouter.databases.sql import STATEMENTS, Kind, Statement, text_of
from django_rwrouter.decision import Decision, Operation, Reason
from django_rwrouter.execution import failover, judge, replica_sessions
from django_rwrouter.execution.announcements import DECISION, announced
from django_rwrouter.execution.replica_sessions import has_tenants
from django_rwrouter.execution.writes import note_write, pins
from django_rwrouter.routing.decision_cache import holds
from django_rwrouter.scope.context import InForce, in_effect, in_force
from django_rwrouter.scope.generators import GeneratorRegions
from django_rwrouter.scope.state import THREAD, RoutingState, this_thread
from django_rwrouter.servers import spill_slots
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.signals import statement_routed
from django_rwrouter.stats.counters import Origin

logger = logging.getLogger("django_rwrouter")
_UPKEEP: Final = ("django_migrations", "sqlite_master", "pg_catalog.", "information_schema.")
"""How the names of tables begin that Django reads to see whether all is migrated."""
_UNEVEN: Final = frozenset({Reason.EXPLICIT, Reason.DEGRADED, Reason.FAILOVER})
"""Reads that are not spread over the replicas: what they take says nothing of one compared with another."""


def observe(  # noqa: C901, PLR0912  (on the path of every statement: one turn, which calls little)
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Run one statement, and note what it did (an execute wrapper, see Django's instrumentation guide).

    On the path of every statement: the usual one meets no call here that it does not need.
    """
    if (now := in_force()).block.__class__ is GeneratorRegions:
        now = in_effect()
    state = now.state or THREAD.outside
    connection: BaseDatabaseWrapper = context["connection"]
    topology = get_topology()
    alias = connection.alias
    if state.silent or alias not in topology.by_alias:
        return execute(sql, params, many, context)
    cluster = topology.by_alias[alias]
    text = sql if sql.__class__ is str else text_of(sql, connection)
    statement = STATEMENTS[connection.vendor][text]
    if (
        cluster.settings.replica_session is not None
        or replica_sessions.set_apart
        or has_tenants(connection.__class__)  # type: ignore[arg-type]
    ):
        execute = replica_sessions.following(execute, statement, cluster)
    if statement.kind is Kind.CONTROL:
        return _control(execute, sql, params, many, context, text)
    # Taken before it runs: another thread of the request may announce a read of the same table meanwhile.
    decision = announced(state, context, statement)
    if (
        alias != cluster.primary
        and not holds(decision, statement, state, now.block, connection)
        and (better := judge.overrule(decision, statement, connection, state, cluster)) is not None
    ):
        decision = better
        execute, context = judge.move(better, execute, context)
        alias, connection = decision.alias, context["connection"]
    elif decision is None and (statement.writes or statement.tables):
        operation: Operation = "write" if statement.writes else "read"
        decision = topology.raw_route(cluster.name).decide(alias, Reason.EXPLICIT, operation)
    context[DECISION] = decision
    load, key = loads[alias], object()
    started = perf_counter()
    load.running[key] = connection, started
    try:
        try:
            result = execute(sql, params, many, context)
        finally:
            ended = perf_counter()
            seconds = ended - started
            del load.running[key]
            if decision is not None and decision.reason not in _UNEVEN:
                load.count += 1
                load.seconds += seconds
    except BaseException as error:  # noqa: BLE001  (it is raised again)
        call = execute, sql, params, many, context
        result, decision, seconds = failover.rescue(error, seconds, decision, statement, cluster, call)
        alias, ended = decision.alias, perf_counter()
    if decision is None:
        replica_sessions.note_set(connection, text, params)
        return result  # It reads no data: Django asks for the version when it opens a connection.
    reason, origin = decision.reason, None
    if statement.writes or alias == cluster.primary:
        origin = _remember(decision, statement, now, state, cluster, connection)
    if not (state.uncounted or (reason is Reason.EXPLICIT and _is_upkeep(statement))):
        stats.count_statement(
            cluster.name,
            alias,
            statement.operation,
            reason.code,
            decision.would_be or "",
            seconds,
            origin,
            ended,
        )
    if statement_routed.receivers:
        statement_routed.send(
            sender=None, alias=alias, decision=decision, sql=text, seconds=seconds, wrote=statement.writes
        )
    return result


def _control(
    execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any], text: str
) -> Any:
    """Run a statement that controls transactions or the session."""
    connection = context["connection"]
    with get_product(connection).beginning(connection) if text.startswith("BEGIN") else nullcontext():
        result = execute(sql, params, many, context)
    replica_sessions.note_set(connection, text, params)
    return result


def _remember(
    decision: Decision,
    statement: Statement,
    now: InForce,
    state: RoutingState,
    cluster: Cluster,
    connection: BaseDatabaseWrapper,
) -> Origin | None:
    """Remember what a write, or a read of the primary, means for the statements that follow.

    Return what a read is of that the primary had to answer.
    """
    if statement.writes:
        if pins(statement, now) and (connection.alias == cluster.primary or not _ran_read_only(connection)):
            note_write(state, cluster.name)
        return None
    if decision.would_be:
        return None
    if decision.reason is Reason.SPILLED:
        spill_slots.release(state, this_thread(), cluster.name)
    # Objects that were read there are followed there, however that was: by name, for a write, in a
    # transaction. What has been read there may be on no replica yet.
    if not statement.tables <= get_topology().primary_only_tables:
        scope = state.scope(cluster.name)
        scope.read_primary = True
        if not scope.read_to_write and (
            decision.operation == "write"
            or statement.locks
            or (decision.reason is Reason.EXPLICIT and not scope.wrote and judge.looks_to_create())
        ):
            state.note_read_to_write(cluster.name)
    return state.view_name, decision.model


def _is_upkeep(statement: Statement) -> bool:
    """Whether a statement asks for the schema and its migrations: no traffic of the site's."""
    return any(table.startswith(_UPKEEP) for table in statement.tables)


def _ran_read_only(connection: BaseDatabaseWrapper) -> bool:
    """Whether a statement ran in a replica's read-only session, and so wrote nothing, whatever it says.

    The session itself is asked, as a replica's alias may lead to the primary.
    """
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(get_product(connection).read_only_query)
            return str(cursor.fetchone()[0]) in {"1", "on"}
    except Exception:  # noqa: BLE001  (each driver has errors of its own; then it counts)
        return False
