"""Replication, step by step: written on the primary, received by a replica, replayed there.

Asks the servers themselves, each on a connection of its own, only to read, and only while somebody looks.
Where a database shows a step to privileged users alone and ours is none, that step is left open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_driver
from django_rwrouter.databases.base import Driver, Position, Progress
from django_rwrouter.events import emit
from django_rwrouter.servers.survey import plain_cursor, survey

TIMEOUT: Final = 1.0
"""Seconds that a server may take to answer, twice: once to connect, once to speak."""


class Stage(str, Enum):
    """Where a replica is held up."""

    LEVEL = "level"
    """Nowhere: it has replayed what the primary had written when it was asked."""
    AWAY = "away"
    NOT_REPLICATING = "not_replicating"
    NOT_RECEIVING = "not_receiving"
    NOT_REPLAYING = "not_replaying"
    RECEIVING = "receiving"
    REPLAYING = "replaying"
    """It has got everything, and has not replayed all of it yet."""
    BEHIND = "behind"
    """It has not replayed everything; whether it has got it, cannot be seen."""
    UNKNOWN = "unknown"
    """It does not say where it is, or belongs to another history."""


@dataclass(slots=True, kw_only=True)
class ReplicaProgress:
    """How far one replica has got."""

    alias: str
    progress: Progress | None = None
    why: str = ""
    received: str = ""
    replayed: str = ""
    to_receive: int | None = None
    """How much of the log it has not got; ``None`` if that is not known."""
    to_replay: int | None = None
    """How much of what it has got (or, where that is not known, of what was written) it has not replayed."""

    @property
    def stage(self) -> Stage:
        """Where it is held up."""
        progress = self.progress
        if progress is None:
            return Stage.AWAY
        if progress.replicates is False:
            return Stage.NOT_REPLICATING
        if progress.receives is False:
            return Stage.NOT_RECEIVING
        if progress.replays is False:
            return Stage.NOT_REPLAYING
        if self.to_receive:
            return Stage.RECEIVING
        if self.to_replay:
            return Stage.BEHIND if progress.received is None else Stage.REPLAYING
        return Stage.UNKNOWN if self.to_replay is None else Stage.LEVEL


@dataclass(slots=True, kw_only=True)
class ClusterProgress:
    """How far the servers of a cluster have got."""

    cluster: Cluster
    has_positions: bool = True
    """Whether the database has places in a log at all."""
    written: str = ""
    """Up to where the primary has written; empty if it does not say."""
    why: str = ""
    unit: str = ""
    replicas: list[ReplicaProgress] = field(default_factory=list)


def ask_progress(clusters: Sequence[Cluster], timeout: float = TIMEOUT) -> list[ClusterProgress]:
    """Ask all servers of these clusters; takes no longer than some four ``timeout`` seconds.

    The primaries are asked last: no replica can have more than its primary had written by then.
    """
    replicas = [alias for cluster in clusters for alias in cluster.replica_aliases]
    answers = _ask_all(replicas, _progress_of, timeout)
    primaries = _ask_all([cluster.primary for cluster in clusters], _written, timeout)
    return [
        _progress(
            cluster, primaries[cluster.primary], {alias: answers[alias] for alias in cluster.replica_aliases}
        )
        for cluster in clusters
    ]


def _progress(cluster: Cluster, primary: _Reply, replies: Mapping[str, _Reply]) -> ClusterProgress:
    written = primary.answer
    unit = next((reply.unit for reply in (primary, *replies.values()) if reply.unit), "")
    progress = ClusterProgress(cluster=cluster, why=primary.why)
    progress.replicas = [
        ReplicaProgress(
            alias=alias, progress=reply.answer or (None if reply.why else Progress()), why=reply.why
        )
        for alias, reply in replies.items()
    ]
    if not unit:
        progress.has_positions = all(reply.why for reply in [primary, *replies.values()])
        return progress

    def gap(ahead: Position | None, behind: Position | None) -> int | None:
        return None if ahead is None or behind is None else ahead.gap(behind)

    def text(position: Position | None) -> str:
        return "" if position is None else str(position)

    progress.unit, progress.written = unit, text(written)
    for replica in progress.replicas:
        if replica.progress is not None:
            received, replayed = replica.progress.received, replica.progress.replayed
            replica.received, replica.replayed = text(received), text(replayed)
            replica.to_receive = gap(written, received)
            replica.to_replay = gap(written if received is None else received, replayed)
    return progress


# --- asking ------------------------------------------------------------------------------------


class _Reply(NamedTuple):
    """What a server said, or why it did not."""

    answer: Any = None
    unit: str = ""
    """Empty for a database without places in a log."""
    why: str = ""


def _ask_all(
    aliases: Collection[str], ask: Callable[[Driver, Any], Any], timeout: float
) -> dict[str, _Reply]:
    def reply(connection: BaseDatabaseWrapper) -> _Reply:
        with plain_cursor(connection) as cursor:
            driver = get_driver(connection)
            return _Reply(ask(driver, cursor), driver.unit) if driver and driver.unit else _Reply()

    outcomes = survey(
        aliases, reply, timeout=timeout, deadline=2 * timeout, topic=f"replication: {ask.__name__}"
    )
    return {
        alias: outcome if isinstance(outcome, _Reply) else _Reply(why=emit.why(outcome))
        for alias, outcome in outcomes.items()
    }


def _progress_of(driver: Driver, cursor: Any) -> Progress:
    return driver.progress(cursor)


def _written(driver: Driver, cursor: Any) -> Position | None:
    return driver.read_primary(cursor)
