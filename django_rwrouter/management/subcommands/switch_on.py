"""Undoes `switch_off`: the reads of the cluster are routed again, in all processes."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.management.operators import act, add_name, operator, tell
from django_rwrouter.operations import overrides
from django_rwrouter.printable import printable


def add_arguments(parser: CommandParser) -> None:
    """Add which one, and who."""
    parser.add_argument(
        "cluster", nargs="?", default=DEFAULT_CLUSTER, metavar="CLUSTER", help="one of CLUSTERS"
    )
    add_name(parser)


def run(command: BaseCommand, **options: Any) -> None:
    """Write it down, and say so."""
    cluster = options["cluster"]
    if act(partial(overrides.switch_on, cluster, operator(options["by"]))):
        tell(command, f"The cluster {cluster} is switched on again.", "Its reads go to replicas again")
    else:
        command.stdout.write(f"The cluster {printable(cluster)} was not switched off.")
