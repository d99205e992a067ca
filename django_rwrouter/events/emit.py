"""Emits events: each is counted, logged and signalled together."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from django_rwrouter import process, signals, stats
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases import code_of
from django_rwrouter.events.causes import SECONDS
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.events.once_per_host import is_told_elsewhere, once_for_a_host, own_ejections
from django_rwrouter.printable import printable

logger = logging.getLogger("django_rwrouter")

REPEAT_SECONDS: Final = 10.0
"""Least time between two log entries about reads that meet the same condition one after another."""


def cluster_of(alias: str) -> str:
    """Return the name of the cluster that a database belongs to; empty for other databases."""
    cluster = get_topology().by_alias.get(alias)
    return "" if cluster is None else cluster.name


def why(error: BaseException) -> str:
    """Return an error's type and code. Its text may contain host, user and data."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else code_of(error) or ""
    return f"{type(error).__name__} {code}".rstrip()


def _emit(
    kind: EventKind, level: int, message: str, alias: str, *values: object, detail: str = "", **facts: object
) -> None:
    """Count an event, log it, and send its signal with the same facts."""
    stats.note_event(kind.code, alias, detail)
    _announce(kind, level, message, alias, *values, stacklevel=3, **facts)


def _announce(
    kind: EventKind,
    level: int,
    message: str,
    alias: str,
    *values: object,
    stacklevel: int = 2,
    **facts: object,
) -> None:
    # The place in the log is the function of the event, not this one.
    facts = {"alias": alias, "cluster": cluster_of(alias), **facts}
    logger.log(level, message, alias, *values, extra=facts, stacklevel=stacklevel)
    if kind.signal is not None:
        kind.signal.send_robust(sender=None, **facts)


def replica_ejected(alias: str, reason: str) -> None:
    """Emit that this process has stopped reading from a replica."""
    if is_told_elsewhere() or own_ejections.hold(alias, reason):
        return
    own_ejections.told.add(alias)
    message = "The replica %r is ejected: %s."
    _emit(EventKind.REPLICA_EJECTED, logging.WARNING, message, alias, reason, detail=reason, why=reason)


def replica_restored(alias: str, seconds: float) -> None:
    """Emit that this process reads from a replica again, after so many seconds."""
    if is_told_elsewhere() and alias not in own_ejections.told:
        return
    own_ejections.told.discard(alias)
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
    stats.count_event(EventKind.READ_SPILLED.code, cluster)
    if _is_news("spilled", cluster):
        logger.warning(
            "All replicas of %r lag more than MAX_LAG: some of their reads go to the primary.",
            cluster,
            extra={"cluster": cluster},
        )
    signals.read_spilled.send_robust(sender=None, cluster=cluster)


def read_degraded(cluster: str) -> None:
    """Emit that a read goes to a replica that exceeds ``MAX_LAG``."""
    stats.count_event(EventKind.READ_DEGRADED.code, cluster)
    if _is_news("degraded", cluster):
        logger.error(
            "All replicas of %r lag more than MAX_LAG, and the primary is away or has SPILL_LIMIT of their"
            " reads already: the replica that lags least answers.",
            cluster,
            extra={"cluster": cluster},
        )


def only_on_primary(alias: str) -> None:
    """Log that a replica could not run a read and the primary could; statistics count it by its reason."""
    if _is_news("only_on_primary", alias):
        logger.warning(
            "The replica %r could not run a read, and the primary could: a table, a column or a privilege is"
            " not there yet, or it is something that no replica can do.",
            alias,
            extra={"alias": alias, "cluster": cluster_of(alias)},
        )


def session_differs(alias: str, name: str) -> None:
    """Emit that a replica answers whose session lacks what was set on the primary's."""
    stats.count_event(EventKind.SESSION_DIFFERS.code, alias)
    if _is_news("session_differs", alias):
        logger.warning(
            "A %s was set on the session of the primary, and not on that of the replica %r, which may answer"
            " with other rows. Have RWROUTER['REPLICA_SESSION'] set it there, or read inside use_primary().",
            name,
            alias,
            extra={"alias": alias, "cluster": cluster_of(alias)},
        )


_logged: dict[tuple[str, str], float] = {}
"""When a condition of a subject was last logged (monotonic seconds)."""
process.owns(_logged.clear)


def _is_news(condition: str, subject: str) -> bool:
    """Whether this condition was not logged within ``REPEAT_SECONDS``; notes that it is logged now."""
    now = monotonic()
    if now - _logged.get((condition, subject), -REPEAT_SECONDS) < REPEAT_SECONDS:
        return False
    _logged[condition, subject] = now
    return True


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
    _announce(EventKind.REPLICA_UNDRAINED, logging.WARNING, message, alias)


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
