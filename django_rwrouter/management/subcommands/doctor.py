"""`doctor`: examines the real servers. Exits with 1 if there is an error, for CI and deployments."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import Style

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.management.numbers import counted, seconds
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.operations.doctor.examined_server import Finding, Severity, worst
from django_rwrouter.printable import printable

summary: Final = (
    "Asks the real servers for what the router needs of them, and says what to do where it is missing."
)
_WIDTH: Final = 100
_INDENT: Final = " " * 26


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


def run(command: BaseCommand, **options: Any) -> bool:
    """Examine the clusters and print the findings; return whether one is an error."""
    try:
        topology = get_topology()
    except ImproperlyConfigured as error:
        raise CommandError(f"{error} See `manage.py check`.") from error
    names = list(topology.clusters)
    if options["cluster"] is not None:
        names = [options["cluster"]]
        topology.check_cluster(names[0])
    findings = [finding for name in names for finding in examine(topology.clusters[name], options["timeout"])]
    if options["json"]:
        command.stdout.write(json.dumps(as_json(findings), indent=2))
    else:
        for line in as_lines(findings, command.style):
            command.stdout.write(line)
    return worst(findings) is Severity.ERROR


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as plain data."""
    counts = Counter(finding.severity for finding in findings)
    return {
        "worst": worst(findings).value,
        "counts": {severity.value: counts[severity] for severity in Severity},
        "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in findings],
    }


def as_lines(findings: Sequence[Finding], style: Style) -> Iterator[str]:
    """Yield the lines of a table for people, server by server."""
    colors = {
        Severity.OK: style.SUCCESS,
        Severity.UNKNOWN: style.MIGRATE_LABEL,
        Severity.WARNING: style.WARNING,
        Severity.ERROR: style.ERROR,
    }
    findings = printable(findings)
    for (cluster, alias), group in groupby(findings, key=lambda finding: (finding.cluster, finding.alias)):
        yield style.MIGRATE_HEADING(f"{cluster}: {alias}" if alias else cluster)
        for finding in group:
            first, *others = _wrapped(finding.message)
            # Coloured after padding, as the colour codes have a length, too.
            severity = colors[finding.severity](f"{finding.severity.value:8}")
            yield f"  {severity} {finding.topic:14} {first}"
            advice = _wrapped(f"-> {finding.advice}") if finding.advice else ()
            yield from (_INDENT + line for line in (*others, *advice))
        yield ""
    counts = Counter(finding.severity for finding in findings)
    errors, warnings = counts[Severity.ERROR], counts[Severity.WARNING]
    color = style.ERROR if errors else style.WARNING if warnings else style.SUCCESS
    yield color(
        f"{counted(errors or 'no', 'error', 'errors')}, {counted(warnings or 'no', 'warning', 'warnings')}."
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [""]
