"""MariaDB: global transaction ids, one place for each replication domain.

A GTID is ``domain-server-sequence``. Within a domain, sequence numbers grow; after a failover another server
goes on counting, so numbers of two servers say nothing about each other: the server's id is the epoch.
Source: MariaDB Knowledge Base, "Global Transaction ID".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django_rwrouter.databases import galera
from django_rwrouter.databases.base import Position, Progress, Reading, poll
from django_rwrouter.databases.galera import GaleraPosition
from django_rwrouter.databases.mysql_family import MySQLFamily, StatusDriver

_GTID: Final = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,20})")
_SERVER_IDENTITY: Final = "@@server_id, @@hostname, @@port"
_SERVER: Final = f"@@GLOBAL.read_only, {_SERVER_IDENTITY}"
_UID: Final = ", @@GLOBAL.server_uid"
_WRITTEN: Final = "@@GLOBAL.gtid_binlog_pos"
_REPLAYED: Final = "@@GLOBAL.gtid_slave_pos"
REPLICA_QUESTION: Final = f"SELECT @@GLOBAL.wsrep_on, {_REPLAYED}, {_SERVER}{_UID}"
"""What a replica is asked."""
_UNKNOWN_VARIABLE: Final = 1193
"""ER_UNKNOWN_SYSTEM_VARIABLE: a build without Galera, or an older server, which has no ``server_uid``."""
_WAIT: Final = "SELECT MASTER_GTID_WAIT(%s, %s)"


@dataclass(frozen=True, slots=True)
class MariaDBPosition:
    """The last transaction of each domain: by domain, the server that wrote it and its number."""

    domains: Mapping[int, tuple[int, int]]

    def __hash__(self) -> int:
        return hash(frozenset(self.domains.items()))

    def covers(self, other: object) -> bool:
        """Whether this place is behind the other in no domain; another server's numbers never count."""
        if not isinstance(other, MariaDBPosition):
            return False
        for domain, (server, sequence) in other.domains.items():
            own_server, own_sequence = self.domains.get(domain, (None, -1))
            if own_server != server or own_sequence < sequence:
                return False
        return True

    def merge(self, other: MariaDBPosition) -> MariaDBPosition:
        """Return the further of the two in each domain."""
        domains = dict(self.domains)
        for domain, (server, sequence) in other.domains.items():
            own_server, own_sequence = domains.get(domain, (-1, -1))
            if (sequence, server) > (own_sequence, own_server):
                domains[domain] = (server, sequence)
        return MariaDBPosition(domains)

    def gap(self, behind: MariaDBPosition) -> int | None:
        """Return the difference of the sequence numbers, in all domains."""
        transactions = 0
        for domain, (server, sequence) in self.domains.items():
            own_server, own_sequence = behind.domains.get(domain, (server, 0))
            if own_server != server and own_sequence >= sequence:
                return None  # Numbers that were given twice: another history.
            transactions += max(0, sequence - own_sequence)
        return transactions

    def __str__(self) -> str:
        return self.encode().replace(",", ", ")

    def encode(self) -> str:
        """Return it as MariaDB writes it, such as ``0-1-1250,1-1-7``."""
        return ",".join(
            f"{domain}-{server}-{sequence}" for domain, (server, sequence) in sorted(self.domains.items())
        )

    @classmethod
    def decode(cls, text: str) -> MariaDBPosition:
        """Read what MariaDB writes; raises ``ValueError``."""
        domains: dict[int, tuple[int, int]] = {}
        for part in text.split(","):
            match = _GTID.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"{part!r} is not a GTID")
            domains[int(match[1])] = (int(match[2]), int(match[3]))
        return cls(domains)


