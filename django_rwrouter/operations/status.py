"""What is known of each cluster now: for ``rwrouter status``, the panel's first page, and exporters.

Combines what this process's monitor knows (without one, what a survey of the servers shows), what the other
processes wrote of themselves, what operators want, and what was counted in the last minutes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import Any, Final, Literal

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
from django_rwrouter.servers.breaker import health
from django_rwrouter.servers.cluster_state import known_state, server_states
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.stats.counters import RESOLUTION
from django_rwrouter.stats.queries import report
from django_rwrouter.stats.summary import Span, Summary, percent

MINUTES: Final = 5
"""How much of the statistics counts as now: the running minute and those before it."""

Routing = Literal["on", "off", "shadow", "switched_off"]
StatisticsState = Literal["here", "missing", "off", "elsewhere", "unreachable"]


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
class ServerNow:
    """One database of a cluster: its state, and what the cluster makes of it."""

    state: ServerState
    """Its state, by this process's knowledge and then by that of the others."""
    is_primary: bool
    """By the settings."""
    label: str = ""
    """What the settings call a replica's machine."""
    drained: Override | None = None
    """Who took it out of rotation, and why."""
    is_level: bool = False
    """Whether a replica stands where the primary stands."""
    opinions: Mapping[str, int] = field(default_factory=dict)
    """How many of the processes that wrote lately call it ``healthy``, ``ejected`` and so on."""
    weight_share: float = 0.0
    """A replica's part of the weights of all that are not drained, in percent."""
    traffic: Traffic = Traffic()

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
    """One cluster."""

    name: str
    level: str
    """The level of consistency in the settings."""
    routing: Routing
    """``off`` and ``shadow`` by the settings, ``switched_off`` by an operator."""
    switched_off: Override | None
    """Who threw the kill switch, and why."""
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
    summary: Summary | None = None
    """What was counted in this time, where there are statistics."""
    overrides_failure: str = ""
    """Why it is not known what operators want; empty if it is."""
    ineffective: tuple[Override, ...] = ()
    """Overrides of what the settings do not name."""


def overview(*, ask: bool | None = None, timeout: float | None = None, minutes: int = MINUTES) -> Overview:
    """Return what is known now.

    With ``ask`` each server is asked once, all at the same time and at most ``timeout`` seconds (those of the
    monitor, unless said otherwise); by default where no monitor runs in this process. The traffic is that of
    the last ``minutes``. What cannot be known is shown as such: no error of a server is ever raised.
    """
    now = time.time()
    clusters = _clusters()
    answers = dict(monitor.snapshot())
    if ask or (ask is None and not health.watched):
        patience = get_settings().monitor.timeout if timeout is None else timeout
        for cluster in clusters:
            answers.update(server_states(cluster, patience))
    wanted, failure = _wanted(answers)
    counted = _count(now, minutes, answers)
    view = _View(answers=answers, wanted=wanted, counted=counted)
    return Overview(
        at=now,
        clusters=tuple(map(view.cluster, clusters)),
        processes=len(counted.processes),
        seconds=counted.seconds,
        statistics=counted.statistics,
        reasons=counted.reasons,
        summary=counted.summary,
        overrides_failure=failure,
        ineffective=tuple(override for override in wanted if not _has_effect(override, clusters)),
    )


def own_states() -> list[dict[str, Any]]:
    """Return the states of all servers as this process knows them, as JSON for the statistics.

    Empty where it knows nothing: no monitor runs, and all is well as far as its own reads have shown.
    """
    answers = monitor.snapshot()
    states = [
        answers.get(alias) or known_state(cluster, alias)
        for cluster in _clusters()
        for alias in (cluster.primary, *cluster.replica_aliases)
    ]
    knows_anything = answers or any(state.condition is not Condition.HEALTHY for state in states)
    return [state.as_json() for state in states] if knows_anything else []


def _clusters() -> Collection[Cluster]:
    topology = get_topology()
    return () if topology.inert else topology.clusters.values()


def _away(answers: Mapping[str, ServerState]) -> str:
    """Return why the primary with our tables need not be asked; empty if it may be."""
    alias = overrides.database()
    if alias in answers:
        return answers[alias].failure
    return NO_ANSWER if health.is_away(events.cluster_of(alias)) else ""


def _wanted(answers: Mapping[str, ServerState]) -> tuple[list[Override], str]:
    """Return what operators want, or why that is not known."""
    if failure := _away(answers):
        return [], failure
    try:
        return overrides.in_force(), ""
    except Error as error:
        return [], events.why(error)


def _has_effect(override: Override, clusters: Collection[Cluster]) -> bool:
    if override.kind is OverrideKind.PRIMARY_ONLY:
        return override.target in {cluster.name for cluster in clusters}
    return any(override.target in cluster.replica_aliases for cluster in clusters)


