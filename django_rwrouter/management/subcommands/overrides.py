"""The subcommands that drain replicas and throw kill switches, for all processes."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter import stats
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.management.errors import plain_errors
from django_rwrouter.operations import overrides
from django_rwrouter.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideCommand:
    """A subcommand that makes or removes an override."""

    summary: str
    subject: Literal["alias", "cluster"]
    run_on: Callable[..., object]
    """Takes the subject, the reason if it takes one, and the operator; ``False`` if nothing changed."""
    takes_reason: bool
    done: str
    """Said when something changed."""
    consequence: str
    """What running processes do then, within two intervals of their monitors."""
    not_done: str = ""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the subject, the reason and the operator."""
        if self.subject == "alias":
            parser.add_argument("subject", metavar="ALIAS", help="a replica, as DATABASES names it")
        else:
            parser.add_argument(
                "subject", nargs="?", default=DEFAULT_CLUSTER, metavar="CLUSTER", help="one of CLUSTERS"
            )
        if self.takes_reason:
            parser.add_argument(
                "--reason", default="", metavar="TEXT", help="why: shown wherever this is shown"
            )
        parser.add_argument(
            "--by", default=None, metavar="NAME", help="who (default: the user of the system)"
        )

    def run(self, command: BaseCommand, **options: Any) -> None:
        """Change the override and write the event at once; print what changed and when it takes effect."""
        by = _system_user() if options["by"] is None else options["by"]
        reason = (options["reason"],) if self.takes_reason else ()
        with plain_errors():
            changed = self.run_on(options["subject"], *reason, by)
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


DRAIN = OverrideCommand(
    summary="Takes a replica out of rotation, for all processes, until `undrain`.",
    subject="alias",
    run_on=overrides.drain,
    takes_reason=True,
    done="{} is drained.",
    consequence="All processes stop reading from it",
)
UNDRAIN = OverrideCommand(
    summary="Puts a drained replica back into rotation, for all processes.",
    subject="alias",
    run_on=overrides.undrain,
    takes_reason=False,
    done="{} is no longer drained.",
    consequence="All processes read from it again",
    not_done="{} was not drained.",
)
SWITCH_OFF = OverrideCommand(
    summary=(
        "Throws the kill switch: all reads of a cluster go to its primary, in all processes, until"
        " `switch_on`."
    ),
    subject="cluster",
    run_on=overrides.switch_off,
    takes_reason=True,
    done="The cluster {} is switched off.",
    consequence="All its reads go to the primary",
)
SWITCH_ON = OverrideCommand(
    summary="Undoes `switch_off`: the reads of the cluster are routed again, in all processes.",
    subject="cluster",
    run_on=overrides.switch_on,
    takes_reason=False,
    done="The cluster {} is switched on again.",
    consequence="Its reads go to replicas again",
    not_done="The cluster {} was not switched off.",
)