class MariaDBDriver(StatusDriver):
    """Asks MariaDB 10.2 or later, as a node of Galera, too.

    Only ``Gtid_IO_Pos``, up to where a replica has got the log, needs a privilege.
    """

    position = MariaDBPosition
    word = "Slave"
    received = "Gtid_IO_Pos"
    privilege = "REPLICA MONITOR"

    def read_primary(self, cursor: Any) -> MariaDBPosition | GaleraPosition | None:
        """Return the end of the binary log."""
        is_node, (text,) = _ask(cursor, _WRITTEN)
        if is_node:
            return galera.read(cursor)
        return MariaDBPosition.decode(text) if text else None

    def describe_primary(self, cursor: Any) -> Reading:
        """Return the server, the end of its binary log, and ``read_only``."""
        return self._read(cursor, _WRITTEN)

    def read_replica(self, cursor: Any) -> Reading:
        """Return the server, what it has replayed, and ``read_only``.

        ``gtid_slave_pos``, not ``gtid_current_pos``, which moves with stray local writes.
        """
        return self._read(cursor, _REPLAYED)

    def _read(self, cursor: Any, position: str) -> Reading:
        is_node, (text, read_only, *identity) = _ask(cursor, f"{position}, {_SERVER}", _UID)
        server = "/".join(map(str, identity))
        if is_node:  # All nodes take writes, so that says nothing of the role.
            return Reading(server, galera.read(cursor, is_replica=position == _REPLAYED))
        return Reading(
            server,
            MariaDBPosition.decode(text) if text else None,
            # A name since MariaDB 12: OFF, READ_ONLY, READ_ONLY_NO_LOCK...
            writable=read_only in {0, "0", "OFF"},
        )

    def wait(self, cursor: Any, position: MariaDBPosition | GaleraPosition, seconds: float) -> bool:
        """Wait in the server."""
        if isinstance(position, GaleraPosition):
            return poll(
                lambda: galera.read(cursor, is_replica=True).covers(position), seconds, galera.POLL_SECONDS
            )
        cursor.execute(_WAIT, (position.encode(), seconds))
        return bool(cursor.fetchone()[0] == 0)

    def progress(self, cursor: Any) -> Progress:
        """Return what the status shows, or what a node tells of its queue."""
        return galera.progress(cursor) if _ask(cursor, "1")[0] else super().progress(cursor)


def _ask(cursor: Any, columns: str, tail: str = "") -> tuple[bool, Sequence[Any]]:
    """Return whether the server is a node of Galera, and its row.

    A variable that its build or version does not know is left out.
    """
    queries = [
        f"SELECT {node}, {columns}{end}"
        for node, end in (("@@GLOBAL.wsrep_on", tail), ("0", tail), ("0", ""))
    ]
    for query in queries:
        try:
            cursor.execute(query)
            break
        except Exception as error:
            if query == queries[-1] or not error.args or error.args[0] != _UNKNOWN_VARIABLE:
                raise
    is_node, *row = cursor.fetchone()
    return is_node in {1, "1", "ON"}, row


class MariaDB(MySQLFamily):
    """MariaDB 10.2 or later. Django's backend calls it ``mysql``; the connection tells the two apart."""

    name = "mariadb"
    system = "mariadb"
    code = "m"
    position: type[Position] | None = MariaDBPosition
    driver = MariaDBDriver()
    read_only_query = "SELECT @@session.tx_read_only"
    impatient_select = "SET STATEMENT max_statement_time = 0.25 FOR SELECT %s"

    def read_only_unless(self, primary: str) -> Sequence[Any]:
        """Compare what the driver returned: an older server has no ``server_uid``."""
        identity = _SERVER_IDENTITY + (_UID if primary.count("/") > 2 else "")  # noqa: PLR2004
        return (
            f"IF CONCAT_WS('/', {identity}) <> %s THEN SET SESSION TRANSACTION READ ONLY; END IF",
            (primary,),
        )


class Galera(MariaDB):
    """A node's positions. The node is a MariaDB server, whose driver sees at each question what it is."""

    name = "galera"
    code = "g"
    position = GaleraPosition
