"""What happens to servers and reads: each is counted, logged and signalled, always together."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

from django.dispatch import Signal

from django_rwrouter import process, signals, stats
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.causes import SECONDS
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.events.watcher import is_told_elsewhere, once_for_a_host, own_ejections
from django_rwrouter.printable import printable

logger = logging.getLogger("django_rwrouter")

REPEAT_SECONDS: Final = 10.0
"""What happens to many reads in a row is logged so often."""


def cluster_of(alias: str) -> str:
    """Return the name of the cluster that a database of ours belongs to."""
    cluster = get_topology().by_alias.get(alias)
    return "" if cluster is None else cluster.name


def why(error: BaseException) -> str:
    """Return a few words for an error: its type and code. Its text may name host, user and data."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else ""
    return f"{type(error).__name__} {code}".rstrip()


def _tell(level: int, message: str, alias: str, *values: object, signal: Signal, **facts: object) -> None:
    """Log what has happened to a database, and signal it with the same facts."""
    facts = {"alias": alias, "cluster": cluster_of(alias), **facts}
    # Its place in the log is the function below that told it.
    logger.log(level, message, alias, *values, extra=facts, stacklevel=2)
    signal.send_robust(sender=None, **facts)


def replica_ejected(alias: str, reason: str) -> None:
    """Tell that this process has stopped reading from a replica."""
    if is_told_elsewhere() or own_ejections.hold(alias, reason):
        return
    own_ejections.told.add(alias)
    stats.note_event(EventKind.REPLICA_EJECTED.code, alias, reason)
    _tell(
        logging.WARNING,
        "The replica %r is ejected: %s.",
        alias,
        reason,
        signal=signals.replica_ejected,
        why=reason,
    )


def replica_restored(alias: str, seconds: float) -> None:
    """Tell that it reads from the replica again."""
    if is_told_elsewhere() and alias not in own_ejections.told:
        return
    own_ejections.told.discard(alias)
    stats.note_event(EventKind.REPLICA_RESTORED.code, alias, SECONDS % {"seconds": f"{seconds:.1f}"})
    _tell(
        logging.INFO,
        "The replica %r is restored, after %.1f s.",
        alias,
        seconds,
        signal=signals.replica_restored,
        seconds=seconds,
    )


def read_failed_over(alias: str, substitute: str, reason: str) -> None:
    """Tell that a read has lost its database and was run again elsewhere."""
    stats.note_event(EventKind.FAILOVER.code, alias, f"{substitute}: {reason}")
    _tell(
        logging.WARNING,
        "A read on %r failed (%s) and was run again on %r.",
        alias,
        reason,
        substitute,
        signal=signals.read_failed_over,
        substitute=substitute,
        why=reason,
    )


def read_spilled(cluster: str) -> None:
    """Tell that a read goes to the primary because all replicas lag."""
    stats.count_event(EventKind.READ_SPILLED.code, cluster)
    if _is_news("spilled", cluster):
        logger.warning(
            "All replicas of %r lag more than MAX_LAG: some of their reads go to the primary.",
            cluster,
            extra={"cluster": cluster},
        )
    signals.read_spilled.send_robust(sender=None, cluster=cluster)


def read_degraded(cluster: str) -> None:
    """Tell that a read goes to a replica that lags more than ``MAX_LAG``."""
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


_told: dict[tuple[str, str], float] = {}
process.owns(_told.clear)


def _is_news(what: str, subject: str) -> bool:
    """Whether this was not logged lately: it happens to many reads in a row."""
    now = monotonic()
    if now - _told.get((what, subject), -REPEAT_SECONDS) < REPEAT_SECONDS:
        return False
    _told[what, subject] = now
    return True


@once_for_a_host
def primary_lost(alias: str, reason: str) -> None:
    """Tell that a primary does not answer."""
    stats.note_event(EventKind.PRIMARY_LOST.code, alias, reason)
    _tell(
        logging.ERROR,
        "The primary %r does not answer: %s.",
        alias,
        reason,
        signal=signals.primary_lost,
        why=reason,
    )


@once_for_a_host
def primary_found(alias: str) -> None:
    """Tell that it answers again."""
    stats.note_event(EventKind.PRIMARY_FOUND.code, alias)
    _tell(logging.WARNING, "The primary %r answers again.", alias, signal=signals.primary_found)


@once_for_a_host
def role_changed(alias: str, role: str) -> None:
    """Tell that a server was found in another role than before."""
    stats.note_event(EventKind.ROLE_CHANGED.code, alias, role)
    _tell(
        logging.WARNING,
        "The server behind %r is now in the role %r.",
        alias,
        role,
        signal=signals.role_changed,
        role=role,
    )


@once_for_a_host
def replica_drained(alias: str, reason: str) -> None:
    """Tell that a replica that was taken out of rotation by hand takes no reads of this process any more.

    Not counted here: each process finds it out, also when it starts, but it was done once (see overrides).
    """
    cluster = cluster_of(alias)
    logger.warning(
        "The replica %r is drained.",
        alias,
        extra={"alias": alias, "cluster": cluster, "why": printable(reason)},
    )
    signals.replica_drained.send_robust(sender=None, alias=alias, cluster=cluster)


@once_for_a_host
def replica_undrained(alias: str) -> None:
    """Tell that it was put back."""
    _tell(logging.WARNING, "The replica %r is no longer drained.", alias, signal=signals.replica_undrained)


@once_for_a_host
def switched_off(cluster: str, reason: str) -> None:
    """Tell that the kill switch of a cluster was thrown. Not counted here, as :func:`replica_drained`."""
    logger.warning(
        "All reads of the cluster %r go to its primary: its kill switch was thrown.",
        cluster,
        extra={"cluster": cluster, "why": printable(reason)},
    )


@once_for_a_host
def switched_on(cluster: str) -> None:
    """Tell that it was put back."""
    logger.warning("The reads of the cluster %r are routed again.", cluster, extra={"cluster": cluster})
