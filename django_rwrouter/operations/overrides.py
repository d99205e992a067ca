"""Operators' overrides: a replica is drained, or a whole cluster is switched off.

Each is a row on the primary, so that it holds for all processes, and through restarts: the monitor of each
process reads the table at every tick, and applies what it finds. Whoever makes or ends an override applies
it in its own process at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process, stats
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.validators import did_you_mean
from django_rwrouter.databases import get_product
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.exceptions import UnknownNameError
from django_rwrouter.operations.override_table import MAX_BY, MAX_REASON, OverrideKind, RoutingOverride
from django_rwrouter.servers.health import health
from django_rwrouter.servers.survey import plain_cursor
from django_rwrouter.stats.own_table import TableMissingError

NOTHING_ROUTED: Final = f"{SETTING} names no replica and no primary: nothing is routed."
LOOK_AGAIN_SECONDS: Final = 10.0
"""How long a table that has not been made yet is not asked for again: each time is an error in its log."""

_KINDS: Final = frozenset(kind.value for kind in OverrideKind)
_EVENTS: Final = {
    OverrideKind.DRAIN: (EventKind.REPLICA_DRAINED, EventKind.REPLICA_UNDRAINED),
    OverrideKind.PRIMARY_ONLY: (EventKind.SWITCHED_OFF, EventKind.SWITCHED_ON),
}
"""What is noted when an override begins, and when it ends."""


class Override(NamedTuple):
    """An override in force; its values are JSON's."""

    kind: OverrideKind
    target: str
    """The alias of a replica, or the name of a cluster; the settings may not know it any more."""
    reason: str = ""
    by: str = ""
    at: int = 0
    """Since when, as Unix time."""

    @property
    def key(self) -> tuple[OverrideKind, str]:
        """What is overridden, as :func:`targets` has it."""
        return self.kind, self.target

    @property
    def why(self) -> str:
        """The reason and who gave it, in one line."""
        return f"{self.reason} ({self.by})" if self.reason and self.by else self.reason or self.by


# --- making and ending them ----------------------------------------------------------------------


def drain(alias: str, reason: str = "", by: str = "") -> None:
    """Take a replica out of rotation, for all processes, until :func:`undrain`.

    In force in this process at once (inside ``atomic()``: at its commit), and in the others within two
    intervals of the monitor. Reads that run there end undisturbed. Raises ``ValueError`` for an alias that is
    not a replica's, and ``ImproperlyConfigured`` before ``manage.py migrate``.
    """
    _put(OverrideKind.DRAIN, alias, reason, by)


def undrain(alias: str, by: str = "") -> bool:
    """Let a replica take reads again; return whether it was drained.

    Raises ``ValueError`` for an alias that is not a replica's, unless it was drained once, and the settings
    have lost it since; and ``ImproperlyConfigured`` before ``manage.py migrate``.
    """
    return _remove(OverrideKind.DRAIN, alias, by)


def switch_off(cluster: str, reason: str = "", by: str = "") -> None:
    """Throw the kill switch of a cluster: all its reads go to the primary, in all processes.

    In force when :func:`drain` would be. Raises ``ValueError`` for an unknown cluster, and
    ``ImproperlyConfigured`` before ``manage.py migrate``.
    """
    _put(OverrideKind.PRIMARY_ONLY, cluster, reason, by)


def switch_on(cluster: str, by: str = "") -> bool:
    """Undo :func:`switch_off`; return whether it was off.

    Raises ``ValueError`` for a cluster that neither the settings nor the table know, and
    ``ImproperlyConfigured`` before ``manage.py migrate``.
    """
    return _remove(OverrideKind.PRIMARY_ONLY, cluster, by)


def _put(kind: OverrideKind, target: str, reason: str, by: str) -> None:
    _check_target(kind, target)
    # Longer ones would be refused, or cut with a warning, as the server is set up.
    reason, by = _storable(reason)[:MAX_REASON], _storable(by)[:MAX_BY]
    values = {"reason": reason, "made_by": by, "made_at": int(time.time())}
    table = RoutingOverride.objects.on_primary()
    with table.unseen():
        table.update_or_create(kind=kind.value, target=target, defaults=values)
    _settle(table.db, _EVENTS[kind][0], target, Override(kind, target, reason, by).why)


def _storable(text: str) -> str:
    """Replace what databases refuse: the bytes of a shell in another encoding, and null characters."""
    return text.encode(errors="replace").decode().replace("\0", "?")


def _remove(kind: OverrideKind, target: str, by: str) -> bool:
    table, stored = RoutingOverride.objects.on_primary(), _storable(target)
    with table.unseen():
        rows = table.filter(kind=kind.value, target=stored)
        removed: bool = rows.delete()[0] > 0
    if removed:
        _settle(table.db, _EVENTS[kind][1], stored, _storable(by)[:MAX_BY])
    else:
        _check_target(kind, target)
    return removed


def _settle(alias: str, event: EventKind, target: str, detail: str) -> None:
    """Let what was written be in force here, too: as soon as others can see it."""

    def settle() -> None:
        # Recorded once, by the process that made it; the others learn of it from the table.
        global _written_at  # noqa: PLW0603
        stats.note_event(event.code, target, detail)
        _written_at = monotonic()
        apply(in_force())

    if connections[alias].in_atomic_block:
        transaction.on_commit(settle, using=alias, robust=True)
    else:
        settle()


