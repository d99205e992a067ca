"""Puts a drained replica back into rotation, for all processes."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.operators import act, add_name, operator, tell
from django_rwrouter.operations import overrides
from django_rwrouter.printable import printable


def add_arguments(parser: CommandParser) -> None:
    """Add which one, and who."""
    parser.add_argument("alias", metavar="ALIAS", help="a replica, as DATABASES names it")
    add_name(parser)


def run(command: BaseCommand, **options: Any) -> None:
    """Write it down, and say so."""
    alias = options["alias"]
    if act(partial(overrides.undrain, alias, operator(options["by"]))):
        tell(command, f"{alias} is no longer drained.", "All processes read from it again")
    else:
        command.stdout.write(f"{printable(alias)} was not drained.")
