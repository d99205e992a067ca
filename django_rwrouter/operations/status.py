"""Gathers the current state of each cluster: an :class:`~django_rwrouter.operations.cluster_now.Overview`.

Combines what this process's monitor knows (without one, what a survey of the servers shows), what the other
processes wrote of themselves, what operators want, and what was counted in the last minutes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from django.db import Error

from django_rwrouter import monitor
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.events import emit
from django_rwrouter.events.causes import NO_ANSWER
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.monitor.cluster_state import known_state
from django_rwrouter.operations import overrides
from django_rwrouter.operations.cluster_now import ClusterNow, Overview, Routing, ServerNow
from django_rwrouter.operations.override_table import OverrideKind
from django_rwrouter.operations.overrides import Override
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.stats.counters import RESOLUTION
from django_rwrouter.stats.queries import StatisticsState, recorded
from django_rwrouter.stats.summary import Database, Span, Summary, percent

MINUTES: Final = 5
"""How much of the statistics counts as now: the running minute and those before it."""


def overview(*, ask: bool | None = None, timeout: float | None = None, minutes: int = MINUTES) -> Overview:
    """Return what is known now.

    With ``ask`` each server is asked once, all at the same time and at most ``timeout`` seconds (those of the
    monitor, unless said otherwise); by default where no monitor runs in this process. The traffic is that of
    the last ``minutes``. What cannot be known is shown as such: no error of a server is ever raised.
    """
    answers = dict(monitor.snapshot())
    if ask or (ask is None and not health.watched):
        patience = get_settings().monitor.timeout if timeout is None else timeout
        for cluster in get_topology().routed_clusters:
            answers.update(monitor.server_states(cluster, patience))
    return _Sources(answers, Span(minutes * RESOLUTION, RESOLUTION)).overview()


def own_states() -> list[dict[str, Any]]:
    """Return the states of all servers as this process knows them, as JSON for the statistics.

    Empty where it knows nothing: no monitor runs, and all is well as far as its own reads have shown.
    """
    answers = monitor.snapshot()
    states = [
        answers.get(alias) or known_state(cluster, alias)
        for alias, cluster in get_topology().by_alias.items()
    ]
    knows_anything = answers or any(state.condition is not Condition.HEALTHY for state in states)
    return [state.as_json() for state in states] if knows_anything else []


def states_by_process(summary: Summary | None) -> dict[str, dict[str, ServerState]]:
    """Return the servers' states by alias, as each process that is alive knows them; the newest first."""
    return {
        process: {state.alias: state for state in map(ServerState.from_json, servers) if state}
        for process, servers in (summary.servers if summary else {}).items()
    }


class _Sources:
    """Everything that an overview is made of, gathered once."""

    def __init__(self, answers: Mapping[str, ServerState], span: Span) -> None:
        self.now = time.time()
        self.answers = answers
        """What each server said, by alias; without those that nobody has asked."""
        away = self._away()
        self.wanted, self.failure = ({}, away) if away else _wanted()
        self.statistics: StatisticsState = "unreachable"
        self.summary: Summary | None = None
        if not away or get_settings().stats.backend != "database":
            with suppress(Error):
                self.statistics, self.summary = recorded(span, self.now)
        self.processes = list(states_by_process(self.summary).values())
        self.seconds = self.now - span.steps(self.now)[0] if self.summary else 0.0
        self.used = {database.alias: database for database in self.summary.databases} if self.summary else {}

    def overview(self) -> Overview:
        targets = overrides.targets()
        return Overview(
            at=self.now,
            clusters=tuple(map(self._cluster, get_topology().routed_clusters)),
            processes=len(self.processes),
            seconds=self.seconds,
            statistics=self.statistics,
            summary=self.summary,
            overrides_failure=self.failure,
            ineffective=tuple(override for key, override in self.wanted.items() if key not in targets),
        )

    def _away(self) -> str:
        """Return why the primary with the tables of this package need not be asked; empty if it may be."""
        alias = overrides.database()
        if alias in self.answers:
            return self.answers[alias].failure
        return NO_ANSWER if health.is_away(emit.cluster_of(alias)) else ""

    def _cluster(self, cluster: Cluster) -> ClusterNow:
        switched_off = self.wanted.get((OverrideKind.PRIMARY_ONLY, cluster.name))
        routing: Routing = "on"
        if not cluster.enabled:
            routing = "off"
        elif switched_off is not None or cluster.name in health.off:
            routing = "switched_off"
        elif cluster.shadow:
            routing = "shadow"
        weights = {
            replica.alias: replica.weight
            for replica in cluster.replicas
            if (OverrideKind.DRAIN, replica.alias) not in self.wanted
        }
        happened = {} if self.summary is None else self.summary.events
        return ClusterNow(
            name=cluster.name,
            level=cluster.settings.consistency.value,
            routing=routing,
            switched_off=switched_off,
            primary=self._server(cluster, cluster.primary),
            replicas=tuple(
                replace(
                    self._server(cluster, replica.alias),
                    label=replica.label,
                    weight_share=percent(weights.get(replica.alias, 0), sum(weights.values())),
                )
                for replica in cluster.replicas
            ),
            spilled=happened.get(EventKind.READ_SPILLED, Counter())[cluster.name],
            degraded=happened.get(EventKind.READ_DEGRADED, Counter())[cluster.name],
        )

    def _server(self, cluster: Cluster, alias: str) -> ServerNow:
        is_primary = alias == cluster.primary
        drained = None if is_primary else self.wanted.get((OverrideKind.DRAIN, alias))
        opinions = [states[alias] for states in self.processes if alias in states]
        state = known_state(cluster, alias, self.answers.get(alias))
        # What this process does not know is filled in from the others.
        for name in ("role", "position"):
            if getattr(state, name) in ("", "unknown") and opinions:
                state = replace(state, **{name: getattr(opinions[0], name)})
        if not is_primary:
            state = _as_others_see_it(state, opinions)
        if drained is not None:
            state = replace(state, condition=Condition.DRAINED, since=drained.at, why=drained.why)
        return ServerNow(
            state=state,
            is_primary=is_primary,
            drained=drained,
            is_level=not is_primary and (state.lag == 0 or self._is_level(cluster, alias)),
            opinions=dict(Counter(opinion.condition.value for opinion in opinions)),
            used=self.used.get(alias) or Database(cluster.name, alias, is_primary),
            seconds=self.seconds,
        )

    def _is_level(self, cluster: Cluster, alias: str) -> bool:
        """Whether a replica stands where the primary does, both as one and the same observer saw them."""
        for states in (self.answers, *self.processes):
            replica, primary = states.get(alias), states.get(cluster.primary)
            if replica and primary and replica.position and primary.position:
                return replica.position == primary.position
        return False


def _wanted() -> tuple[dict[tuple[OverrideKind, str], Override], str]:
    """Return what operators want, or why that is not known."""
    try:
        return {override.key: override for override in overrides.in_force()}, ""
    except Error as error:
        return {}, emit.why(error)


def _as_others_see_it(state: ServerState, opinions: Sequence[ServerState]) -> ServerState:
    """Return a replica's state with the largest lag and the first ejection that other processes know of."""
    if state.lag is None:
        lags = [opinion.lag for opinion in opinions if opinion.lag is not None]
        state = replace(state, lag=max(lags, default=None))
    ejections = [opinion for opinion in opinions if opinion.condition is Condition.EJECTED]
    if state.condition is Condition.HEALTHY and ejections:
        first = min(ejections, key=lambda opinion: opinion.since)
        state = replace(state, condition=Condition.EJECTED, since=first.since, why=first.why)
    return state