def _check_target(kind: OverrideKind, target: str) -> None:
    topology = get_topology()
    if kind is OverrideKind.PRIMARY_ONLY:
        topology.check_cluster(target)
        if topology.inert:
            raise UnknownNameError(NOTHING_ROUTED)
        return
    cluster = topology.by_alias.get(target)
    if cluster is None:
        replicas = [alias for cluster in topology.clusters.values() for alias in cluster.replica_aliases]
        otherwise = f"The replicas are: {', '.join(map(repr, replicas)) or 'none'}."
        hint = did_you_mean(target, replicas, otherwise)
        raise UnknownNameError(f"There is no replica {target!r} in {SETTING}. {hint}")
    if target == cluster.primary:
        raise UnknownNameError(
            f"{target!r} is the primary of the cluster {cluster.name!r}, and takes reads whenever no replica"
            " does: it cannot be drained."
        )


# --- reading and applying them -------------------------------------------------------------------


def targets() -> set[tuple[OverrideKind, str]]:
    """Return what can be overridden: the replicas and the clusters of the settings, where they route."""
    clusters = get_topology().routed_clusters
    replicas = {(OverrideKind.DRAIN, alias) for cluster in clusters for alias in cluster.replica_aliases}
    return replicas | {(OverrideKind.PRIMARY_ONLY, cluster.name) for cluster in clusters}


def database() -> str:
    """Return the alias of the database with the table: a primary."""
    alias: str = RoutingOverride.objects.on_primary().db
    return alias


def load(connection: BaseDatabaseWrapper) -> list[Override]:
    """Return what is in force, by one statement on an open connection to :func:`database`.

    On the driver's own cursor, which nobody else sees, and never behind a lock on the table for long: a
    migration's would keep the monitor. Nothing is in force before ``manage.py migrate``. Raises
    ``django.db.Error`` if the server does not answer.
    """
    global _missing_until  # noqa: PLW0603
    if monotonic() < _missing_until:
        return []
    try:
        return _select(connection, patiently=False)
    except DatabaseError as error:
        if not RoutingOverride.objects.is_missing(error, connection):
            raise
        _missing_until = monotonic() + LOOK_AGAIN_SECONDS
        return []


def in_force() -> list[Override]:
    """Return what is in force now, over this thread's own connection to the primary.

    Raises ``django.db.Error`` if that does not answer.
    """
    table = RoutingOverride.objects.on_primary()
    try:
        with table.unseen():
            return _select(connections[table.db])
    except TableMissingError:
        return []


def take_in(answer: Iterable[Sequence[Any]], asked_at: float) -> None:
    """Apply what a monitor has read, unless it may have read it before this process wrote.

    A leader goes on telling what it read last for as long as the primary does not answer.
    """
    if asked_at >= _written_at:
        apply(answer)


def apply(overrides: Iterable[Sequence[Any]], *, quietly: bool = False) -> None:
    """Let these be in force in this process, and no others; tell what has changed, unless ``quietly``.

    What the settings do not know has no effect: a row may be older, or newer, than this process's settings.
    """
    targeted = targets()
    effective = {override.key: override for override in _understood(overrides) if override.key in targeted}
    drained = health.set_drained(
        [
            (override.target, override.at, override.why)
            for override in effective.values()
            if override.kind is OverrideKind.DRAIN
        ]
    )
    off = health.set_off([target for kind, target in effective if kind is OverrideKind.PRIMARY_ONLY])
    if quietly:
        return
    # Every process learns of it; the command that did it has counted it.
    for kind, begun, ended in ((OverrideKind.DRAIN, *drained), (OverrideKind.PRIMARY_ONLY, *off)):
        begins, ends = _EVENTS[kind]
        for target in sorted(begun):
            emit.event(begins, target, counted=False, why=effective[kind, target].why)
        for target in sorted(ended):
            emit.event(ends, target, counted=False)


def _select(connection: BaseDatabaseWrapper, *, patiently: bool = True) -> list[Override]:
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, ("kind", "target", "reason", "made_by", "made_at")))
    query = "SELECT %s" if patiently else get_product(connection).impatient_select
    statement = query % f"{columns} FROM {quote(RoutingOverride._meta.db_table)}"
    connection.validate_thread_sharing()
    with plain_cursor(connection) as cursor:
        cursor.execute(statement)
        while cursor.description is None and cursor.nextset():
            pass  # psycopg begins with the results of what came before the query.
        rows = cursor.fetchall()
    return list(_understood(sorted(rows)))


def _understood(rows: Iterable[Sequence[Any]]) -> Iterator[Override]:
    for kind, target, reason, by, at in rows:
        if kind in _KINDS:  # A newer version, running beside this one, may know more.
            yield Override(OverrideKind(kind), target, reason or "", by or "", int(at))


_missing_until = 0.0
"""Until when (monotonic) a table that was not there is not asked for again."""
_written_at = -inf
"""When this process last wrote the table (monotonic seconds)."""


def reset() -> None:
    """Forget that the table was not there, and what this process has written."""
    global _missing_until, _written_at
    _missing_until, _written_at = 0.0, -inf


process.owns(reset)
