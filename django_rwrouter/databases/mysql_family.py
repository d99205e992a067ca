"""What MariaDB and MySQL have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django_rwrouter.databases.base import Progress

_NOT_ALLOWED: Final = frozenset({1044, 1045, 1142, 1143, 1227})
"""ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED,
ER_SPECIFIC_ACCESS_DENIED."""
_SYNTAX: Final = 1064
"""ER_PARSE_ERROR: a version that does not know the statement."""


def replica_status(cursor: Any) -> Mapping[str, Any] | None:
    """Return ``SHOW REPLICA STATUS`` by column, empty for no replica; ``None`` if it may not be seen."""
    for statement in ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
        try:
            cursor.execute(statement)
        except Exception as error:
            code = error.args[0] if error.args else None
            if code in _NOT_ALLOWED:
                return None
            if code == _SYNTAX:
                continue
            raise
        row = cursor.fetchone()
        if row is None:
            return {}
        return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
    return None


def progress_of(status: Mapping[str, Any] | None, word: str, privilege: str) -> Progress:
    """Return what the status tells of the threads; ``word`` is what the server calls a replica."""
    if status is None:
        return Progress(privilege=privilege)
    if not status:
        return Progress(replicates=False, receives=False, replays=False)
    # Numbers alone: the texts of errors name host and user.
    return Progress(
        replicates=True,
        # "Connecting" and "Preparing" are no better than "No": nothing arrives.
        receives=str(status.get(f"{word}_IO_Running")) == "Yes",
        replays=str(status.get(f"{word}_SQL_Running")) == "Yes",
        receive_error=int(status.get("Last_IO_Errno") or 0),
        replay_error=int(status.get("Last_SQL_Errno") or 0),
        delay=int(status.get("SQL_Delay") or 0),
    )


def as_text(value: object) -> str:
    """Return a value that may have come as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
