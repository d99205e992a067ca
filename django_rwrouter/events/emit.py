"""Emits each event at once to the statistics, the log and its signal."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any, Final

from django_rwrouter import process, signals, stats
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases import code_of
from django_rwrouter.events.causes import SECONDS
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.events.once_per_host import is_emitted_elsewhere, once_for_a_host, own_ejections
from django_rwrouter.printable import printable

logger = logging.getLogger("django_rwrouter")

REPEAT_SECONDS: Final = 10.0
"""Least time between two log entries about a condition that many reads or writes meet one after another."""


def cluster_of(alias: str) -> str:
    """Return the name of the cluster that a database belongs to; empty for other databases."""
    cluster = get_topology().by_alias.get(alias)
    return "" if cluster is None else cluster.name


def why(error: BaseException) -> str:
    """Return an error's type and code. Its text may contain host, user and data."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else code_of(error) or ""
    return f"{type(error).__name__} {code}".rstrip()


def _emit(
    kind: EventKind,
    level: int,
    message: str,
    alias: str,
    *values: object,
    detail: str | None = "",
    **facts: object,
) -> None:
    """Log an event and send its signal with the same facts; count it unless ``detail`` is ``None``."""
    if detail is not None:
        stats.note_event(kind.code, alias, detail)
    facts = {"alias": alias, "cluster": cluster_of(alias), **facts}
    # The place in the log is the function of the event, not this one.
    logger.log(level, message, alias, *values, extra=facts, stacklevel=2)
    if kind.signal is not None:
        kind.signal.send_robust(sender=None, **facts)


def replica_ejected(alias: str, reason: str) -> None:
    """Emit that this process has stopped reading from a replica."""
    if is_emitted_elsewhere() or own_ejections.hold(alias, reason):
        return
    own_ejections.emitted.add(alias)
    message = "The replica %r is ejected: %s."
    _emit(EventKind.REPLICA_EJECTED, logging.WARNING, message, alias, reason, detail=reason, why=reason)


def replica_restored(alias: str, seconds: float) -> None:
    """Emit that this process reads from a replica again, after so many seconds."""
    if is_emitted_elsewhere() and alias not in own_ejections.emitted:
        return
    own_ejections.emitted.discard(alias)
    message = "The replica %r is restored, after %.1f s."
    detail = SECONDS % {"seconds": f"{seconds:.1f}"}
    _emit(EventKind.REPLICA_RESTORED, logging.INFO, message, alias, seconds, detail=detail, seconds=seconds)


def read_failed_over(alias: str, substitute: str, reason: str) -> None:
    """Emit that a read lost its database and was run again on another."""
    message = "A read on %r failed (%s) and was run again on %r."
    _emit(
        *(EventKind.FAILOVER, logging.WARNING, message, alias, reason, substitute),
        detail=f"{substitute}: {reason}",
        substitute=substitute,
        why=reason,
    )


def read_spilled(cluster: str) -> None:
    """Emit that a read goes to the primary because all replicas exceed ``MAX_LAG``."""
    message = "All replicas of %r lag more than MAX_LAG: some of their reads go to the primary."
    _emit_condition(EventKind.READ_SPILLED, logging.WARNING, message, cluster, cluster=cluster)


def read_degraded(cluster: str) -> None:
    """Emit that a read goes to a replica that exceeds ``MAX_LAG``."""
    message = (
        "All replicas of %r lag more than MAX_LAG, and the primary is away or has SPILL_LIMIT of their"
        " reads already: the replica that lags least answers."
    )
    _emit_condition(EventKind.READ_DEGRADED, logging.ERROR, message, cluster, cluster=cluster)


def only_on_primary(alias: str) -> None:
    """Log that a replica could not run a read and the primary could; statistics count it by its reason."""
    message = (
        "The replica %r could not run a read, and the primary could: a table, a column or a privilege is"
        " not there yet, or it is something that no replica can do."
    )
    _log_condition("only_on_primary", logging.WARNING, message, alias, alias=alias, cluster=cluster_of(alias))


def session_differs(alias: str, name: str) -> None:
    """Emit that a replica answers whose session lacks what was set on the primary's."""
    message = (
        "The replica %r may answer with other rows: a %s was set on the session of the primary, and not on"
        " its own. Have RWROUTER['REPLICA_SESSION'] set it there, or read inside use_primary()."
    )
    facts = {"alias": alias, "cluster": cluster_of(alias)}
    _emit_condition(EventKind.SESSION_DIFFERS, logging.WARNING, message, alias, name, **facts)


def position_unknown(alias: str, cluster: str, reason: str) -> None:
    """Emit that a primary could not be asked where it stands, after a write or for a read."""
    stats.count_event(EventKind.POSITION_UNKNOWN.code, cluster)
    message = "The primary %r could not be asked where it stands (%s)."
    _log_condition("position_unknown", logging.WARNING, message, alias, reason, alias=alias, cluster=cluster)


