"""Retries a read that has lost its replica: on another replica, and finally on the primary.

Only where nobody can tell the difference: the router chose the replica, the statement reads, no transaction
is open on the connection, and no row was handed out, since the error came out of ``execute()``. The caller
keeps the cursor that it has; what is inside that is replaced. Which database may stand in is decided by the
rules for any read, so the substitute has what the client's token asks for.

The same is done for a read that loses the primary, if it was there only because all replicas lag: while the
primary is away, the replica that lags least answers such reads.

A read that a replica cannot run, though the primary may (a column that is not there yet, an unlogged table),
is run there at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import perf_counter
from typing import Any, Final, NamedTuple, cast

from django.db import Error, InterfaceError, InternalError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import stats
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.databases import get_product
from django_rwrouter.databases.base import Loss
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.exceptions import ReplicaWriteError
from django_rwrouter.execution.announcements import DECISION, RAW_DECISION
from django_rwrouter.execution.writes import note_write, pins
from django_rwrouter.routing.decide import substitute
from django_rwrouter.routing.opening import Opening, open_replica
from django_rwrouter.scope.context import current_block, current_state, in_effect
from django_rwrouter.scope.state import THREAD, this_thread
from django_rwrouter.servers import asking, spill_slots
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import registered

_TIMED_OUT: Final = 0.9
"""The part of the time that a driver waits for an answer, after which an error is taken for its end."""


Call = tuple[Callable[..., Any], Any, Any, bool, dict[str, Any]]
"""What Django hands to an execute wrapper: ``execute``, ``sql``, ``params``, ``many`` and ``context``."""


class Rerun(NamedTuple):
    """How a read went that was run again."""

    result: Any
    decision: Decision
    """Where it ran, with the reason ``FAILOVER`` or ``ONLY_ON_PRIMARY``."""
    seconds: float
    """What the last run took."""


def rescue(
    error: BaseException,
    seconds: float,
    decision: Decision | None,
    statement: Statement,
    cluster: Cluster,
    call: Call,
) -> Rerun:
    """Deal with a statement that failed with ``error`` after so many seconds.

    A read that has lost its replica is run again elsewhere. For any other, what it did is noted, and its
    error raised again, or ``ReplicaWriteError`` in place of a replica's refusal.
    """
    now = in_effect()
    state = now.state or THREAD.outside
    spill_slots.release(state, this_thread(), cluster.name)
    *_rest, many, context = call
    connection = context["connection"]
    if decision is not None and not (statement.writes or many) and _was_chosen(decision, connection):
        rerun = _run_again(error, seconds, decision, statement, cluster, call)
        if rerun is not None:
            if hasattr(context["cursor"], RAW_DECISION):
                setattr(context["cursor"], RAW_DECISION, rerun.decision)
            return rerun
    alias, errors = connection.alias, get_product(connection).errors
    if alias != cluster.primary and errors.is_refused_write(error):
        stats.note_event("replica_write_refused", alias)
        what = f" to the table {statement.target!r}" if statement.target else ""
        raise ReplicaWriteError(
            f"A write{what} was sent to {alias!r}, which is a replica, and was refused. Nothing was written."
            f" Remove .using({alias!r}) (or connections[{alias!r}]): without it, writes go to the primary."
        ) from error
    if isinstance(error, (OperationalError, InterfaceError, InternalError)):
        stats.count_event("statement_failed", alias)
    if (
        statement.writes
        and pins(statement, now)
        and (many or statement.in_parts or errors.may_have_written(error))
    ):
        note_write(state, cluster.name)
    if alias == cluster.primary:
        _leave_demoted(connection, error, context["cursor"])
    raise error


def _run_again(
    error: BaseException,
    seconds: float,
    decision: Decision,
    statement: Statement,
    cluster: Cluster,
    call: Call,
) -> Rerun | None:
    """Run a read elsewhere, if that is safe and not in vain; otherwise ``None``.

    One that takes longer than the driver waits is run again once: more would multiply a load that is too
    high already. Raises the primary's own error if that fails in the end, and ``NoReplicaAvailable`` inside a
    block that says ``strict=True``.
    """
    context = call[-1]
    connection: BaseDatabaseWrapper = context["connection"]
    reason = decision.reason
    lost = _loss(error, connection, reason, cluster)
    if lost is None and not _may_work_on_primary(error, connection, cluster):
        return None
    cursor = context["cursor"]
    chunked = bool(getattr(cursor.cursor, "name", None))
    first, why = connection.alias, emit.why(error)
    failed: dict[str, BaseException] = {}
    too_long = False
    while lost is not None:
        failed[connection.alias] = error
        alive = _leave(connection, cluster, lost, error, seconds)
        _close(cursor.cursor)
        if alive and too_long:
            break
        too_long = too_long or alive
        other = substitute(decision, cluster, {*failed, *get_topology().without(cluster, statement.tables)})
        if other.alias in failed:  # The primary: there is no other.
            error = failed[other.alias]
            break
        decision, reason = replace(other, reason=Reason.FAILOVER), other.reason
        connection = connections[decision.alias]
        began = perf_counter()
        try:
            rerun = _run_on(connection, decision, call, chunked=chunked)
        except Error as another:
            error = another
            lost = _loss(error, connection, reason, cluster)
        else:
            detail = f"{decision.alias}: {why}"
            emit.event(EventKind.FAILOVER, first, detail, substitute=decision.alias, why=why)
            return rerun
        finally:
            seconds = perf_counter() - began
            spill_slots.release(current_state(), this_thread(), cluster.name)
    if _may_work_on_primary(error, connection, cluster):
        _close(cursor.cursor)
        there = replace(decision, alias=cluster.primary, reason=Reason.ONLY_ON_PRIMARY)
        try:
            rerun = _run_on(connections[cluster.primary], there, call, chunked=chunked)
        except (OperationalError, InterfaceError, InternalError):
            stats.count_event("statement_failed", cluster.primary)
            raise
        emit.only_on_primary(connection.alias)
        return rerun
    stats.count_event("statement_failed", connection.alias)
    raise error


def _run_on(connection: BaseDatabaseWrapper, decision: Decision, call: Call, *, chunked: bool) -> Rerun:
    """Run a statement on another connection, with the cursor that the caller holds."""
    execute, sql, params, many, context = call
    cursor = context["cursor"]
    began = perf_counter()
    with registered(connection, probe=False):
        replace_cursor(cursor, connection, chunked=chunked)
        again = {**context, "connection": connection, "cursor": cursor, DECISION: decision}
        result = execute(sql, params, many, again)
        return Rerun(result, decision, perf_counter() - began)


def _may_work_on_primary(error: BaseException, connection: BaseDatabaseWrapper, cluster: Cluster) -> bool:
    """Whether a read that a replica could not run is to be tried on the primary.

    Inside a block that says ``strict=True`` the replica's error is the answer.
    """
    block = current_block(cluster.name)
    return (
        connection.alias != cluster.primary
        and not connection.in_atomic_block
        and connection.autocommit
        and not (block is not None and block.strict)
        and get_product(connection).errors.may_work_on_primary(error)
    )


def _leave_demoted(connection: BaseDatabaseWrapper, error: BaseException, cursor: Any) -> None:
    """Close a primary's connection on which a write was refused because the server is read-only.

    The server was demoted, and the address may lead to another by now: the next connection will find it.
    Inside ``atomic()`` that waits for the end of the outermost block, as inner ones roll back to their
    savepoints, and the code may catch the error and go on.
    """
    if not get_product(connection).errors.is_read_only_server(error, connection):
        return
    alias = connection.alias
    emit.event(EventKind.PRIMARY_READ_ONLY, alias, why=emit.why(error))
    if connection.in_atomic_block:
        _close_after_transaction(connection)
        return
    _close(getattr(cursor, "cursor", None))
    with suppress(Error):
        connection.close()


def _close_after_transaction(connection: BaseDatabaseWrapper) -> None:
    """Let a connection be closed when its outermost ``atomic()`` block ends.

    Django tells nobody of a rollback, but there it turns autocommit on again. Where autocommit is off, the
    connection is closed when the next request begins.
    """
    connection.close_at = 0.0
    if "set_autocommit" in vars(connection):
        return

    def set_autocommit(*args: Any, **kwargs: Any) -> None:
        del connection.set_autocommit
        if connection.in_atomic_block:
            connection.set_autocommit(*args, **kwargs)
        else:
            with suppress(Error):
                connection.close()

    connection.set_autocommit = set_autocommit  # type: ignore[method-assign]


def _was_chosen(decision: Decision, connection: BaseDatabaseWrapper) -> bool:
    """Whether the router sent a read to this database; what the code names itself is the code's own."""
    chosen = (decision.operation, decision.alias) == ("read", connection.alias)
    return chosen and decision.reason is not Reason.EXPLICIT


