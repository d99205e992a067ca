"""One server under examination: its answers, and the findings about it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partialmethod
from typing import Any

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases.base import Product


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


def worst(findings: Iterable[Finding]) -> Severity:
    """Return the worst severity among them."""
    order = list(Severity)
    return max((finding.severity for finding in findings), key=order.index, default=Severity.OK)


@dataclass(slots=True, kw_only=True)
class ExaminedServer:
    """One server's answers, and the findings about it; what it did not answer is left out."""

    cluster: Cluster
    alias: str
    product: Product = field(default_factory=Product)
    options: Mapping[str, Any] = field(default_factory=dict)
    """The alias' own entry of ``DATABASES``."""
    primary: ExaminedServer | None = None
    """Its cluster's primary, which may not have answered; ``None`` before all were asked."""
    version: str = ""
    """The product's name and version, or what Django calls it."""
    identity: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    log: Mapping[str, Any] = field(default_factory=dict)
    """The status of a primary's binary log, if that may be seen."""
    replication: Mapping[str, Any] | None = None
    """How a replica replicates; empty if it does not, ``None`` if that may not be seen."""
    follows: bool | None = None
    """Whether it replicates from another server; ``None`` if that may not be seen."""
    is_subscriber: bool = False
    """Whether it is a copy by logical replication, which has no position of its primary."""
    writes_anyway: bool | None = None
    """Whether the connection's user may write although the server is read-only; ``None`` if not known."""
    clock: float | None = None
    """By how many seconds the server's clock is ahead of ours; ``None`` if it was not asked."""
    clock_accuracy: float = 0.0
    position: str = ""
    """Where it stands; empty if it does not say."""
    refused: str = ""
    """What the user lacks to be told the position: a function's name, or a privilege's."""
    caught_up: bool | None = None
    """Whether a replica has reached where its primary stood; ``None`` if that could not be tried."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_primary(self) -> bool:
        """Whether it is its cluster's primary, by the settings."""
        return self.alias == self.cluster.primary

    @property
    def is_delayed(self) -> bool:
        """Whether the settings say that it is late on purpose."""
        return any(replica.delayed and replica.alias == self.alias for replica in self.cluster.replicas)

    def ask_clock(self, cursor: Any, query: str) -> None:
        """Compare the clocks: the server's answer was made between our two looks at ours."""
        before = time.time()
        cursor.execute(query)
        after = time.time()
        (server,) = cursor.fetchone()
        self.clock = float(server) - (before + after) / 2
        self.clock_accuracy = (after - before) / 2

    def is_on(self, name: str) -> bool:
        """Whether a variable is on; not if it is not known."""
        return self.variables.get(name, "").upper() in ("1", "ON", "YES", "TRUE")

    def add(self, severity: Severity, topic: str, message: str, advice: str = "") -> None:
        """Append a finding."""
        cluster, alias = self.cluster.name, self.alias
        self.findings.append(
            Finding(
                cluster=cluster, alias=alias, topic=topic, severity=severity, message=message, advice=advice
            )
        )

    ok = partialmethod(add, Severity.OK)
    unknown = partialmethod(add, Severity.UNKNOWN)
    warning = partialmethod(add, Severity.WARNING)
    error = partialmethod(add, Severity.ERROR)

    def expect(self, name: str, topic: str, consequence: str, advice: str) -> None:
        """Note whether a variable is on, and warn of what follows if it is off."""
        if self.is_on(name):
            self.ok(topic, f"{name} is on")
        else:
            self.warning(topic, f"{name} is off: {consequence}", advice)

    def judge_session(self) -> None:
        """Judge whether a new session of a primary that takes writes takes them, too."""
        if self.is_on("session_read_only"):
            self.error(
                "read_only",
                "a new session on the primary is read-only: a pooler hands out one that was left so",
                "Let the pooler reconnect to the server (PgBouncer: RECONNECT), and set READ_ONLY_SESSIONS to"
                " False for what shares sessions.",
            )
        else:
            self.ok("read_only", "it takes writes")

    def judge_delay(self, seconds: float, remedy: str) -> None:
        """Judge a delay that was asked for on the server, and perhaps not in the settings."""
        if seconds and not self.is_delayed:
            self.warning(
                "replication",
                f"it is kept {seconds:g} s behind on purpose: it will hardly ever serve a bound read",
                f"If that is meant, write 'DELAYED': True among its options in REPLICAS; else {remedy}.",
            )

    def judge_position(self, advice: str) -> None:
        """Judge where a server stands. ``advice`` is what to do if it does not say."""
        report = self.error if self.cluster.needs_positions else self.warning
        if self.refused:
            is_function = self.refused.startswith("pg_")
            what = f"EXECUTE ON FUNCTION {self.refused}()" if is_function else f"{self.refused} ON *.*"
            report(
                "position",
                f"it refuses to say where it stands: {self.refused} is not there, or not for this user",
                f"GRANT {what} TO the application's user, on the primary. Where the server does not support"
                " that, write CONSISTENCY 'window', to which the levels that need positions fall back.",
            )
        elif self.caught_up is None and not self.is_primary:
            self.unknown(
                "position", "whether it keeps up cannot be told while the primary does not say where it is"
            )
        elif not self.position:
            report("position", "it does not say where it stands", advice)
        elif self.is_primary:
            self.ok("position", "it says where it stands")
        elif self.caught_up:
            self.ok("position", "it has reached where the primary stood")
        elif self.is_delayed:
            self.ok("position", "it is late on purpose, as DELAYED says")
        else:
            self.error(
                "position",
                "it has not reached where the primary stood, or belongs to another history",
                "If replication runs, it is behind: look for the load that keeps it. If it does not catch up,"
                " compare its position with the primary's, and make it anew from a copy of the primary.",
            )
