"""Positions for SQLite that never move: every server stands at the same place.

The questions are asked for real, as a driver asks them. So the way of a read at the level ``causal`` can be
followed, and counted, where there is no server.
"""

from __future__ import annotations

from typing import Any

from django_rwrouter import databases
from django_rwrouter.databases.base import Driver, Reading
from django_rwrouter.databases.mariadb import MariaDBPosition
from django_rwrouter.databases.sqlite import SQLite


class FixedPositions(Driver):
    """The driver."""

    asked = 0
    """How many questions there were."""

    def read_primary(self, cursor: Any) -> Any:
        """Return where the primary stands."""
        return self._ask(cursor)

    def read_replica(self, cursor: Any) -> Any:
        """Return where a replica stands. SQLite has no addresses: the connection's file names the server."""
        [[_number, _name, file]] = cursor.execute("PRAGMA database_list").fetchall()
        return Reading(file, self._ask(cursor))

    def wait(self, cursor: Any, position: Any, seconds: float) -> bool:
        """Say that the position is reached."""
        return True

    @classmethod
    def _ask(cls, cursor: Any) -> Any:
        cls.asked += 1
        cursor.execute("SELECT '0-1-5'")
        return MariaDBPosition.decode(cursor.fetchone()[0])


class FixedSQLite(SQLite):
    """SQLite with positions, although no server of it has any."""

    code = "m"
    position = MariaDBPosition
    driver = FixedPositions()


def register() -> None:
    """Give SQLite its positions."""
    databases.register(FixedSQLite())
