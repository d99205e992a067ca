"""The parsed ``RWROUTER`` setting: each key's validator and default."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from django.db import DEFAULT_DB_ALIAS

from django_rwrouter.conf import validators
from django_rwrouter.conf.validators import nested, one_of, option, optional, shown
from django_rwrouter.decision import Level

DEFAULT_CLUSTER: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """One entry of ``REPLICAS``."""

    alias: str
    """An object of its own, so that ``is`` tells an alias that the router has named from one in the code.

    Of one letter Python has one object: what the code names so is decided again, too.
    """
    weight: float = option(validators.positive, 1.0)
    """Its share of the reads, relative to the other replicas' weights."""
    zone: str = option(validators.any_text, "")
    """The zone that the server runs in."""
    label: str = option(validators.any_text, "")
    """A name for the machine, shown beside the alias."""
    excepted: frozenset[str] = option(validators.labels, frozenset(), key="EXCEPT")
    """Lower-case ``app`` and ``app.model`` labels that it does not replicate."""
    delayed: bool = option(validators.flag, default=False)
    """Whether it is late on purpose, and takes only ``eventual`` and ``bounded`` reads."""


def _replicas(value: object) -> tuple[ReplicaSettings, ...]:
    if isinstance(value, Mapping):
        return tuple(_replica(alias, options) for alias, options in value.items())
    try:
        aliases = validators.sequence(value)
    except ValueError as error:
        _problem, *hint = error.args
        string = "is a string, and " if isinstance(value, str) else ""
        raise ValueError(f"{string}must be a list of aliases, or a dict of alias to options", *hint) from None
    return tuple(_replica(alias, {}) for alias in aliases)


def _replica(alias: object, options: object) -> ReplicaSettings:
    if not isinstance(alias, str):
        raise ValueError(f"must name database aliases, and {shown(alias)} is not a string")  # noqa: TRY004
    if not isinstance(options, Mapping):
        raise ValueError(f"must give {alias!r} a dict such as {{'WEIGHT': 3}}, not {shown(options)}")  # noqa: TRY004
    # The key is interned, and so what equal strings in the code are; it must not become the other one.
    own = _alias_objects.setdefault(sys.intern("".join([*alias])), "".join([*alias]))
    return validators.instance(ReplicaSettings, options, f"gives {alias!r}", "option", alias=own)


_alias_objects: Final[dict[str, str]] = {}
"""By alias, the one of :attr:`ReplicaSettings.alias`: the same whenever the settings are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """The options of one cluster."""

    name: str
    primary: str = option(validators.text, DEFAULT_DB_ALIAS)
    replicas: tuple[ReplicaSettings, ...] = option(_replicas, ())
    models: frozenset[str] | None = option(validators.labels, None)
    """Lower-case ``app`` and ``app.model`` labels; ``None`` takes all models that no other cluster names."""
    consistency: Level = option(validators.level, Level.WINDOW)
    pin_seconds: float = option(validators.positive, 5.0)
    token_seconds: float = option(validators.positive, 600.0)
    """Seconds that a token with a position lives."""
    balancer: str = option(validators.text, "random")
    replica_per: Literal["request", "query"] = option(one_of("request", "query"), "request")
    primary_only: frozenset[str] = option(validators.labels, frozenset())
    """Lower-case ``app`` and ``app.model`` labels."""
    outside_request: Literal["primary", "replica"] = option(one_of("primary", "replica"), "primary")
    read_only_sessions: bool = option(validators.flag, default=True)
    replica_session: str | None = option(optional(validators.dotted_path), None)
    """Dotted path of a function that copies session state from the primary's connection to a replica's."""
    wait_timeout: float = option(validators.at_least_zero, 0.05)
    max_lag: float | None = option(validators.positive, None)
    """Seconds; ``None`` follows ``pin_seconds``."""
    spill_limit: int = option(validators.count, 10)
    monotonic_reads: bool = option(validators.flag, default=False)
    sync_replicas: int | Literal["all"] = option(validators.count_or_all, 0)
    sync_timeout: float = option(validators.positive, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """The cookie of the ``cookie`` store."""

    name: str = option(validators.cookie_name, "rwrouter")
    path: str = option(validators.cookie_path, "/")
    domain: str | None = option(optional(validators.cookie_domain), None)
    secure: bool | None = option(optional(validators.flag), None)
    """``None`` follows ``SESSION_COOKIE_SECURE`` at the time the cookie is set."""
    httponly: bool = option(validators.flag, default=True)
    samesite: Literal["Lax", "Strict", "None"] | None = option(one_of("Lax", "Strict", "None", None), "Lax")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSettings:
    """The options in ``STATS``."""

    backend: str = option(validators.text, "database")
    flush_seconds: float = option(validators.positive, 10.0)
    retention_days: float = option(validators.positive, 7.0)
    top: int = option(validators.count, 10)
    """How many views and models that read from the primary are counted by name; 0 counts none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """The options in ``MONITOR``."""

    mode: Literal["thread", "inline", "off"] = option(one_of("thread", "inline", "off"), "thread")
    interval: float = option(validators.positive, 1.0)
    timeout: float = option(validators.positive, 1.0)
    end_primary_statements: bool = option(validators.flag, default=False)
    """Whether to cut off hung statements on an unreachable primary, as on a replica."""
    share: str = option(validators.share, "host")
    """Who probes the servers for all processes that have the same settings: one of a ``"host"``, one of those
    that use the same ``"cache:<alias>"``, or each by itself (``"none"``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of ``RWROUTER``, parsed."""

    enabled: Literal[True, False, "shadow"] = option(one_of(True, False, "shadow"), default=True)
    stores: tuple[str, ...] = option(validators.stores, ("cookie",), key="STORE")
    cookie: CookieSettings = option(nested(CookieSettings), CookieSettings())
    header: str = option(validators.header_name, "X-Read-Your-Writes")
    zone: str = option(validators.any_text, "")
    unsafe_views: tuple[str, ...] = option(validators.views, ())
    """View names and path prefixes; a prefix begins with a slash."""
    monitor: MonitorSettings = option(nested(MonitorSettings), MonitorSettings())
    stats: StatsSettings = option(nested(StatsSettings), StatsSettings())
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
