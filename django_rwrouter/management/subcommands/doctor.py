"""`doctor`: examines the real servers. Exits with 1 if there is an error, for CI and deployments."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.management.arguments import seconds
from django_rwrouter.management.doctor_report import as_json, as_lines
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.operations.doctor.findings import Severity

summary: Final = (
    "Asks the real servers for what the router needs of them, and says what to do where it is missing."
)


def add_arguments(parser: CommandParser) -> None:
    """Add the form of the output, the cluster and the timeout."""
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--cluster", metavar="NAME", help="this cluster alone")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=5.0,
        metavar="SECONDS",
        help="how long a server may take (default: 5)",
    )


def run(command: BaseCommand, **options: Any) -> None:
    """Examine the clusters and print the findings."""
    try:
        topology = get_topology()
    except ImproperlyConfigured as error:
        raise CommandError(f"{error} See `manage.py check`.") from error
    clusters = list(topology.clusters.values())
    if options["cluster"] is not None:
        try:
            topology.check_cluster(options["cluster"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        clusters = [topology.clusters[options["cluster"]]]
    findings = [finding for cluster in clusters for finding in examine(cluster, options["timeout"])]
    if options["json"]:
        command.stdout.write(json.dumps(as_json(findings), indent=2))
    else:
        for line in as_lines(findings, command.style):
            command.stdout.write(line)
    if any(finding.severity is Severity.ERROR for finding in findings):
        sys.exit(1)
