"""Throws the kill switch: all reads of a cluster go to its primary, in all processes, until `switch_on`.

Make sure that the primary can carry them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.management.operators import act, add_reason, operator, tell
from django_rwrouter.operations import overrides


def add_arguments(parser: CommandParser) -> None:
    """Add which one, why, and who."""
    parser.add_argument(
        "cluster", nargs="?", default=DEFAULT_CLUSTER, metavar="CLUSTER", help="one of CLUSTERS"
    )
    add_reason(parser)


def run(command: BaseCommand, **options: Any) -> None:
    """Write it down, and say so."""
    cluster = options["cluster"]
    act(partial(overrides.switch_off, cluster, options["reason"], operator(options["by"])))
    tell(command, f"The cluster {cluster} is switched off.", "All its reads go to the primary")
