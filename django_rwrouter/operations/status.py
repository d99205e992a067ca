"""What is known of each cluster now: for ``rwrouter status``, the panel's first page, and exporters.

It puts together what this process's monitor knows (or, without one, what one look at the servers shows), what
the other processes wrote of themselves, what operators want, and what was counted in the last minutes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, isfinite
from typing import Final, Literal

from django.db import Error

from django_rwrouter import events, monitor
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.events.causes import NO_ANSWER
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import OverrideKind
from django_rwrouter.operations.overrides import Override
from django_rwrouter.servers.breaker import Condition, health
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.survey import ServerState, server_states
from django_rwrouter.stats.counters import RESOLUTION, ServerEntry
from django_rwrouter.stats.queries import ProcessView, ServerView, report
from django_rwrouter.stats.summary import Span, Summary, percent

MINUTES: Final = 5
"""How much of the statistics counts as now: the running minute and those before it."""

Routing = Literal["on", "off", "shadow", "switched_off"]
StatisticsState = Literal["here", "missing", "off", "elsewhere", "unreachable"]


def bound(server: Server) -> tuple[Literal["level", "at most", "at least", ""], float]:
    """Return what is known of how far a replica is behind, and the seconds, rounded to the safe side."""
    if server.is_level:
        return "level", 0.0
    if server.lag is not None:
        return "at most", max(0.1, ceil(server.lag * 10) / 10)
    if server.lag_at_least is not None:
        return "at least", floor(server.lag_at_least * 10) / 10
    return "", 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a server was used for in the last minutes, by all processes."""

    reads: int = 0
    reads_per_second: float = 0.0
    share: float = 0.0
    """Its part of the cluster's reads, in percent."""
    replica_share: float = 0.0
    """A replica's part of what all replicas read, in percent: to be held against its weight."""
    writes: int = 0
    writes_per_second: float = 0.0
    p50_milliseconds: float | None = None
    """What half of the reads did not exceed, or ``None`` where that is not known."""
    p95_milliseconds: float | None = None
    errors: int = 0
    """How often it failed somebody: ejected, a read lost, a write refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One database of a cluster."""

    alias: str
    is_primary: bool
    """By the settings."""
    label: str = ""
    """What the settings call a replica's machine."""
    role: str = "unknown"
    """As the server itself says: ``primary``, ``replica`` or ``unknown``."""
    condition: Condition = Condition.HEALTHY
    since: float = 0.0
    """Unix time from when on it is in this condition; 0 where that is not known."""
    why: str = ""
    drained: Override | None = None
    """Who took it out of rotation, and why."""
    failure: str = ""
    """Why it could not be asked; empty if it answered, or nobody asked."""
    lag: float | None = None
    """By how many seconds it is behind at most; ``None`` where that is not known."""
    lag_at_least: float | None = None
    """By how many seconds it is behind at least, where no more is known."""
    position: str = ""
    """Where it stands in the log; empty where that is not known."""
    is_level: bool = False
    """Whether a replica stands where the primary stands."""
    opinions: Mapping[str, int] = field(default_factory=dict)
    """How many of the processes that wrote lately call it ``healthy``, ``ejected`` and so on."""
    weight_share: float = 0.0
    """A replica's part of the weights of all that are not drained, in percent."""
    traffic: Traffic = Traffic()

    @property
    def role_is_wrong(self) -> bool:
        """Whether the server is in another role than the settings say."""
        return self.role != "unknown" and (self.role == "primary") != self.is_primary

    @property
    def is_usable(self) -> bool:
        """Whether it may answer."""
        return self.condition is Condition.HEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNow:
    """One cluster."""

    name: str
    level: str
    """The level of consistency in the settings."""
    routing: Routing
    """``off`` and ``shadow`` by the settings, ``switched_off`` by an operator."""
    switched_off: Override | None
    """Who threw the kill switch, and why."""
    primary: Server
    replicas: tuple[Server, ...]
    spilled: int
    """Reads of the last minutes that went to the primary because replicas lagged."""
    degraded: int
    """Reads that a replica answered although it lagged too far."""

    @property
    def servers(self) -> tuple[Server, ...]:
        """The primary, and then the replicas."""
        return (self.primary, *self.replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All clusters."""

    at: float
    """Unix time."""
    clusters: tuple[ClusterNow, ...]
    processes: int
    """How many processes wrote lately what they know."""
    seconds: float
    """The time that the traffic is of."""
    statistics: StatisticsState
    """Whether there are any: ``missing`` before ``migrate``, ``elsewhere`` with a backend of one's own."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many reads went where they went for each reason."""
    overrides_failure: str = ""
    """Why it is not known what operators want; empty if it is."""
    ineffective: tuple[Override, ...] = ()
    """Overrides of what the settings do not name."""


def overview(*, ask: bool | None = None, timeout: float | None = None, minutes: int = MINUTES) -> Overview:
    """Return what is known now.

    With ``ask`` each server is asked once, all at the same time and at most ``timeout`` seconds (those of the
    monitor, unless said otherwise); by default where no monitor runs in this process. The traffic is that of
    so many ``minutes``. Whatever cannot be known is shown as such: nothing of a server's is ever raised.
    """
    now = time.time()
    topology = get_topology()
    clusters = () if topology.inert else tuple(topology.clusters.values())
    if ask is None:
        ask = not health.watched
    seen = _watched()
    if ask:
        patience = get_settings().monitor.timeout if timeout is None else timeout
        for cluster in clusters:
            seen.update(server_states(cluster, patience))
    wanted, failure = _wanted(seen)
    counted = _count(now, minutes, seen)
    known = _Known(now=now, seen=seen, wanted=wanted, counted=counted)
    return Overview(
        at=now,
        clusters=tuple(map(known.cluster, clusters)),
        processes=len(counted.processes),
        seconds=counted.seconds,
        statistics=counted.statistics,
        reasons=counted.reasons,
        overrides_failure=failure,
        ineffective=tuple(each for each in wanted if not _has_effect(each, clusters)),
    )


def own_view() -> list[ServerEntry]:
    """Return what this process knows of each server, for the statistics: so that others see it, too.

    Empty where it knows nothing: no monitor runs, and all is well as far as its own reads have shown.
    """
    topology = get_topology()
    watched = _watched()
    view = [
        _entry(cluster, alias, watched)
        for cluster in (() if topology.inert else topology.clusters.values())
        for alias in (cluster.primary, *(replica.alias for replica in cluster.replicas))
    ]
    return view if watched or any(state != Condition.HEALTHY.value for _, _, state, *_more in view) else []


def _entry(cluster: Cluster, alias: str, watched: Mapping[str, ServerState]) -> ServerEntry:
    sight = watched.get(alias) or _own_sight(cluster, alias)
    state, since, why = Condition.HEALTHY.value, 0.0, ""
    if alias != cluster.primary:
        standing = health.standing(alias)
        state, since, why = standing.state.value, standing.since, standing.why
    elif sight.failure or health.is_away(cluster.name):
        state, why = Condition.UNREACHABLE.value, sight.failure
    return alias, sight.role, state, since, why, sight.lag, sight.position


def _watched() -> dict[str, ServerState]:
    """Return what this process's monitor found last, if one runs."""
    return {
        alias: ServerState(
            role=found.role,
            failure=found.why,
            lag=found.lag if isfinite(found.lag) else None,
            position=found.position,
        )
        for alias, found in monitor.snapshot().items()
    }


def _own_sight(cluster: Cluster, alias: str) -> ServerState:
    """Return what this process's own reads have shown of a server."""
    server = knowledge.last_server(alias)
    lag = knowledge.staleness(cluster.name, server)
    position = knowledge.position(server)
    return ServerState(
        lag=lag if isfinite(lag) else None, position="" if position is None else position.encode()
    )


def _away(seen: Mapping[str, ServerState]) -> str:
    """Return why the primary with our tables need not be asked; empty if it may be."""
    alias = overrides.database()
    if alias in seen:
        return seen[alias].failure
    return NO_ANSWER if health.is_away(events.cluster_of(alias)) else ""


def _wanted(seen: Mapping[str, ServerState]) -> tuple[list[Override], str]:
    """Return what operators want, and why that is not known."""
    if failure := _away(seen):
        return [], failure
    try:
        return overrides.in_force(), ""
    except Error as error:
        return [], events.why(error)


def _has_effect(override: Override, clusters: Collection[Cluster]) -> bool:
    if override.kind is OverrideKind.PRIMARY_ONLY:
        return override.target in {cluster.name for cluster in clusters}
    return any(override.target == replica.alias for cluster in clusters for replica in cluster.replicas)


# --- what was counted ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What all processes wrote lately."""

    statistics: StatisticsState
    seconds: float = 0.0
    summary: Summary | None = None
    processes: Sequence[ProcessView] = ()
    """What each process that is alive knows of its servers; the newest first."""

    @property
    def reasons(self) -> dict[str, int]:
        """Return how many reads there were for each reason."""
        return {} if self.summary is None else {each.reason: each.reads for each in self.summary.causes}

    def opinions(self, alias: str) -> list[ServerView]:
        """Return what the processes know of one server."""
        return [server for process in self.processes for server in process.servers if server.alias == alias]


def _count(now: float, minutes: int, seen: Mapping[str, ServerState]) -> _Counted:
    """Read the statistics, where there are any."""
    settings = get_settings()
    if settings.stats.backend != "database":
        return _Counted(statistics="off" if settings.stats.backend == "off" else "elsewhere")
    if _away(seen):
        return _Counted(statistics="unreachable")
    span = Span(minutes * RESOLUTION, RESOLUTION)
    try:
        found = report(span, now)
    except Error:
        return _Counted(statistics="unreachable")
    if found is None:
        return _Counted(statistics="missing")
    return _Counted(
        statistics="here",
        seconds=now - span.steps(now)[0],
        summary=found.summary,
        processes=found.processes,
    )


# --- putting it together -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """All that is known."""

    now: float
    seen: Mapping[str, ServerState]
    wanted: Sequence[Override]
    counted: _Counted

    def cluster(self, cluster: Cluster) -> ClusterNow:
        switched_off = self._override(OverrideKind.PRIMARY_ONLY, cluster.name)
        routing: Routing = "on"
        if not cluster.enabled:
            routing = "off"
        elif switched_off is not None or cluster.name in health.switched_off:
            routing = "switched_off"
        elif cluster.shadow:
            routing = "shadow"
        traffic = self._traffic(cluster)
        weights = {
            replica.alias: replica.weight
            for replica in cluster.replicas
            if self._override(OverrideKind.DRAIN, replica.alias) is None
        }
        return ClusterNow(
            name=cluster.name,
            level=cluster.settings.consistency.value,
            routing=routing,
            switched_off=switched_off,
            primary=self._primary(cluster, traffic),
            replicas=tuple(self._replica(cluster, replica, weights, traffic) for replica in cluster.replicas),
            spilled=self._happened(EventKind.READ_SPILLED, cluster),
            degraded=self._happened(EventKind.READ_DEGRADED, cluster),
        )

    def _primary(self, cluster: Cluster, traffic: Mapping[str, Traffic]) -> Server:
        alias = cluster.primary
        sight = self._sight(cluster, alias)
        failure = sight.failure
        if not failure and alias not in self.seen and health.is_away(cluster.name):
            failure = NO_ANSWER
        return Server(
            alias=alias,
            is_primary=True,
            role=sight.role,
            condition=Condition.UNREACHABLE if failure else Condition.HEALTHY,
            why=failure,
            failure=failure,
            position=sight.position,
            opinions=self._opinions(alias),
            traffic=traffic[alias],
        )

    def _replica(
        self,
        cluster: Cluster,
        replica: ReplicaSettings,
        weights: Mapping[str, float],
        traffic: Mapping[str, Traffic],
    ) -> Server:
        alias = replica.alias
        sight = self._sight(cluster, alias)
        drained = self._override(OverrideKind.DRAIN, alias)
        condition, since, why = self._condition(alias, drained, sight)
        return Server(
            alias=alias,
            is_primary=False,
            label=replica.label,
            role=sight.role,
            condition=condition,
            since=since,
            why=why,
            drained=drained,
            failure=sight.failure,
            lag=sight.lag,
            lag_at_least=sight.lag_at_least,
            position=sight.position,
            is_level=sight.lag == 0 or self._is_level(cluster, alias),
            opinions=self._opinions(alias),
            weight_share=100 * weights[alias] / sum(weights.values()) if alias in weights else 0.0,
            traffic=traffic[alias],
        )

    def _condition(
        self, alias: str, drained: Override | None, sight: ServerState
    ) -> tuple[Condition, float, str]:
        if drained is not None:
            return Condition.DRAINED, drained.at, drained.why
        standing = health.standing(alias)
        if standing.state is not Condition.HEALTHY:
            return standing.state, standing.since, standing.why
        if sight.failure:
            return Condition.UNREACHABLE, 0.0, sight.failure
        ejections = [each for each in self.counted.opinions(alias) if each.state == Condition.EJECTED.value]
        if ejections:
            first = min(ejections, key=lambda each: each.since)
            return Condition.EJECTED, first.since, first.why
        return Condition.HEALTHY, 0.0, ""

    def _sight(self, cluster: Cluster, alias: str) -> ServerState:
        """Return what is known of a server, by whom ever: this process, or else the others."""
        sight = self.seen.get(alias) or _own_sight(cluster, alias)
        others = self.counted.opinions(alias)
        lags = [each.lag for each in others if each.lag is not None]
        return ServerState(
            role=sight.role if sight.role != "unknown" else next((each.role for each in others), sight.role),
            failure=sight.failure,
            lag=max(lags, default=None) if sight.lag is None else sight.lag,
            lag_at_least=sight.lag_at_least,
            position=sight.position or next((each.position for each in others), ""),
        )

    def _is_level(self, cluster: Cluster, alias: str) -> bool:
        """Whether a replica stands where the primary does, both as one and the same observer saw them."""
        views = [{seen: sight.position for seen, sight in self.seen.items()}]
        views += [{each.alias: each.position for each in view.servers} for view in self.counted.processes]
        pairs = ((view.get(alias), view.get(cluster.primary)) for view in views)
        own, primary = next((pair for pair in pairs if all(pair)), (None, ""))
        return own == primary

    def _opinions(self, alias: str) -> dict[str, int]:
        return dict(Counter(each.state for each in self.counted.opinions(alias)))

    def _override(self, kind: OverrideKind, target: str) -> Override | None:
        return next((each for each in self.wanted if (each.kind, each.target) == (kind, target)), None)

    def _happened(self, event: str, cluster: Cluster) -> int:
        summary = self.counted.summary
        return 0 if summary is None else summary.events.get(event, Counter())[cluster.name]

    def _traffic(self, cluster: Cluster) -> dict[str, Traffic]:
        """Return what each server of a cluster was used for."""
        summary, seconds = self.counted.summary, self.counted.seconds
        if summary is None:
            return dict.fromkeys(cluster.aliases, Traffic())
        used = {each.alias: each for each in summary.databases if each.alias in cluster.aliases}
        by_replicas = sum(each.reads.count for each in used.values() if not each.is_primary)
        return {
            alias: Traffic(
                reads=each.reads.count,
                reads_per_second=each.reads.count / seconds,
                share=each.share,
                replica_share=0.0 if each.is_primary else percent(each.reads.count, by_replicas),
                writes=each.writes.count,
                writes_per_second=each.writes.count / seconds,
                p50_milliseconds=each.reads.p50_milliseconds,
                p95_milliseconds=each.reads.p95_milliseconds,
                errors=each.errors,
            )
            for alias, each in used.items()
        }
