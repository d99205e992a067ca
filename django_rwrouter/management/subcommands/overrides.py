"""The subcommands that drain replicas and throw kill switches, for all processes."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter import stats
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.operations import overrides
from django_rwrouter.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideCommand:
    """A subcommand that makes an override, or ends one: then it takes no reason."""

    summary: str
    run_on: Callable[..., object]
    """Takes the subject, the reason if it makes one, and the operator; ``False`` if nothing changed."""
    done: str
    consequence: str
    """What running processes do then, within two intervals of their monitors."""
    not_done: str = ""
    """Said where there was none to end; empty for a subcommand that makes one."""
    of_cluster: bool = False
    """Whether the subject is a cluster; else it is a replica."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subject, the reason and the operator."""
        if self.of_cluster:
            parser.add_argument(
                "subject", nargs="?", default=DEFAULT_CLUSTER, metavar="CLUSTER", help="one of CLUSTERS"
            )
        else:
            parser.add_argument("subject", metavar="ALIAS", help="a replica, as DATABASES names it")
        if not self.not_done:
            parser.add_argument(
                "--reason", default="", metavar="TEXT", help="why: shown wherever this is shown"
            )
        parser.add_argument(
            "--by", default=None, metavar="NAME", help="who (default: the user of the system)"
        )

    def run(self, command: BaseCommand, **options: Any) -> None:
        """Change the override and write the event at once; print what changed and when it takes effect."""
        by = _system_user() if options["by"] is None else options["by"]
        reason = {} if self.not_done else {"reason": options["reason"]}
        changed = self.run_on(options["subject"], by=by, **reason)
        stats.flush()
        subject = printable(options["subject"])
        if changed is False:
            command.stdout.write(self.not_done.format(subject))
            return
        done = command.style.SUCCESS(self.done.format(subject))
        monitor = get_settings().monitor
        if monitor.mode != "off":
            command.stdout.write(f"{done} {self.consequence} within {2 * monitor.interval:g} s.")
            return
        command.stdout.write(done)
        command.stdout.write(
            command.style.WARNING(
                'But RWROUTER["MONITOR"]["MODE"] is "off": no process looks for it, so it has no effect.'
            )
        )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # A container's user may have a number and no name.
        return ""


SUBCOMMANDS: Final = {
    "drain": OverrideCommand(
        summary="Takes a replica out of rotation, for all processes, until `undrain`.",
        run_on=overrides.drain,
        done="{} is drained.",
        consequence="All processes stop reading from it",
    ),
    "undrain": OverrideCommand(
        summary="Puts a drained replica back into rotation, for all processes.",
        run_on=overrides.undrain,
        done="{} is no longer drained.",
        consequence="All processes read from it again",
        not_done="{} was not drained.",
    ),
    "switch_off": OverrideCommand(
        summary=(
            "Throws the kill switch: all reads of a cluster go to its primary, in all processes, until"
            " `switch_on`."
        ),
        run_on=overrides.switch_off,
        done="The cluster {} is switched off.",
        consequence="All its reads go to the primary",
        of_cluster=True,
    ),
    "switch_on": OverrideCommand(
        summary="Undoes `switch_off`: the reads of the cluster are routed again, in all processes.",
        run_on=overrides.switch_on,
        done="The cluster {} is switched on again.",
        consequence="Its reads go to replicas again",
        not_done="The cluster {} was not switched off.",
        of_cluster=True,
    ),
}
