"""The doctor's findings and their severities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from django_rwrouter.operations.doctor.facts import Facts


class Severity(str, Enum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """The user of the connection is not allowed to see it; harmless in itself."""
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about one server. Never contains a password, nor what a driver says of a connection."""

    cluster: str
    alias: str
    topic: str
    """What it is about, the same in every version: ``binary_log``, ``replication`` and so on."""
    severity: Severity
    message: str
    advice: str = ""
    """What to do, or an empty string."""


class Notes:
    """Findings about one server, in the order in which they are made."""

    def __init__(self, cluster: str, alias: str) -> None:
        self._about = {"cluster": cluster, "alias": alias}
        self.findings: list[Finding] = []

    def add(self, severity: Severity, topic: str, message: str, advice: str = "") -> None:
        """Note one thing."""
        self.findings.append(
            Finding(**self._about, topic=topic, severity=severity, message=message, advice=advice)
        )

    def ok(self, topic: str, message: str) -> None:
        """Note what is as it should be."""
        self.add(Severity.OK, topic, message)

    def unknown(self, topic: str, message: str, advice: str = "") -> None:
        """Note what could not be seen."""
        self.add(Severity.UNKNOWN, topic, message, advice)

    def warning(self, topic: str, message: str, advice: str) -> None:
        """Note what costs or endangers."""
        self.add(Severity.WARNING, topic, message, advice)

    def error(self, topic: str, message: str, advice: str) -> None:
        """Note what breaks a promise."""
        self.add(Severity.ERROR, topic, message, advice)

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
