"""What sits on every connection of ours: it sees each statement, times it, and notes the writes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from time import perf_counter
from typing import Any, Final

from django.core import mail
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connections,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import stats
from django_rwrouter.decision import Decision, Operation, Reason
from django_rwrouter.exceptions import ReplicaWriteError
from django_rwrouter.knowledge import set_server
from django_rwrouter.signals import statement_routed
from django_rwrouter.sql import Kind, Statement, classify
from django_rwrouter.state import RoutingState, current_state, writes_are_tracked
from django_rwrouter.topology import Cluster, Topology, get_topology

logger = logging.getLogger("django_rwrouter")

READ_ONLY_STATEMENTS: Final = {
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "postgresql": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}
DECISION: Final = "rwrouter_decision"
"""Where other execute wrappers find, in their ``context``, the decision on the statement that they run."""
_MYSQL_READ_ONLY_ERRORS: Final = frozenset({1290, 1792, 1836})
"""ER_OPTION_PREVENTS_STATEMENT, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, ER_READ_ONLY_MODE."""
_MYSQL_CLIENT_ERRORS: Final = range(2000, 3000)
"""Errors that the client library makes when a connection fails (CR_MIN_ERROR to CR_MAX_ERROR)."""
_MYSQL_SERVER_GONE: Final = frozenset({1053, 1077, 1152, 1159, 1160, 1161, 1184, 1927})
"""Errors by which a server tells that it is going, or that the connection was aborted or killed."""


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
    user, and one write there stops replication, or makes the replica differ for good.
    """
    cluster = get_topology().by_alias.get(connection.alias)
    if cluster is None:
        return
    install(connection)
    # A new connection may have reached another server.
    set_server(connection, None)
    current_state().scope(cluster.name).forget(connection.alias)
    if connection.alias == cluster.primary or not cluster.settings.read_only_sessions:
        return
    statement = READ_ONLY_STATEMENTS.get(connection.vendor)
    if statement is None or is_test_mirror(connection):
        return
    try:
        with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement)
            if not connection.autocommit:
                connection.connection.commit()  # PostgreSQL would undo the setting on a rollback.
    except BaseException:
        connection.close()  # Never leave a replica's connection open that can be written to.
        raise


def is_test_mirror(connection: BaseDatabaseWrapper) -> bool:
    """Whether a replica's connection has been pointed at the primary itself by the running tests."""
    mirrored = connection.settings_dict["TEST"].get("MIRROR")
    # Django's test runner and pytest-django make this list; nothing else does.
    if not mirrored or not hasattr(mail, "outbox"):
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
    # Taken before it runs: another thread of the request may announce a read of the same table meanwhile.
    decision = _announced(state, connection, statement)
    if decision is None and (statement.writes or statement.tables):
        operation: Operation = "write" if statement.writes else "read"
        decision = topology.raw_route(cluster.name).decide(connection.alias, Reason.EXPLICIT, operation)
    context[DECISION] = decision
    started = perf_counter()
    try:
        result = execute(sql, params, many, context)
    except BaseException as error:
        if connection.alias != cluster.primary and _is_refused_write(error, connection.vendor):
            stats.count_event("replica_write_refused", connection.alias)
            raise _replica_write_error(connection.alias, statement) from error
        if (
            statement.writes
            and _pins(statement, topology)
            and (many or _may_have_written(error, statement, connection.vendor))
        ):
            note_write(state, cluster.name)
        raise
    seconds = perf_counter() - started
    if statement.writes and _pins(statement, topology):
        note_write(state, cluster.name)
    if decision is None:
        return result  # It reads no data: Django asks for the version when it opens a connection.
    if _can_be_followed(connection.alias, cluster, statement, decision, topology):
        state.scope(cluster.name).read_primary = True
    _tell(connection.alias, cluster, statement, decision, text, seconds)
    return result


def _can_be_followed(
    alias: str, cluster: Cluster, statement: Statement, decision: Decision, topology: Topology
) -> bool:
    """Whether objects were read from the primary, however that came, so that they are followed there.

    By name, for a write, in a transaction: what has been read there may be on no replica yet.
    """
    return (
        alias == cluster.primary
        and not statement.writes
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
        statement.kind.value,
        decision.reason.value,
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


def _pins(statement: Statement, topology: Topology) -> bool:
    """Whether a write counts for the client that made it."""
    return statement.target not in topology.primary_only_tables and writes_are_tracked()


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


def _announced(state: RoutingState, connection: BaseDatabaseWrapper, statement: Statement) -> Decision | None:
    """Return the router's decision that led to this statement, if there is one.

    Django asks the router more and less often than it queries (a cached content type: once, and no query; a
    generic foreign key: a query, and never), so decisions are matched by database and table. A read's is used
    up by its statement; a write's stays, since one ``save()`` or ``bulk_create()`` runs several statements,
    and covers one read before them (``get_or_create()``, ``select_for_update()``).
    """
    alias = connection.alias
    reads = state.announced_reads.get(alias, {})
    if not statement.writes:
        for table in statement.tables:
            if table in reads:
                return reads.pop(table, None)
        return reads.pop("", None)  # Raw SQL, through read_connection().
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


def _may_have_written(error: BaseException, statement: Statement, vendor: str) -> bool:
    """Whether a statement that failed may have changed something all the same."""
    if statement.in_parts:
        return True
    if isinstance(error, (DataError, IntegrityError, ProgrammingError, NotSupportedError)):
        return False
    if isinstance(error, InterfaceError) or not isinstance(error, Error):
        return True
    if vendor == "mysql":
        code = error.args[0] if error.args else None
        return not isinstance(code, int) or code in _MYSQL_CLIENT_ERRORS or code in _MYSQL_SERVER_GONE
    if vendor == "postgresql":
        # No SQLSTATE: the connection broke. 08 and 57P are its own words for that.
        state = _sqlstate(error)
        return state is None or state.startswith(("08", "57P"))
    return vendor != "sqlite"


def _is_refused_write(error: BaseException, vendor: str) -> bool:
    """Whether a server refused a statement because session or server are read-only."""
    if not isinstance(error, Error):
        return False
    if vendor == "mysql":
        return bool(error.args) and error.args[0] in _MYSQL_READ_ONLY_ERRORS
    if vendor == "postgresql":
        return _sqlstate(error) == "25006"  # read_only_sql_transaction
    return vendor == "sqlite" and isinstance(error, OperationalError) and "readonly" in str(error)


def _sqlstate(error: BaseException) -> str | None:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _replica_write_error(alias: str, statement: Statement) -> ReplicaWriteError:
    what = f" to the table {statement.target!r}" if statement.target else ""
    return ReplicaWriteError(
        f"A write{what} was sent to {alias!r}, which is a replica, and was refused. Nothing was written."
        f" Remove .using({alias!r}) (or connections[{alias!r}]): without it, writes go to the primary."
    )
