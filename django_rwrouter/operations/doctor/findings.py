"""The doctor's findings and their severities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import partialmethod

from django_rwrouter.operations.doctor.facts import Facts


class Severity(str, Enum):
    """The severity of a finding, the least first."""

    OK = "ok"
    UNKNOWN = "unknown"
    """The user of the connection is not allowed to see it; harmless in itself."""
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the doctor says of one server: never a password, nor what a driver says of a connection."""

    cluster: str
    alias: str
    topic: str
    """What it is about, the same in every version: ``binary_log``, ``replication`` and so on."""
    severity: Severity
    message: str
    advice: str = ""


@dataclass(slots=True)
class Notes:
    """Collects findings about one server, in the order in which they are made."""

    cluster: str
    alias: str
    findings: list[Finding] = field(default_factory=list)

    def add(self, severity: Severity, topic: str, message: str, advice: str = "") -> None:
        """Append a finding about the server."""
        self.findings.append(
            Finding(
                cluster=self.cluster,
                alias=self.alias,
                topic=topic,
                severity=severity,
                message=message,
                advice=advice,
            )
        )

    ok = partialmethod(add, Severity.OK)
    unknown = partialmethod(add, Severity.UNKNOWN)
    warning = partialmethod(add, Severity.WARNING)
    error = partialmethod(add, Severity.ERROR)

    def expect(self, facts: Facts, name: str, topic: str, consequence: str, advice: str) -> None:
        """Note whether a variable is on, and warn of what follows if it is off."""
        if facts.is_on(name):
            self.ok(topic, f"{name} is on")
        else:
            self.warning(topic, f"{name} is off: {consequence}", advice)


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity among them."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
