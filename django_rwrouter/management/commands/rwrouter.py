"""``manage.py rwrouter``."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.subcommands import doctor, explain, overrides, status

SUBCOMMANDS: Final[dict[str, Any]] = {
    "status": status,
    "explain": explain,
    "doctor": doctor,
    **overrides.SUBCOMMANDS,
}
"""Modules and objects, each with ``summary``, ``add_arguments(parser)`` and ``run(command, **options)``."""


class Command(BaseCommand):
    """Dispatches to the subcommands."""

    help = "Shows and steers where reads and writes go."
    # `doctor` may have to explain why the project does not pass its checks.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands, each with its own arguments."""
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in SUBCOMMANDS.items():
            subcommand.add_arguments(
                subparsers.add_parser(name, help=subcommand.summary, description=subcommand.summary)
            )

    def handle(self, *args: object, subcommand: str, **options: Any) -> None:
        """Run the subcommand."""
        SUBCOMMANDS[subcommand].run(self, **options)
