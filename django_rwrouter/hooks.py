"""What sits on every connection of ours: it sees each statement, times it, and notes the writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process, sockets, spills, stats
from django_rwrouter.decision import Decision, Operation, Reason
from django_rwrouter.knowledge import set_server
from django_rwrouter.load import load_of
from django_rwrouter.positions import get_driver
from django_rwrouter.primary_identity import primary_server
from django_rwrouter.signals import statement_routed
from django_rwrouter.sql import Kind, Statement, classify
from django_rwrouter.state import RoutingState, current_state, this_thread, writes_are_tracked
from django_rwrouter.topology import Cluster, Topology, get_topology

logger = logging.getLogger("django_rwrouter")

_IS_READ_ONLY: Final = {
    "mysql": "SELECT @@session.transaction_read_only",
    "postgresql": "SHOW transaction_read_only",
    "sqlite": "PRAGMA query_only",
}
_SQLITE_READ_ONLY: Final = "PRAGMA query_only = ON"
DECISION: Final = "rwrouter_decision"
"""Where other execute wrappers find, in their ``context``, the decision on the statement that they run."""
_UNEVEN: Final = frozenset({Reason.EXPLICIT, Reason.DEGRADED, Reason.FAILOVER})
"""Reads that are not spread over the replicas: what they take says nothing of one compared with another."""
RAW_DECISION: Final = "_rwrouter_decision"
"""Under this name a cursor keeps the decision of ``read_connection()``."""


def install(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Put the hook on a connection, once, and return the connection.

    At the front: ``connection.execute_wrapper()`` takes the last one off when its block ends, whoever put it
    there in the meantime.
    """
    if observe not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, observe)
    return connection


def prepare(*, connection: BaseDatabaseWrapper, **_kwargs: object) -> None:
    """Prepare a connection of ours that has just been opened (receiver of ``connection_created``).

    A replica's session becomes read-only on the server: ``read_only`` on a server does not stop a privileged
    user, and one write there stops replication, or makes the replica differ for good. Not where the alias
    leads to the primary itself: a pooler may give that session to others, who write.
    """
    cluster = get_topology().by_alias.get(connection.alias)
    if cluster is None:
        return
    install(connection)
    sockets.note_opened(connection)
    # A new connection may have reached another server.
    set_server(connection, None)
    current_state().forget_connection(cluster.name, connection.alias)
    if connection.alias == cluster.primary or not cluster.settings.read_only_sessions:
        return
    driver = get_driver(connection)
    if (driver is None and connection.vendor != "sqlite") or is_test_mirror(connection):
        return
    primary = primary_server(cluster) if connection.vendor == "mysql" else None
    try:
        with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
            if driver is None:
                cursor.execute(_SQLITE_READ_ONLY)
            else:
                driver.make_read_only(cursor, primary)
            if not connection.autocommit:
                connection.connection.commit()  # PostgreSQL would undo the setting on a rollback.
    except BaseException:
        connection.close()  # Never leave a replica's connection open that can be written to.
        raise


def is_test_mirror(connection: BaseDatabaseWrapper) -> bool:
    """Whether a replica's connection has been pointed at the primary itself by the running tests."""
    mirrored = connection.settings_dict["TEST"].get("MIRROR")
    if not mirrored or not process.in_test_environment():
        return False
    target = connections[mirrored].settings_dict
    own = connection.settings_dict
    return all(own[key] == target[key] for key in ("ENGINE", "NAME", "HOST", "PORT"))


def observe(
    execute: Callable[..., Any],
    sql: Any,
    params: Any,
    many: bool,
    context: dict[str, Any],
) -> Any:
    """Run one statement, and note what it did (an execute wrapper, see Django's instrumentation guide)."""
    state = current_state()
    connection: BaseDatabaseWrapper = context["connection"]
    topology = get_topology()
    cluster = topology.by_alias.get(connection.alias)
    if cluster is None or state.silent:
        return execute(sql, params, many, context)
    text = sql if isinstance(sql, str) else text_of(sql, connection)
    statement = classify(text, connection.vendor)
    if statement.kind is Kind.CONTROL:
        return execute(sql, params, many, context)
    alias = connection.alias
    # Taken before it runs: another thread of the request may announce a read of the same table meanwhile.
    decision = _announced(state, context, statement)
    if decision is None and (statement.writes or statement.tables):
        operation: Operation = "write" if statement.writes else "read"
        decision = topology.raw_route(cluster.name).decide(alias, Reason.EXPLICIT, operation)
    context[DECISION] = decision
    is_even = decision is not None and decision.reason not in _UNEVEN
    load = load_of(alias)
    started = perf_counter()
    running = load.begin(connection, started)
    try:
        result = execute(sql, params, many, context)
    except BaseException as error:  # noqa: BLE001  (it is raised again)
        seconds = perf_counter() - started
        load.end(running, seconds if is_even else None)
        # Here, because it stands on the connections, which are hooked.
        from django_rwrouter import failover

        call = execute, sql, params, many, context
        result, decision, seconds = failover.rescue(error, seconds, decision, statement, cluster, call)
        alias = decision.alias
    else:
        seconds = perf_counter() - started
        load.end(running, seconds if is_even else None)
        if decision is not None and decision.reason is Reason.SPILLED:
            spills.release(state, this_thread(), cluster.name)
    if statement.writes and pins(statement, topology) and not _ran_read_only(connection, cluster):
        note_write(state, cluster.name)
    if decision is None:
        return result  # It reads no data: Django asks for the version when it opens a connection.
    if alias == cluster.primary and _can_be_followed(statement, decision, topology):
        state.scope(cluster.name).read_primary = True
    _tell(alias, cluster, statement, decision, text, seconds)
    return result


