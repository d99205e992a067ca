"""Replication, step by step: written on the primary, received by a replica, replayed there.

Asks the servers themselves, each on a connection of its own, only to read, and only while somebody looks.
Where a database shows a step to privileged users alone and ours is none, that step is left open.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import Any, Final

from django.db import Error

from django_rwrouter import events, process
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import get_reader
from django_rwrouter.databases.base import Progress, Reader
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced

TIMEOUT: Final = 1.0
"""Seconds that a server may take to answer, twice: once to connect, once to speak."""


class Stage(str, Enum):
    """Where a replica is held up."""

    LEVEL = "level"
    """Nowhere: it has replayed what the primary had written when it was asked."""
    AWAY = "away"
    """It does not answer."""
    NOT_REPLICATING = "not_replicating"
    """It answers, and follows nobody."""
    NOT_RECEIVING = "not_receiving"
    """It gets nothing from the primary."""
    NOT_REPLAYING = "not_replaying"
    """It does not replay what it has got."""
    RECEIVING = "receiving"
    """It has not got everything yet."""
    REPLAYING = "replaying"
    """It has got everything, and has not replayed all of it yet."""
    BEHIND = "behind"
    """It has not replayed everything; whether it has got it, cannot be seen."""
    UNKNOWN = "unknown"
    """It does not say where it is, or belongs to another history."""


@dataclass(slots=True, kw_only=True)
class ReplicaProgress:
    """One replica's."""

    alias: str
    progress: Progress | None = None
    why: str = ""
    """Why it could not be asked."""
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
    """A cluster's."""

    cluster: Cluster
    has_positions: bool = True
    """Whether the database has places in a log at all."""
    written: str = ""
    """Up to where the primary has written; empty if it does not say."""
    why: str = ""
    """Why the primary could not be asked."""
    unit: str = ""
    replicas: list[ReplicaProgress] = field(default_factory=list)


def look(cluster: Cluster, timeout: float = TIMEOUT) -> ClusterProgress:
    """Ask all servers of a cluster; no longer than some four ``timeout`` seconds.

    The primary is asked first: what it had written by then, the replicas can be expected to have.
    """
    (primary,) = _ask_all([cluster.primary], "written", timeout)
    answers = _ask_all([replica.alias for replica in cluster.replicas], "progress", timeout)
    found = ClusterProgress(cluster=cluster, why=primary.why)
    reader = primary.reader or next((answer.reader for answer in answers if answer.reader), None)
    found.has_positions = reader is not None or all(answer.why for answer in [primary, *answers])
    if reader is not None:
        found.unit = reader.unit
        found.written = reader.text(primary.answer) if primary.answer is not None else ""
    for answer in answers:
        steps = ReplicaProgress(alias=answer.alias, progress=answer.answer, why=answer.why)
        found.replicas.append(steps)
        if reader is None or steps.progress is None:
            continue
        _measure(steps, steps.progress, reader, primary.answer)
    return found


def _measure(steps: ReplicaProgress, progress: Progress, reader: Reader, written: Any) -> None:
    if progress.received is not None:
        steps.received = reader.text(progress.received)
        steps.to_receive = None if written is None else reader.gap(written, progress.received)
    if progress.replayed is not None:
        steps.replayed = reader.text(progress.replayed)
        ahead = written if progress.received is None else progress.received
        steps.to_replay = None if ahead is None else reader.gap(ahead, progress.replayed)


# --- asking ------------------------------------------------------------------------------------
class _Inquiry:
    """One server being asked, in a thread of its own."""

    def __init__(self, alias: str, method: str, timeout: float) -> None:
        self.alias = alias
        self.answer: Any = None
        self.why = "TimeoutError"
        self.reader: Reader | None = None
        self._method = method
        self._timeout = timeout
        # A daemon: one that a server keeps waiting for ever must not keep the process.
        self.thread = threading.Thread(target=self._ask, name=f"rwrouter-look-{alias}", daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            connection = own_connection(self.alias, self._timeout)
            with silenced(), closing(connection):
                connection.ensure_connection()
                reader = get_reader(connection)
                if reader is None:
                    self.answer, self.why = (Progress() if self._method == "progress" else None), ""
                    return
                with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
                    self.answer = getattr(reader, self._method)(cursor)
                self.reader, self.why = reader, ""
        except Error as error:
            self.why = events.why(error)
        except Exception as error:  # noqa: BLE001  (shown as such; its text may name host and user)
            self.why = type(error).__name__


_inquiries: Final[dict[tuple[str, str], _Inquiry]] = {}
_lock = threading.Lock()


def _reset() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _inquiries.clear()


process.owns(_reset)


def _ask_all(aliases: list[str], method: str, timeout: float) -> list[_Inquiry]:
    """Ask these servers at the same time.

    A server that has not answered the last question yet is not asked another: however many people look, and
    however often, a frozen one costs one thread.
    """
    inquiries = []
    with _lock:
        for alias in aliases:
            inquiry = _inquiries.get((alias, method))
            if inquiry is None or not inquiry.thread.is_alive():
                inquiry = _inquiries[alias, method] = _Inquiry(alias, method, timeout)
            inquiries.append(inquiry)
    deadline = monotonic() + 2 * timeout
    for inquiry in inquiries:
        inquiry.thread.join(max(0.0, deadline - monotonic()))
    return inquiries
