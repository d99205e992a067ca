"""MariaDB's steps. Source: MariaDB Knowledge Base, "SHOW REPLICA STATUS"."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.positions.mariadb import MariaDBDriver, MariaDBPosition
from django_rwrouter.replication import Progress
from django_rwrouter.replication.mysql_protocol import as_text, progress_of, replica_status

_PRIVILEGE: Final = "REPLICA MONITOR"


class MariaDBReader:
    """Asks MariaDB. ``Gtid_IO_Pos`` is shown with the privilege ``REPLICA MONITOR`` alone."""

    unit = "transactions"

    def written(self, cursor: Any) -> MariaDBPosition | None:
        """Return the end of the binary log."""
        return MariaDBDriver().read_primary(cursor)

    def progress(self, cursor: Any) -> Progress:
        """Return what the status shows, and then what was replayed: so this is never behind the other."""
        status = replica_status(cursor)
        progress = progress_of(status, "Slave", _PRIVILEGE)
        progress.replayed = MariaDBDriver().read_replica(cursor).position
        received = as_text((status or {}).get("Gtid_IO_Pos"))
        if received:
            progress.received = MariaDBPosition.decode(received)
            if progress.replayed is not None:
                # A receiving thread that was restarted begins to count where the other one was.
                progress.received = progress.received.merge(progress.replayed)
        return progress

    def gap(self, ahead: MariaDBPosition, behind: MariaDBPosition) -> int | None:
        """Return the difference of the sequence numbers, in all domains."""
        transactions = 0
        for domain, (server, sequence) in ahead.domains.items():
            own_server, own_sequence = behind.domains.get(domain, (server, 0))
            if own_server != server and own_sequence >= sequence:
                return None  # Numbers that were given twice: another history.
            transactions += max(0, sequence - own_sequence)
        return transactions

    def text(self, position: MariaDBPosition) -> str:
        """Return it as MariaDB writes it."""
        return position.encode().replace(",", ", ")


READER: Final = MariaDBReader()
