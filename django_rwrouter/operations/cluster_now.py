"""What is shown of the clusters as they are now: by ``rwrouter status``, the panel and the exporters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Literal

from django_rwrouter.operations.overrides import Override
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.stats.queries import StatisticsState
from django_rwrouter.stats.summary import Database, Summary

Routing = Literal["on", "off", "shadow", "switched_off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNow:
    """One database of a cluster: its state, and what the cluster makes of it."""

    state: ServerState
    """Its state, by this process's knowledge and then by that of the others."""
    is_primary: bool
    """By the settings."""
    label: str = ""
    drained: Override | None = None
    is_level: bool = False
    """Whether a replica stands where the primary stands."""
    opinions: Mapping[str, int] = field(default_factory=dict)
    """How many of the processes that wrote lately call it ``healthy``, ``ejected`` and so on."""
    weight_share: float = 0.0
    """A replica's part of the weights of all that are not drained, in percent."""
    used: Database
    """What all processes used it for in the last minutes; nothing where that is not known."""
    seconds: float = 0.0
    """The time that this is of; 0 without statistics."""

    @property
    def alias(self) -> str:
        """Its alias in ``DATABASES``."""
        return self.state.alias

    @property
    def role_is_wrong(self) -> bool:
        """Whether the server is in another role than the settings say."""
        return self.state.role != "unknown" and (self.state.role == "primary") != self.is_primary

    @property
    def is_usable(self) -> bool:
        """Whether it may answer."""
        return self.state.condition is Condition.HEALTHY

    @property
    def is_counted(self) -> bool:
        """Whether there are statistics of it."""
        return self.seconds > 0

    @property
    def reads_per_second(self) -> float:
        """Reads in a second; 0 without statistics."""
        return self.used.reads.count / self.seconds if self.seconds else 0.0

    @property
    def writes_per_second(self) -> float:
        """Writes in a second; 0 without statistics."""
        return self.used.writes.count / self.seconds if self.seconds else 0.0

    @property
    def lag_bound(self) -> tuple[Literal["level", "at most", "at least", ""], float]:
        """What is known of a replica's lag, and the seconds, rounded to the safe side."""
        if self.is_level:
            return "level", 0.0
        if self.state.lag is not None:
            return "at most", max(0.1, ceil(self.state.lag * 10) / 10)
        if self.state.lag_at_least is not None:
            return "at least", floor(self.state.lag_at_least * 10) / 10
        return "", 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNow:
    """The state of one cluster, as commands, panel and exporters show it."""

    name: str
    level: str
    routing: Routing
    """``off`` and ``shadow`` by the settings, ``switched_off`` by an operator."""
    switched_off: Override | None
    primary: ServerNow
    replicas: tuple[ServerNow, ...]
    spilled: int
    """Reads of the last minutes that went to the primary because replicas lagged."""
    degraded: int
    """Reads that a replica answered although it lagged too far."""

    @property
    def servers(self) -> tuple[ServerNow, ...]:
        """The primary, and then the replicas."""
        return (self.primary, *self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What is known of all clusters at one time."""

    at: float
    """Unix time."""
    clusters: tuple[ClusterNow, ...]
    processes: int
    """How many processes wrote lately what they know."""
    seconds: float
    """The time that the traffic is of."""
    statistics: StatisticsState
    """Whether there are any: ``missing`` before ``migrate``, ``elsewhere`` with a backend of one's own."""
    summary: Summary | None = None
    overrides_failure: str = ""
    """Why it is not known what operators want; empty if it is."""
    ineffective: tuple[Override, ...] = ()
    """Overrides of what the settings do not name."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many reads went where they went for each reason."""
        return {} if self.summary is None else {cause.reason: cause.reads for cause in self.summary.causes}
