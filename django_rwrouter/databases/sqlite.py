"""SQLite, which has no positions."""

from __future__ import annotations

from typing import Final

from django.db import Error, OperationalError

from django_rwrouter.databases.base import ErrorCodes

READ_ONLY: Final = "PRAGMA query_only = ON"
SESSION_IS_READ_ONLY: Final = "PRAGMA query_only"
ONLY_ON_PRIMARY: Final = "no such "
"""How an error begins that says that a table, column or function is not there."""
READ_ONLY_ERROR: Final = "readonly"
"""In the text of the error of a write in a read-only session or file; SQLite's library has no codes here."""


class SQLiteErrors(ErrorCodes):
    """Errors by their texts."""

    def may_have_written(self, error: Error) -> bool:
        """Return ``False``: a statement that fails is undone before its error is raised."""
        return False

    def may_work_on_primary(self, error: Error) -> bool:
        """Tell whether something is missing."""
        return str(error).startswith(ONLY_ON_PRIMARY)

    def is_refused_write(self, error: Error) -> bool:
        """Tell by the text."""
        return isinstance(error, OperationalError) and READ_ONLY_ERROR in str(error)