def primary_read_only(alias: str, reason: str) -> None:
    """Emit that a primary refused a write because its server has become read-only."""
    stats.note_event(EventKind.PRIMARY_READ_ONLY.code, alias, reason)
    message = "The primary %r refuses writes, as it is read-only now (%s). Its connection is given up."
    facts: dict[str, Any] = {"alias": alias, "cluster": cluster_of(alias), "why": reason}
    _log_condition("primary_read_only", logging.WARNING, message, alias, reason, **facts)


def write_too_late(cluster: str) -> None:
    """Emit that a write came too late for its client's token."""
    message = (
        "A write to %r was made while a streamed response was being sent, too late for the client's token:"
        " its next reads may miss it. Write before the response is returned."
    )
    _emit_condition(EventKind.LATE_WRITE, logging.WARNING, message, cluster, cluster=cluster)


def sync_timed_out(cluster: str, replicas: int | str, seconds: float) -> None:
    """Emit that ``SYNC_REPLICAS`` replicas have not replayed a write in time."""
    message = (
        "A write to %r was not replayed by %s replicas within SYNC_TIMEOUT (%s s); the response goes out all"
        " the same, and the client's token keeps it from reading what is older."
    )
    values = cluster, replicas, seconds
    _emit_condition(EventKind.SYNC_TIMEOUT, logging.WARNING, message, *values, cluster=cluster)


_logged: dict[tuple[str, str], float] = {}
"""When a condition of a subject was last logged (monotonic seconds)."""
process.owns(_logged.clear)


def _emit_condition(
    kind: EventKind, level: int, message: str, subject: str, *values: object, **facts: object
) -> None:
    """Count what many reads or writes meet one after another, log it now and then, and send its signal."""
    stats.count_event(kind.code, subject)
    _log_condition(kind.code, level, message, subject, *values, stacklevel=3, **facts)
    if kind.signal is not None:
        kind.signal.send_robust(sender=None, **facts)


def _log_condition(
    condition: str,
    level: int,
    message: str,
    subject: str,
    *values: object,
    stacklevel: int = 2,
    **facts: object,
) -> None:
    """Log a condition of a subject, unless that was done within ``REPEAT_SECONDS``."""
    now = monotonic()
    if now - _logged.get((condition, subject), -REPEAT_SECONDS) >= REPEAT_SECONDS:
        _logged[condition, subject] = now
        logger.log(level, message, subject, *values, extra=facts, stacklevel=stacklevel)


@once_for_a_host
def primary_lost(alias: str, reason: str) -> None:
    """Emit that a primary does not answer."""
    message = "The primary %r does not answer: %s."
    _emit(EventKind.PRIMARY_LOST, logging.ERROR, message, alias, reason, detail=reason, why=reason)


@once_for_a_host
def primary_found(alias: str) -> None:
    """Emit that a primary answers again."""
    _emit(EventKind.PRIMARY_FOUND, logging.WARNING, "The primary %r answers again.", alias)


@once_for_a_host
def role_changed(alias: str, role: str) -> None:
    """Emit that a server was found in another role than before."""
    message = "The server behind %r is now in the role %r."
    _emit(EventKind.ROLE_CHANGED, logging.WARNING, message, alias, role, detail=role, role=role)


@once_for_a_host
def replica_drained(alias: str, reason: str) -> None:
    """Announce that a replica was drained by hand.

    Not counted: every process learns of it, and the command that did it counts it once (see overrides).
    """
    facts = {"alias": alias, "cluster": cluster_of(alias)}
    logger.warning("The replica %r is drained.", alias, extra={**facts, "why": printable(reason)})
    signals.replica_drained.send_robust(sender=None, **facts)


@once_for_a_host
def replica_undrained(alias: str) -> None:
    """Announce that a drained replica was put back; not counted, like :func:`replica_drained`."""
    message = "The replica %r is no longer drained."
    _emit(EventKind.REPLICA_UNDRAINED, logging.WARNING, message, alias, detail=None)


@once_for_a_host
def switched_off(cluster: str, reason: str) -> None:
    """Log that the kill switch of a cluster was thrown; not counted, like :func:`replica_drained`."""
    logger.warning(
        "All reads of the cluster %r go to its primary: its kill switch was thrown.",
        cluster,
        extra={"cluster": cluster, "why": printable(reason)},
    )


@once_for_a_host
def switched_on(cluster: str) -> None:
    """Log that the kill switch of a cluster was reset."""
    logger.warning("The reads of the cluster %r are routed again.", cluster, extra={"cluster": cluster})
