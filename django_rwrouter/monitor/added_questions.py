"""Additional questions that the monitor asks in each round, registered by other modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeQuestion:
    """A question to one database, asked after its probe on the same connection.

    A missing answer says nothing about the server.
    """

    name: str
    """Its key in the snapshots that the processes of a host share."""
    database: Callable[[], str]
    """Returns the alias of the database to ask."""
    ask: Callable[[BaseDatabaseWrapper], Any]
    """Asks on an open connection and returns JSON's types; an exception means that there is no answer."""
    take_in: Callable[[Any], None]
    """Called with each answer, in the monitor's thread."""


QUESTIONS: Final[list[ProbeQuestion]] = []


def also_ask(question: ProbeQuestion) -> None:
    """Register a question to be asked in each round."""
    QUESTIONS.append(question)
