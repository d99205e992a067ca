"""What ``manage.py rwrouter`` can do: one module for each subcommand, registered by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.subcommands import (
    doctor,
    drain,
    explain,
    status,
    switch_off,
    switch_on,
    undrain,
)


class Subcommand(Protocol):
    """A module; the first line of its docstring is its help."""

    @property
    def __doc__(self) -> str | None: ...  # type: ignore[override]

    def add_arguments(self, parser: CommandParser) -> None:
        """Add its arguments."""
        ...

    def run(self, command: BaseCommand, **options: Any) -> None:
        """Do it. ``command`` has the output and its style; raises ``CommandError``."""
        ...


SUBCOMMANDS: Final[Mapping[str, Subcommand]] = {
    "status": status,
    "explain": explain,
    "doctor": doctor,
    "drain": drain,
    "undrain": undrain,
    "switch_off": switch_off,
    "switch_on": switch_on,
}
