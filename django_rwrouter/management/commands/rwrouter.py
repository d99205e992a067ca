"""``manage.py rwrouter``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.subcommands import SUBCOMMANDS


class Command(BaseCommand):
    """Dispatches to the subcommands."""

    help = "Shows and steers where reads and writes go."
    # `doctor` may have to explain why the project does not pass its checks.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands, each with its own arguments."""
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in SUBCOMMANDS.items():
            summary = subcommand.summary
            own = subparsers.add_parser(name, help=summary, description=summary)
            subcommand.add_arguments(own)

    def handle(self, *args: object, subcommand: str, **options: Any) -> None:
        """Run the subcommand."""
        SUBCOMMANDS[subcommand].run(self, **options)
