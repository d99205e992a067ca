"""What the subcommands have in common that act on running processes."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from django_rwrouter import events, stats
from django_rwrouter.conf import get_settings
from django_rwrouter.operations import overrides
from django_rwrouter.printable import printable

R = TypeVar("R")


def add_reason(parser: CommandParser) -> None:
    """Let the operator say why, and who it is."""
    parser.add_argument("--reason", default="", metavar="TEXT", help="why: shown wherever this is shown")
    add_name(parser)


def add_name(parser: CommandParser) -> None:
    """Let the operator say who it is."""
    parser.add_argument("--by", default=None, metavar="NAME", help="who (default: the user of the system)")


def operator(by: str | None) -> str:
    """Return who acts."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # A container's user may have a number and no name.
        return ""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise ``CommandError`` for what an operator can understand; never in the words of a driver."""
    try:
        yield
    except (ImproperlyConfigured, ValueError) as error:
        raise CommandError(str(error)) from error
    except Error as error:
        raise CommandError(
            f"The primary {overrides.database()!r} could not be asked ({events.why(error)}). What is to hold"
            " for all processes is kept there. `manage.py rwrouter doctor` may know more."
        ) from None


def act(action: Callable[[], R]) -> R:
    """Do it, and write down at once who did it."""
    with plain_errors():
        result = action()
    stats.flush()
    return result


def tell(command: BaseCommand, what: str, then: str) -> None:
    """Say what was done, and when the running processes follow."""
    what = printable(what)
    monitor = get_settings().monitor
    if monitor.mode == "off":
        command.stdout.write(command.style.SUCCESS(what))
        command.stdout.write(
            command.style.WARNING(
                'But RWROUTER["MONITOR"]["MODE"] is "off": no process looks for it, so it has no effect.'
            )
        )
        return
    command.stdout.write(f"{command.style.SUCCESS(what)} {then} within {2 * monitor.interval:g} s.")
