"""SQLite, which has no positions."""

from __future__ import annotations

from typing import Final

READ_ONLY: Final = "PRAGMA query_only = ON"
SESSION_IS_READ_ONLY: Final = "PRAGMA query_only"
ONLY_ON_PRIMARY: Final = "no such "
"""How an error begins that says that a table, column or function is not there."""
READ_ONLY_ERROR: Final = "readonly"
"""In the text of the error of a write in a read-only session or file; SQLite's library has no codes here."""
