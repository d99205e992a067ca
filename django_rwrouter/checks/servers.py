"""Checks that query the servers, run only on request: ``manage.py check --database replica1``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from django_rwrouter import process
from django_rwrouter.checks.messages import message
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.operations.doctor.examined_server import Finding, Severity

_TIMEOUT_SECONDS: Final = 2.0


def check_servers(databases: Sequence[str] | None = None, **_kwargs: object) -> Iterator[CheckMessage]:
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
        for finding in examine(cluster, _TIMEOUT_SECONDS, databases):
            if finding.alias in databases:
                yield from _message(finding, is_primary=finding.alias == cluster.primary)


def _message(finding: Finding, *, is_primary: bool) -> Iterator[CheckMessage]:
    text, hint = f"DATABASES[{finding.alias!r}]: {finding.message}.", finding.advice
    is_error = finding.severity is Severity.ERROR
    if is_error and finding.topic in ("read_only", "roles") and is_primary:
        swapped = "If a replica's address stands in the primary's place in DATABASES, swap the two."
        yield message("E028", text, f"{swapped} {hint}")
    elif is_error and finding.topic == "pooler":
        yield message("E029", text, hint)
    elif finding.severity in (Severity.ERROR, Severity.WARNING):
        yield message("W025", text, hint)
    elif finding.severity is Severity.UNKNOWN and hint:
        yield message("I003", text, hint)
