"""``manage.py rwrouter``."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from django_rwrouter.events import emit
from django_rwrouter.exceptions import UnknownNameError
from django_rwrouter.management.subcommands import doctor, explain, overrides, status
from django_rwrouter.operations.overrides import database

SUBCOMMANDS: Final[dict[str, Any]] = {
    "status": status,
    "explain": explain,
    "doctor": doctor,
    **overrides.SUBCOMMANDS,
}
"""Modules and objects, each with ``summary``, ``add_arguments(parser)`` and ``run(command, **options)``; what
``run`` returns is true where the command shall end with 1."""


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
        """Run the subcommand; tell errors of the settings and of the primary without a driver's text."""
        if hasattr(self.stdout, "reconfigure"):  # Not every terminal has all letters of a name.
            self.stdout.reconfigure(errors="backslashreplace")
        try:
            has_failed = SUBCOMMANDS[subcommand].run(self, **options)
            self.stdout.flush()
        except BrokenPipeError:  # `... | head` has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at its end.
            sys.exit(1)
        except (ImproperlyConfigured, UnknownNameError) as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(
                f"The primary {database()!r} could not be asked ({emit.why(error)}). What is to hold"
                " for all processes is kept there. `manage.py rwrouter doctor` may know more."
            ) from None
        if has_failed:
            sys.exit(1)
