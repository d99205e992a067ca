"""What else the monitor asks, beside where servers stand: registered by those who want to know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeQuestion:
    """One more thing to ask a database in each round, after its probe and on the same connection.

    No answer says nothing of the server.
    """

    name: str
    """By which processes of a host that share answers know it."""
    database: Callable[[], str]
    """Returns the alias of the database to ask."""
    ask: Callable[[BaseDatabaseWrapper], Any]
    """Asks on an open connection, and returns values that JSON has; whatever it raises means that there is no
    answer."""
    take_in: Callable[[Any], None]
    """Is given each answer, in the monitor's thread."""


QUESTIONS: Final[list[ProbeQuestion]] = []


def also_ask(question: ProbeQuestion) -> None:
    """Have the monitor ask one more question in each round."""
    QUESTIONS.append(question)