def _loss(
    error: BaseException, connection: BaseDatabaseWrapper, reason: Reason, cluster: Cluster
) -> Loss | None:
    """Tell what was lost, or ``None`` if the statement must not run again.

    ``reason`` is why it ran there: on the primary, only a read that has spilled may run elsewhere.
    """
    on_primary = connection.alias == cluster.primary
    if on_primary and reason is not Reason.SPILLED:
        return None
    if connection.in_atomic_block or not connection.autocommit:
        return None  # What ran before it in the same transaction would have to run again, too.
    closed = connection.connection is None or bool(getattr(connection.connection, "closed", False))
    lost = get_product(connection).errors.loss(error, closed=closed)
    # A primary cancels nothing for the sake of replay.
    return None if on_primary and lost is Loss.STATEMENT else lost


def _leave(
    connection: BaseDatabaseWrapper, cluster: Cluster, lost: Loss, error: BaseException, seconds: float
) -> bool:
    """Give up what is lost; return whether it was the statement's fault, which took too long.

    An error that came at once leaves open whether the server is gone, since a connection that was idle for
    too long gives it as well: whoever opens the next one will see. After a time-out that is seen here, as a
    frozen server lets nobody in. So a long query takes no replica out of use.
    """
    if lost is Loss.STATEMENT:
        return False
    alias = connection.alias
    with suppress(Error):
        connection.close()
    patience = get_product(connection).patience(connection.settings_dict["OPTIONS"])
    timed_out = seconds >= _TIMED_OUT * patience
    if alias == cluster.primary:
        if lost is Loss.SERVER:
            asking.note_lost_primary(cluster, cast("Error", error))
        return timed_out  # It is not tried: frozen or not, one more run on a replica must do.
    if lost is Loss.SERVER:
        asking.pass_over(alias, cast("Error", error))
        return False
    return timed_out and not health.is_ejected(alias) and open_replica(connection) is Opening.OPENED


def replace_cursor(wrapper: Any, connection: BaseDatabaseWrapper, *, chunked: bool) -> None:
    """Let the cursor that the caller holds work on another connection.

    ``chunked``: rows are fetched bit by bit from a server-side cursor, as ``iterator()`` does on PostgreSQL.
    """
    chunked = chunked and not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
    new = connection.chunked_cursor() if chunked else connection.cursor()
    wrapper.cursor, wrapper.db = new.cursor, connection


def _close(cursor: Any) -> None:
    """Close a driver's cursor for good.

    Whatever it says of a connection that is gone: if Django closed it later, that would hide the error.
    """
    with suppress(Exception):
        cursor.close()
