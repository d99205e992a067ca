"""`drain`, `switch_off` and what undoes them, for all processes."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter import stats
from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.operations.override_actions import ACTIONS, Action
from django_rwrouter.operations.override_table import OverrideKind
from django_rwrouter.printable import printable


@dataclass(frozen=True, slots=True)
class OverrideCommand:
    """The subcommand for one action."""

    action: Action

    @property
    def summary(self) -> str:
        """What it does."""
        return str(self.action.consequence)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subject, the reason and the operator."""
        if self.action.kind is OverrideKind.DRAIN:
            parser.add_argument("subject", metavar="ALIAS", help="a replica, as DATABASES names it")
        else:
            parser.add_argument(
                "subject", nargs="?", default=DEFAULT_CLUSTER, metavar="CLUSTER", help="one of CLUSTERS"
            )
        if self.action.nothing is None:
            parser.add_argument(
                "--reason", default="", metavar="TEXT", help="why: shown wherever this is shown"
            )
        parser.add_argument("--by", metavar="NAME", help="who (default: the user of the system)")

    def run(self, command: BaseCommand, **options: Any) -> None:
        """Change the override and write the event at once; print what changed and when it takes effect."""
        by = _system_user() if options["by"] is None else options["by"]
        changed, said = self.action.carry_out(options["subject"], options.get("reason", ""), by)
        stats.flush()
        command.stdout.write(printable(said), command.style.SUCCESS if changed else None)


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # A container's user may have a number and no name.
        return ""


SUBCOMMANDS: Final = {action.name.replace("-", "_"): OverrideCommand(action) for action in ACTIONS}
