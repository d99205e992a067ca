"""Positions for SQLite under the simulator: the file's history, and how many changes were made in it.

SQLite keeps no log that could be compared, and the change counter in a file's header is no use: a copy that
the backup API makes counts for itself. So the primary counts its changes in a table, by triggers. The counter
is part of each transaction that moves it, of its rollback, and of each copy. It counts rows, which is as good
as transactions: a reader sees the counter as a commit left it.

The triggers slow each write down, and a table that is created later has none until :func:`install` runs
again.
This is for demonstrations.
"""

from __future__ import annotations

import math
import re
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from django_rwrouter import databases
from django_rwrouter.databases.base import Driver, Progress, Reading, poll
from django_rwrouter.databases.sqlite import SQLite

_CREATE_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS replication_counter ("
    " only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
    " history TEXT NOT NULL,"  # Another one in each file that was not copied from this one.
    " changes INTEGER NOT NULL,"
    " delay REAL)"  # Seconds that a copy is kept late; NULL in the primary's own file.
)
_CREATE_ROW: Final = (
    "INSERT OR IGNORE INTO replication_counter VALUES (1, lower(hex(randomblob(4))), 0, NULL)"
)
_COUNTED_TABLES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND name <> 'replication_counter' AND sql NOT LIKE 'CREATE VIRTUAL TABLE%'"
)
_COUNT: Final = "UPDATE replication_counter SET changes = changes + 1"
_MARK_AS_PRIMARY: Final = f"{_COUNT}, delay = NULL"
_MARK_AS_COPY: Final = "UPDATE replication_counter SET delay = ?"
_STATE: Final = (
    "SELECT file, history, changes, delay FROM pragma_database_list, replication_counter WHERE name = 'main'"
)
_FILE: Final = "SELECT file FROM pragma_database_list WHERE name = 'main'"
_TEXT: Final = re.compile(r"([0-9a-f]{8})@(\d{1,19})", re.ASCII)
_POLL_SECONDS: Final = 0.005


def install(primary: Any) -> None:
    """Have a primary count its changes: create the counter, and the triggers that are missing.

    ``primary`` is a connection of ``sqlite3`` outside any transaction. Repeat it when tables were created.
    """
    with primary:
        primary.execute(_CREATE_TABLE)
        primary.execute(_CREATE_ROW)
        for (table,) in primary.execute(_COUNTED_TABLES).fetchall():
            for verb in ("insert", "update", "delete"):
                primary.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {_quoted(f'count_{verb}_{table}')}"
                    f" AFTER {verb} ON {_quoted(table)} BEGIN {_COUNT}; END"
                )
        # Counts what was written in new tables before they had triggers.
        primary.execute(_MARK_AS_PRIMARY)


def mark_as_copy(content: sqlite3.Connection, delay: float) -> None:
    """Note in a copy that it is one, and how many seconds it is kept late; its position stays the same."""
    with content:
        content.execute(_MARK_AS_COPY, (delay,))


def register() -> None:
    """Teach the router these positions."""
    databases.register(ReplicatedSQLite())


@dataclass(frozen=True, slots=True)
class SQLitePosition:
    """How many changes a file has seen. Numbers of two histories say nothing about each other."""

    history: str
    changes: int

    def covers(self, other: object) -> bool:
        """Whether this is the same history, and as far or further."""
        return (
            isinstance(other, SQLitePosition)
            and self.history == other.history
            and self.changes >= other.changes
        )

    def merge(self, other: SQLitePosition) -> SQLitePosition:
        """Return the further one."""
        return max(self, other, key=lambda position: (position.changes, position.history))

    def gap(self, behind: SQLitePosition) -> int | None:
        """Return how many changes lie between the two."""
        return max(0, self.changes - behind.changes) if self.history == behind.history else None

    def encode(self) -> str:
        """Return it as ``history@changes``."""
        return f"{self.history}@{self.changes}"

    __str__ = encode

    @classmethod
    def decode(cls, text: str) -> SQLitePosition:
        """Read what :meth:`encode` writes; raises ``ValueError``."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a position of SQLite")
        return cls(match[1], int(match[2]))


class SQLiteDriver(Driver):
    """Asks a file. Its path says which server it is."""

    replicas_are_read_only = True
    unit = "changes"

    def read_replica(self, cursor: Any) -> Reading:
        """Return the file, the counter that was copied into it, and whether it is no copy."""
        state = _state(cursor)
        writable = None if state.position is None else state.delay is None
        return Reading(state.file, state.position, writable=writable)

    def wait(self, cursor: Any, position: SQLitePosition, seconds: float) -> bool:
        """Ask again and again: SQLite cannot wait itself."""

        def has_reached() -> bool:
            reached = _state(cursor).position
            return reached is not None and reached.covers(position)

        return poll(has_reached, seconds, _POLL_SECONDS)

    def progress(self, cursor: Any) -> Progress:
        """Return the counter that was copied, and the delay of the simulator that did.

        What the simulator has copied and not applied yet is in the simulator's memory alone.
        """
        state = _state(cursor)
        if state.position is None:
            return Progress()
        if state.delay is None:
            return Progress(replicates=False, receives=False, replays=False)
        return Progress(replicates=True, replayed=state.position, delay=math.ceil(state.delay))


class ReplicatedSQLite(SQLite):
    """SQLite, with positions."""

    code = "s"
    position = SQLitePosition
    driver = SQLiteDriver()


@dataclass(frozen=True, slots=True)
class _State:
    """What a file says of itself."""

    file: str
    position: SQLitePosition | None
    """``None`` in a file without a counter."""
    delay: float | None = None


def _state(cursor: Any) -> _State:
    # All rows are fetched: a statement that is not finished would keep its snapshot of the file.
    try:
        [(file, history, changes, delay)] = cursor.execute(_STATE).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        [(file,)] = cursor.execute(_FILE).fetchall()
        return _State(file, None)
    return _State(file, SQLitePosition(history, changes), delay)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
