"""MySQL 8 and later: sets of global transaction ids.

A set has intervals of transaction numbers for each source, a server's UUID with an optional tag:
``3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:11-18:audit:1-3``. It says exactly which transactions are there, so
histories need no epoch: a transaction that was lost in a failover is in no set of the new history.
Source: MySQL Reference Manual, "GTID Format and Storage".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_rwrouter.databases.base import Progress, Reading
from django_rwrouter.databases.mysql_family import MySQLFamily, StatusDriver, as_text

Interval = tuple[int, int]
"""First and last transaction number, both in it."""
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_INTERVAL: Final = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?", re.ASCII)
_TAG: Final = re.compile(r"[a-z_][a-z0-9_]{0,31}", re.ASCII)
# super_read_only is never on without read_only.
_DESCRIPTION: Final = "SELECT @@GLOBAL.gtid_executed, @@server_uuid, @@GLOBAL.read_only"
_WAIT: Final = "SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, %s)"


@dataclass(frozen=True, slots=True)
class MySQLPosition:
    """A set of transactions: by source, intervals that are sorted and do not touch."""

    sources: Mapping[str, tuple[Interval, ...]]
    """By UUID, or ``uuid:tag``, in lower case."""

    def __hash__(self) -> int:
        return hash(frozenset(self.sources.items()))

    def covers(self, other: MySQLPosition) -> bool:
        """Whether all transactions of the other are in this set."""
        return isinstance(other, MySQLPosition) and all(
            _has_all(self.sources.get(source, ()), intervals) for source, intervals in other.sources.items()
        )

    def merge(self, other: MySQLPosition) -> MySQLPosition:
        """Return the union."""
        sources = dict(self.sources)
        for source, intervals in other.sources.items():
            sources[source] = _joined([*sources.get(source, ()), *intervals])
        return MySQLPosition(sources)

    def gap(self, behind: MySQLPosition) -> int | None:
        """Return how many transactions are in this set and not in the other."""
        return _size(self.merge(behind)) - _size(behind)

    def __str__(self) -> str:
        return ", ".join(f"{source}:{_numbers(own)}" for source, own in sorted(self.sources.items()))

    def encode(self) -> str:
        """Return it as MySQL writes it, without the hyphens of the UUIDs, which are eight bytes of sixty."""
        parts = []
        for source, intervals in sorted(self.sources.items()):
            uuid, _, tag = source.partition(":")
            parts.append(":".join(filter(None, (uuid.replace("-", ""), tag, _numbers(intervals)))))
        return ",".join(parts)

    @classmethod
    def decode(cls, text: str) -> MySQLPosition:
        """Read what MySQL or :meth:`encode` writes; raises ``ValueError``."""
        sources: dict[str, list[Interval]] = {}
        for part in text.lower().split(","):
            head, *rest = (piece.strip() for piece in part.strip().split(":"))
            uuid = _uuid(head)
            source = uuid
            for piece in rest:
                match = _INTERVAL.fullmatch(piece)
                if match is None:
                    if _TAG.fullmatch(piece) is None:
                        raise ValueError(f"{piece!r} is neither an interval nor a tag")
                    source = f"{uuid}:{piece}"
                    continue
                first = int(match[1])
                last = int(match[2] or first)
                if not 0 < first <= last:
                    raise ValueError(f"{piece!r} is not an interval")
                sources.setdefault(source, []).append((first, last))
        if not sources:
            raise ValueError("the set is empty")
        return cls({source: _joined(intervals) for source, intervals in sources.items()})


def _uuid(text: str) -> str:
    bare = text.replace("-", "")
    uuid = f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"
    if text not in (uuid, bare) or _UUID.fullmatch(uuid) is None:
        raise ValueError(f"{text!r} is not a UUID")
    return uuid


def _size(position: MySQLPosition) -> int:
    """Return how many transactions are in a set."""
    return sum(last - first + 1 for own in position.sources.values() for first, last in own)


def _joined(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Return the same numbers as few intervals."""
    joined: list[Interval] = []
    for first, last in sorted(intervals):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def _has_all(own: tuple[Interval, ...], wanted: tuple[Interval, ...]) -> bool:
    for first, last in wanted:
        # The last interval that begins at or before the one that is wanted.
        index = bisect_right(own, (first, float("inf"))) - 1
        if index < 0 or own[index][1] < last:
            return False
    return True


class MySQLDriver(StatusDriver):
    """Asks MySQL 8.0 or later with ``gtid_mode=ON``.

    Only ``Retrieved_Gtid_Set``, up to where a replica has got the log, needs a privilege.
    """

    position = MySQLPosition
    word = "Replica"
    received = "Retrieved_Gtid_Set"
    privilege = "REPLICATION CLIENT"

    def read_replica(self, cursor: Any) -> Reading:
        """Return the server, all transactions that it has committed or replayed, and ``read_only``."""
        cursor.execute(_DESCRIPTION)
        executed, uuid, read_only = cursor.fetchone()
        text = as_text(executed).replace("\n", "")
        position = MySQLPosition.decode(text) if text else None
        return Reading(str(uuid), position, writable=not int(read_only))

    def wait(self, cursor: Any, position: MySQLPosition, seconds: float) -> bool:
        """Wait in the server."""
        cursor.execute(_WAIT, (str(position), seconds))
        return bool(cursor.fetchone()[0] == 0)

    def progress(self, cursor: Any) -> Progress:
        """Return what the status shows: it counts what was retrieved since the relay log was begun."""
        progress = super().progress(cursor)
        if progress.replicates and progress.received is None:
            progress.received = progress.replayed  # It had been received before.
        return progress


def _numbers(intervals: Iterable[Interval]) -> str:
    return ":".join(f"{first}-{last}" if last > first else f"{first}" for first, last in intervals)


class MySQL(MySQLFamily):
    """MySQL 8.0 or later."""

    name = "mysql"
    system = "mysql"
    code = "y"
    position = MySQLPosition
    driver = MySQLDriver()
    read_only_query = "SELECT @@session.transaction_read_only"
    impatient_select = "SELECT /*+ MAX_EXECUTION_TIME(250) */ %s"

    def read_only_unless(self, primary: str) -> Sequence[Any]:
        """Compare the server's UUID."""
        return "SET SESSION transaction_read_only = (@@server_uuid <> %s)", (primary,)
