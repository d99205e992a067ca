"""The subcommands of ``manage.py rwrouter``, registered by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.subcommands import doctor, explain, status
from django_rwrouter.management.subcommands.overrides import DRAIN, SWITCH_OFF, SWITCH_ON, UNDRAIN


class Subcommand(Protocol):
    """A module or an object."""

    @property
    def summary(self) -> str:
        """One sentence, shown as its help."""
        ...

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommand's arguments."""
        ...

    def run(self, command: BaseCommand, **options: Any) -> None:
        """Run the subcommand; write to ``command.stdout`` in its style. Raises ``CommandError``."""
        ...


SUBCOMMANDS: Final[Mapping[str, Subcommand]] = {
    "status": status,
    "explain": explain,
    "doctor": doctor,
    "drain": DRAIN,
    "undrain": UNDRAIN,
    "switch_off": SWITCH_OFF,
    "switch_on": SWITCH_ON,
}
