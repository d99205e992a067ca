"""Checks that query the servers, run only on request: ``manage.py check --database replica1``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from django_rwrouter import process
from django_rwrouter.checks.messages import found
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.operations.doctor.findings import Finding, Severity

_TIMEOUT = 2.0
"""Seconds that a server may take to answer."""


def answers(databases: Sequence[str] | None) -> Iterator[CheckMessage]:
    """Examine the servers behind these aliases, as the doctor does."""
    # The aliases of a test run lead to test databases, and a mirror to the primary's.
    if not databases or process.in_test_environment():
        return
    try:
        topology = get_topology()
    except ImproperlyConfigured:
        return  # Explained by the checks of the setting.
    for cluster in dict.fromkeys(
        topology.by_alias[alias] for alias in databases if alias in topology.by_alias
    ):
        for finding in examine(cluster, _TIMEOUT, databases):
            if finding.alias in databases:
                yield from _message(finding, is_primary=finding.alias == cluster.primary)


def _message(finding: Finding, *, is_primary: bool) -> Iterator[CheckMessage]:
    message = f"DATABASES[{finding.alias!r}]: {finding.message}."
    if finding.severity is Severity.ERROR and finding.topic in ("read_only", "roles") and is_primary:
        swapped = "If a replica's address stands in the primary's place in DATABASES, swap the two."
        yield found("E028", message, f"{swapped} {finding.advice}")
    elif finding.severity is Severity.ERROR and finding.topic == "pooler":
        yield found("E029", message, finding.advice)
    elif finding.severity in (Severity.ERROR, Severity.WARNING):
        yield found("W025", message, finding.advice)
    elif finding.severity is Severity.UNKNOWN and finding.advice:
        yield found("I003", message, finding.advice)
