"""Galera: the number of a write set in the history of its cluster.

All nodes commit the same write sets in the same order, each in its own time: ``wsrep_last_committed`` is how
far a node has got, in the history that the cluster's state UUID names. A MariaDB server is recognised as a
node by ``wsrep_on``, which MariaDB's driver reads with every position. GTIDs are not used: they need not
agree between nodes, and ``WSREP_SYNC_WAIT_UPTO_GTID()`` takes GTIDs and whole seconds alone.
Source: MariaDB Knowledge Base, "Galera Cluster Status Variables".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from django.db import OperationalError

from django_rwrouter.databases.base import Progress
from django_rwrouter.databases.mysql_family import as_text

_POSITION: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(\d{1,19})", re.ASCII)
_STATUS: Final = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_state_uuid', 'wsrep_cluster_status',"
    " 'wsrep_last_committed', 'wsrep_local_recv_queue', 'wsrep_local_state_comment')"
)
UNPREPARED_NODE: Final = 1047
"""What a node outside its cluster answers itself (ER_UNKNOWN_COM_ERROR)."""
POLL_SECONDS: Final = 0.002
SYNCED: Final = "Synced"
PRIMARY: Final = "Primary"


@dataclass(frozen=True, slots=True)
class GaleraPosition:
    """The last write set that a node has committed."""

    history: str
    """The cluster's state UUID: another one is another cluster, or one that began anew."""
    sequence: int

    def covers(self, other: object) -> bool:
        """Whether this is the same history, and as far or further."""
        return (
            isinstance(other, GaleraPosition)
            and self.history == other.history
            and self.sequence >= other.sequence
        )

    def merge(self, other: GaleraPosition) -> GaleraPosition:
        """Return the further one."""
        return max(self, other, key=lambda position: (position.sequence, position.history))

    def gap(self, behind: GaleraPosition) -> int | None:
        """Return how many write sets lie between two nodes."""
        return max(0, self.sequence - behind.sequence) if self.history == behind.history else None

    def encode(self) -> str:
        """Return it as Galera writes it: ``uuid:sequence``."""
        return f"{self.history}:{self.sequence}"

    __str__ = encode

    @classmethod
    def decode(cls, text: str) -> GaleraPosition:
        """Read what :meth:`encode` writes; raises ``ValueError``."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not the number of a write set")
        return cls(match[1], int(match[2]))


def status(cursor: Any) -> dict[str, str]:
    """Return what a node says of itself, by status variable."""
    cursor.execute(_STATUS)
    return {as_text(name).lower(): as_text(value) for name, value in cursor.fetchall()}


def read(cursor: Any, *, is_replica: bool = False) -> GaleraPosition:
    """Return where a node stands.

    Raises ``OperationalError`` if it is outside its cluster, where it takes no writes; a replica also if it
    is not synced, as a donor or a joiner.
    """
    answer = status(cursor)
    state, component = answer["wsrep_local_state_comment"], answer["wsrep_cluster_status"]
    if component != PRIMARY or (is_replica and state != SYNCED):
        raise OperationalError(UNPREPARED_NODE, f"the node is {state}, its component {component}")
    return _position(answer)


def progress(cursor: Any) -> Progress:
    """Return how far a node has got: what it has received and not applied is its queue."""
    answer = status(cursor)
    in_cluster = answer["wsrep_cluster_status"] == PRIMARY
    replayed = _position(answer)
    received = GaleraPosition(replayed.history, replayed.sequence + int(answer["wsrep_local_recv_queue"]))
    return Progress(
        replicates=True,
        receives=in_cluster,
        replays=in_cluster and answer["wsrep_local_state_comment"] == SYNCED,
        received=received,
        replayed=replayed,
    )


def _position(answer: dict[str, str]) -> GaleraPosition:
    return GaleraPosition(answer["wsrep_cluster_state_uuid"], max(0, int(answer["wsrep_last_committed"])))