# --- what was counted ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """What all processes wrote lately."""

    statistics: StatisticsState
    seconds: float = 0.0
    summary: Summary | None = None
    processes: Sequence[Mapping[str, ServerState]] = ()
    """The servers' states by alias, as each process that is alive knows them; the newest first."""

    @property
    def reasons(self) -> dict[str, int]:
        """The number of reads for each reason."""
        return {} if self.summary is None else {cause.reason: cause.reads for cause in self.summary.causes}

    def opinions(self, alias: str) -> list[ServerState]:
        """Return what the processes know of one server."""
        return [states[alias] for states in self.processes if alias in states]


def _count(now: float, minutes: int, answers: Mapping[str, ServerState]) -> _Counted:
    """Read the statistics, where there are any."""
    settings = get_settings()
    if settings.stats.backend != "database":
        return _Counted(statistics="off" if settings.stats.backend == "off" else "elsewhere")
    if _away(answers):
        return _Counted(statistics="unreachable")
    span = Span(minutes * RESOLUTION, RESOLUTION)
    try:
        recorded = report(span, now)
    except Error:
        return _Counted(statistics="unreachable")
    if recorded is None:
        return _Counted(statistics="missing")
    return _Counted(
        statistics="here",
        seconds=now - span.steps(now)[0],
        summary=recorded.summary,
        processes=[
            {state.alias: state for state in map(ServerState.from_json, process.servers) if state}
            for process in recorded.processes
        ],
    )


# --- putting it together -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """Everything that is known of all clusters."""

    answers: Mapping[str, ServerState]
    """What each server said, by alias; without those that nobody has asked."""
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
        primary = ServerNow(
            state=self._state(cluster, cluster.primary, None),
            is_primary=True,
            opinions=self._opinions(cluster.primary),
            traffic=traffic[cluster.primary],
        )
        return ClusterNow(
            name=cluster.name,
            level=cluster.settings.consistency.value,
            routing=routing,
            switched_off=switched_off,
            primary=primary,
            replicas=tuple(self._replica(cluster, replica, weights, traffic) for replica in cluster.replicas),
            spilled=self._happened(EventKind.READ_SPILLED, cluster),
            degraded=self._happened(EventKind.READ_DEGRADED, cluster),
        )

    def _replica(
        self,
        cluster: Cluster,
        replica: ReplicaSettings,
        weights: Mapping[str, float],
        traffic: Mapping[str, Traffic],
    ) -> ServerNow:
        alias = replica.alias
        drained = self._override(OverrideKind.DRAIN, alias)
        state = self._state(cluster, alias, drained)
        return ServerNow(
            state=state,
            is_primary=False,
            label=replica.label,
            drained=drained,
            is_level=state.lag == 0 or self._is_level(cluster, alias),
            opinions=self._opinions(alias),
            weight_share=100 * weights[alias] / sum(weights.values()) if alias in weights else 0.0,
            traffic=traffic[alias],
        )

    def _state(self, cluster: Cluster, alias: str, drained: Override | None) -> ServerState:
        """Return a server's state; what this process does not know is filled in from the others."""
        state = known_state(cluster, alias, self.answers.get(alias))
        opinions = self.counted.opinions(alias)
        if state.role == "unknown":
            state = replace(state, role=next((opinion.role for opinion in opinions), state.role))
        if not state.position:
            state = replace(state, position=next((opinion.position for opinion in opinions), ""))
        if alias == cluster.primary:
            return state
        if state.lag is None:
            lags = [opinion.lag for opinion in opinions if opinion.lag is not None]
            state = replace(state, lag=max(lags, default=None))
        ejections = [opinion for opinion in opinions if opinion.condition is Condition.EJECTED]
        if drained is not None:
            state = replace(state, condition=Condition.DRAINED, since=drained.at, why=drained.why)
        elif state.condition is Condition.HEALTHY and ejections:
            first = min(ejections, key=lambda opinion: opinion.since)
            state = replace(state, condition=Condition.EJECTED, since=first.since, why=first.why)
        return state

    def _is_level(self, cluster: Cluster, alias: str) -> bool:
        """Whether a replica stands where the primary does, both as one and the same observer saw them."""
        for states in (self.answers, *self.counted.processes):
            replica, primary = states.get(alias), states.get(cluster.primary)
            if replica and primary and replica.position and primary.position:
                return replica.position == primary.position
        return False

    def _opinions(self, alias: str) -> dict[str, int]:
        return dict(Counter(state.condition.value for state in self.counted.opinions(alias)))

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
        databases = [database for database in summary.databases if database.alias in cluster.aliases]
        by_replicas = sum(database.reads.count for database in databases if not database.is_primary)
        return {
            database.alias: Traffic(
                reads=database.reads.count,
                reads_per_second=database.reads.count / seconds,
                share=database.share,
                replica_share=0.0 if database.is_primary else percent(database.reads.count, by_replicas),
                writes=database.writes.count,
                writes_per_second=database.writes.count / seconds,
                p50_milliseconds=database.reads.p50_milliseconds,
                p95_milliseconds=database.reads.p95_milliseconds,
                errors=database.errors,
            )
            for database in databases
        }
