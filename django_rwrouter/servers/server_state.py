"""What is known of one server: the one type that probes, surveys, statistics, pages and exporters share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any


class Condition(str, Enum):
    """Whether a server may be used, and if not, why not."""

    HEALTHY = "healthy"
    EJECTED = "ejected"
    """A replica that failed, or was too slow, and is left alone: by this process, or by another."""
    DRAINED = "drained"
    """A replica that an operator took out of rotation."""
    UNREACHABLE = "unreachable"
    """It could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """The state of one server, as plain values: it is written as JSON for other processes."""

    alias: str
    cluster: str = ""
    role: str = "unknown"
    """By the server's own word: ``primary`` if it takes writes, ``replica`` if not, else ``unknown``."""
    condition: Condition = Condition.HEALTHY
    since: float = 0.0
    """Unix time when the condition began; 0 where that is not known."""
    why: str = ""
    """Why it is not healthy."""
    failure: str = ""
    """Why it could not be asked the last time; empty if it answered, or was not asked."""
    refused: str = ""
    """What its user lacks to be told the position: a function's name, or a privilege's."""
    lag: float | None = None
    """Upper bound of a replica's lag in seconds; ``None`` where none is known."""
    lag_at_least: float | None = None
    """Lower bound in seconds, where a replica was asked and had not caught up."""
    position: str = ""
    """Its place in the log, as the database writes it; empty where it does not say."""
    server: str = ""
    """Identity of the physical server that answered; empty where it does not say."""
    probe_seconds: float = 0.0
    """Duration of the last probe."""
    at: float = 0.0
    """Unix time of the last probe; 0 if there was none."""

    @property
    def reachable(self) -> bool:
        """Whether it answered when it was last asked, if it was."""
        return not self.failure

    def as_json(self) -> dict[str, Any]:
        """Return what differs from a server of which nothing is known."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    @classmethod
    def from_json(cls, data: object) -> ServerState | None:
        """Read what :meth:`as_json` returned; ``None`` for what this version cannot read."""
        if not isinstance(data, Mapping):
            return None
        values = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        try:
            return cls(**{**values, "condition": Condition(values.get("condition", Condition.HEALTHY))})
        except (TypeError, ValueError):
            return None
