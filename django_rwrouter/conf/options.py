"""The parsed ``RWROUTER`` setting, with its defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from django.db import DEFAULT_DB_ALIAS

from django_rwrouter.decision import Level

DEFAULT_CLUSTER: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """One entry of ``REPLICAS``."""

    alias: str
    weight: float = 1.0
    """Its share of the reads, relative to the other replicas' weights."""
    zone: str = ""
    """The zone that the server runs in."""
    label: str = ""
    """A name for the machine, shown beside the alias."""
    excepted: frozenset[str] = frozenset()
    """Lower-case ``app`` and ``app.model`` labels that it does not replicate."""
    delayed: bool = False
    """Whether it is late on purpose, and takes only ``eventual`` and ``bounded`` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The options of one cluster."""

    name: str
    primary: str = DEFAULT_DB_ALIAS
    replicas: tuple[ReplicaSettings, ...] = ()
    models: frozenset[str] | None = None
    """Lower-case ``app`` and ``app.model`` labels; ``None`` takes all models that no other cluster names."""
    consistency: Level = Level.WINDOW
    pin_seconds: float = 5.0
    token_seconds: float = 600.0
    """Seconds that a token with a position lives."""
    balancer: str = "random"
    replica_per: Literal["request", "query"] = "request"
    primary_only: frozenset[str] = frozenset()
    """Lower-case ``app`` and ``app.model`` labels."""
    outside_request: Literal["primary", "replica"] = "primary"
    read_only_sessions: bool = True
    replica_session: str | None = None
    """Dotted path of a function that copies session state from the primary's connection to a replica's."""
    wait_timeout: float = 0.05
    max_lag: float | None = None
    """Seconds; ``None`` follows ``pin_seconds``."""
    spill_limit: int = 10
    monotonic_reads: bool = False
    sync_replicas: int | Literal["all"] = 0
    sync_timeout: float = 1.0

    @property
    def needs_positions(self) -> bool:
        """Whether the level, or another setting, rests on positions in the database's log."""
        return bool(
            self.consistency in (Level.CAUSAL, Level.STRONG) or self.monotonic_reads or self.sync_replicas
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """The cookie of the ``cookie`` store."""

    name: str = "rwrouter"
    path: str = "/"
    domain: str | None = None
    secure: bool | None = None
    """``None`` follows ``SESSION_COOKIE_SECURE`` at the time the cookie is set."""
    httponly: bool = True
    samesite: Literal["Lax", "Strict", "None"] | None = "Lax"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSettings:
    """The options in ``STATS``."""

    backend: str = "database"
    flush_seconds: float = 10.0
    retention_days: float = 7.0
    top: int = 10
    """How many views and models that read from the primary are counted by name; 0 counts none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """The options in ``MONITOR``."""

    mode: Literal["thread", "inline", "off"] = "thread"
    interval: float = 1.0
    timeout: float = 1.0
    end_primary_statements: bool = False
    """Whether to cut off hung statements on an unreachable primary, as on a replica."""
    share: Literal["host", "none"] = "host"
    """Whether one process of a host probes the servers for all that have the same settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of ``RWROUTER``, parsed."""

    enabled: Literal[True, False, "shadow"] = True
    stores: tuple[str, ...] = ("cookie",)
    cookie: CookieSettings = field(default_factory=CookieSettings)
    header: str = "X-Read-Your-Writes"
    zone: str = ""
    unsafe_views: tuple[str, ...] = ()
    """View names and path prefixes; a prefix begins with a slash."""
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    stats: StatsSettings = field(default_factory=StatsSettings)
    clusters: tuple[ClusterSettings, ...] = (ClusterSettings(name=DEFAULT_CLUSTER),)

    @property
    def inert(self) -> bool:
        """Whether nothing is configured, so that Django behaves as without this package."""
        return not any(cluster.replicas or cluster.primary != DEFAULT_DB_ALIAS for cluster in self.clusters)


class Lifetime(NamedTuple):
    """How long a cluster's mark lives, in seconds."""

    pin: float
    """Without a position, at levels that need none."""
    position: float
    """With a position, or if the primary could not be asked for one."""
