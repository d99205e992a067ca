"""``manage.py rwrouter``: what can be asked of the router on a terminal."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.subcommands import SUBCOMMANDS


class Command(BaseCommand):
    """Hands over to the subcommand."""

    help = "Shows and steers where reads and writes go."
    # A subcommand may be what finds out why the project cannot start.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subcommands, each with its own arguments."""
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for name, subcommand in SUBCOMMANDS.items():
            doc = (subcommand.__doc__ or "").partition("\n")[0]
            own = subparsers.add_parser(name, help=doc, description=doc)
            subcommand.add_arguments(own)

    def handle(self, *args: object, subcommand: str, **options: Any) -> None:
        """Run the subcommand."""
        SUBCOMMANDS[subcommand].run(self, **options)
