"""Takes a replica out of rotation, for all processes, until `undrain`.

It stays so through restarts. Reads that run on the replica end undisturbed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.management.operators import act, add_reason, operator, tell
from django_rwrouter.operations import overrides


def add_arguments(parser: CommandParser) -> None:
    """Add which one, why, and who."""
    parser.add_argument("alias", metavar="ALIAS", help="a replica, as DATABASES names it")
    add_reason(parser)


def run(command: BaseCommand, **options: Any) -> None:
    """Write it down, and say so."""
    alias = options["alias"]
    act(partial(overrides.drain, alias, options["reason"], operator(options["by"])))
    tell(command, f"{alias} is drained.", "All processes stop reading from it")