def _can_be_followed(statement: Statement, decision: Decision, topology: Topology) -> bool:
    """Whether objects were read that are followed on the primary, where they came from, however that was.

    By name, for a write, in a transaction: what has been read there may be on no replica yet.
    """
    return (
        not statement.writes
        and decision.would_be is None
        and not statement.tables <= topology.primary_only_tables
    )


def _tell(
    alias: str, cluster: Cluster, statement: Statement, decision: Decision, sql: str, seconds: float
) -> None:
    """Count a statement, and send it to whoever listens."""
    stats.count_statement(
        cluster.name,
        alias,
        statement.operation,
        decision.reason.code,
        decision.would_be or "",
        seconds,
    )
    if statement_routed.receivers:
        statement_routed.send(
            sender=None,
            alias=alias,
            decision=decision,
            sql=sql,
            seconds=seconds,
            wrote=statement.writes,
        )


def text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return the text of a statement given as bytes or as psycopg's composed SQL."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if hasattr(sql, "as_string"):
        return str(sql.as_string(connection.connection))
    return str(sql)


def pins(statement: Statement, topology: Topology) -> bool:
    """Whether a write counts for the client that made it."""
    return statement.target not in topology.primary_only_tables and writes_are_tracked()


def _ran_read_only(connection: BaseDatabaseWrapper, cluster: Cluster) -> bool:
    """Whether a statement ran in a replica's read-only session, and so wrote nothing, whatever it says.

    The session itself is asked, as a replica's alias may lead to the primary.
    """
    if connection.alias == cluster.primary:
        return False
    question = _IS_READ_ONLY.get(connection.vendor, "")
    if getattr(connection, "mysql_is_mariadb", False):
        question = question.replace("transaction_read_only", "tx_read_only")
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(question)
            return str(cursor.fetchone()[0]) in {"1", "on"}
    except Exception:  # noqa: BLE001  (each driver has errors of its own; then it counts)
        return False


def note_write(state: RoutingState, cluster: str) -> None:
    """Remember a write for the scope and those around it, and say so where it comes too late for a client."""
    each: RoutingState | None = state
    while each is not None:
        scope = each.scope(cluster)
        if each.sealed and not scope.wrote_late:
            scope.wrote_late = True
            stats.count_event("late_write", cluster)
            logger.warning(
                "A write was made while a streamed response was being sent, too late for the client's token:"
                " its next reads may miss it. Write before the response is returned.",
                extra={"cluster": cluster},
            )
        each = each.outer
    state.note_write(cluster)


def _announced(state: RoutingState, context: dict[str, Any], statement: Statement) -> Decision | None:
    """Return the router's decision that led to this statement, if there is one.

    Django asks the router more and less often than it queries (a cached content type: once, and no query; a
    generic foreign key: a query, and never), so decisions are matched by database and table. A read's is used
    up by its statement; a write's stays, since one ``save()`` or ``bulk_create()`` runs several statements,
    and covers one read before them (``get_or_create()``, ``select_for_update()``). What ``read_connection()``
    decided holds for all that its first cursor reads.
    """
    connection: BaseDatabaseWrapper = context["connection"]
    alias = connection.alias
    reads = state.announced_reads.get(alias, {})
    if not statement.writes:
        for table in statement.tables:
            if table in reads:
                return reads.pop(table, None)
        cursor: dict[str, Decision] = context["cursor"].__dict__
        raw = reads.pop("", None)
        if raw is None:
            return cursor.get(RAW_DECISION)
        cursor[RAW_DECISION] = raw
        return raw
    writes = state.announced_writes.get(alias)
    if not writes:
        return None
    for table in statement.tables:
        if table in writes:
            if table in reads and reads[table].operation == "write":
                del reads[table]  # What it writes was not read first, and will not be.
            return writes[table]
    # A cascade, or the parent tables of multi-table inheritance: one call, several tables.
    return next(reversed(writes.values())) if connection.in_atomic_block else None
