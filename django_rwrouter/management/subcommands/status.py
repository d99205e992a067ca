"""`status`: the clusters as they are now. Exits with 1 if a primary does not answer."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_rwrouter.management.arguments import minutes, seconds
from django_rwrouter.management.errors import plain_errors
from django_rwrouter.management.status_report import as_json, as_lines
from django_rwrouter.operations.status import MINUTES, Overview, overview
from django_rwrouter.servers.server_state import Condition

summary: Final = (
    "Shows each cluster as it is now: servers, lag, what is drained or switched off, and where reads go."
)
_CLEAR = "\x1b[H\x1b[2J"


def add_arguments(parser: CommandParser) -> None:
    """Add the form of the output, the interval, the timeout and the span of the statistics."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=2.0,
        metavar="SECONDS",
        help="again and again, until interrupted (default: every 2 seconds)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="how long a server may take (default: MONITOR TIMEOUT)",
    )
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=MINUTES,
        help=f"how much of the statistics to add up (default: {MINUTES}; at most 60)",
    )


def run(command: BaseCommand, **options: Any) -> None:
    """Print the status, once or repeatedly."""
    if options["watch"] is not None:
        _watch(command, options)
        return
    now = _look(options)
    if options["json"]:
        command.stdout.write(json.dumps(as_json(now), indent=2))
    else:
        command.stdout.write("\n".join(as_lines(now, command.style)))
    if any(cluster.primary.state.condition is Condition.UNREACHABLE for cluster in now.clusters):
        sys.exit(1)


def _look(options: dict[str, Any]) -> Overview:
    with plain_errors():
        now = overview(ask=True, timeout=options["timeout"], minutes=options["minutes"])
    if not now.clusters:
        raise CommandError("RWROUTER names no replica and no primary: nothing is routed.")
    return now


def _watch(command: BaseCommand, options: dict[str, Any]) -> None:
    clear = _CLEAR if command.stdout.isatty() else ""
    try:
        while True:
            now = _look(options)
            heading = time.strftime("%H:%M:%S", time.localtime(now.at))
            command.stdout.write("\n".join([f"{clear}{heading}", "", *as_lines(now, command.style)]))
            command.stdout.flush()
            time.sleep(options["watch"])
    except KeyboardInterrupt:
        pass
