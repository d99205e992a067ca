"""Evaluates the results of probes: circuit breakers, positions, states and events."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django_rwrouter import stats
from django_rwrouter.conf.clusters import Cluster, Topology
from django_rwrouter.events import emit
from django_rwrouter.events.causes import NOT_IN_RECOVERY
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.monitor.cluster_state import known_state, position_text
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.monitor.slowness import Slowness, Work
from django_rwrouter.servers import asking, sockets
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.servers.server_state import ServerState


class Verdicts:
    """Judges the servers by their probes. Used by one thread at a time, but for :meth:`snapshot`."""

    def __init__(self, topology: Topology, away_seconds: float) -> None:
        self._topology = topology
        self._away_seconds = away_seconds
        self._seen: dict[str, ServerState] = {}
        self._roles: dict[str, str] = {}
        self._servers: dict[str, str] = {}
        """The server that each alias led to last."""
        self._positioned: set[str] = set()
        """Replicas that have told a position."""
        self._unplaced: dict[str, tuple[float, ProbeResult]] = {}
        """Tentative answers of replicas that wait for a later answer of the primary, and when they came."""
        self._works: dict[str, float] = {}
        """Durations of the probes that were answered in this round."""
        self._slowness: defaultdict[tuple[str, str], Slowness] = defaultdict(Slowness)
        self.findings: dict[str, ProbeResult] = {}
        """The last complete result of each alias; a tentative position counts once it has its place."""
        self.ejected_elsewhere: frozenset[str] = frozenset()
        """Replicas that the leader of the host has ejected, and which it alone restores."""

    # --- answers ------------------------------------------------------------------------------------

    def heard(self, finding: ProbeResult, now: float) -> None:
        """Judge the result of a probe that came in time."""
        alias = finding.alias
        if finding.trouble is not None:
            raise finding.trouble  # It says nothing about the server; the rounds report it.
        cluster = self._topology.by_alias.get(alias)
        if not finding.failure and finding.began < health.ejected_at(alias):
            return
        before = self.findings.get(alias)
        if finding.reading is None or not finding.reading.tentative:
            self.findings[alias] = finding
        elif before is None or before.failure or before.began < health.ejected_at(alias):
            # The position from before the ejection does not hold any more.
            self.findings[alias] = replace(finding, reading=None)
        if cluster is not None and alias == cluster.primary:
            self._primary_heard(cluster, finding, was_lost=before is not None and bool(before.failure))
        elif cluster is not None:
            self._note(cluster, finding)
            if finding.failure:
                self._eject(alias, finding.failure)
            else:
                self._replica_answered(cluster, finding, now)

    def is_lost(self, cluster: str) -> bool:
        """Whether a cluster's primary did not answer when it was last asked."""
        finding = self.findings.get(self._topology.clusters[cluster].primary)
        return finding is not None and bool(finding.failure)

    def must_connect(self, alias: str) -> bool:
        """Whether the next probe should open a new connection.

        That tests whether an ejected server takes connections again, and whether the address of a demoted
        primary leads to another server by now.
        """
        cluster = self._topology.by_alias.get(alias)
        is_demoted = self._roles.get(alias) == "replica" and cluster is not None and alias == cluster.primary
        return is_demoted or health.is_ejected(alias)

    def must_place(self, cluster: Cluster) -> bool:
        """Whether a primary that may answer must be asked to place tentative positions of its replicas."""
        unplaced = any(replica.alias in self._unplaced for replica in cluster.replicas)
        return unplaced and not self.is_lost(cluster.name)

    def end_round(self) -> None:
        """Compare the replicas by their work since the last round, and record their lag."""
        unusable = health.unusable()
        for cluster in self._topology.clusters.values():
            zones: defaultdict[str, dict[str, Work]] = defaultdict(dict)
            healthy = [alias for alias in cluster.replica_aliases if alias not in unusable]
            for replica in cluster.replicas:
                alias = replica.alias
                reads, seconds = loads[alias].take()
                if alias in self._seen:
                    stats.note_lag(alias, self._lag(self._seen[alias]))
                if alias in self._works and alias in healthy:
                    zones[replica.zone][alias] = Work(reads, seconds, self._works[alias])
            for zone, works in zones.items():
                slow = self._slowness[cluster.name, zone].judge(works, healthy)
                for alias, verdict in slow.items():
                    healthy.remove(alias)
                    self._eject(alias, str(verdict), POLICY.slow_pause)
        self._works.clear()

    def snapshot(self) -> Mapping[str, ServerState]:
        """Return the state of each server that was probed, by alias, with its lag as of now."""
        states = {}
        for alias, answer in list(self._seen.items()):
            lag = self._lag(answer)
            state = replace(answer, lag=lag if math.isfinite(lag) else None)
            states[alias] = known_state(self._topology.clusters[answer.cluster], alias, state)
        return states

    def _lag(self, seen: ServerState) -> float:
        cluster = self._topology.clusters[seen.cluster]
        server = self._servers.get(seen.alias)
        if seen.alias == cluster.primary or server == self._servers.get(cluster.primary, ""):
            return 0.0
        return knowledge.staleness(seen.cluster, server)

    # --- the two roles ------------------------------------------------------------------------------

    def _primary_heard(self, cluster: Cluster, finding: ProbeResult, *, was_lost: bool) -> None:
        reading, before = finding.reading, self._servers.get(finding.alias)
        self._note(cluster, finding)
        if finding.failure:
            health.lost_primary(cluster.name, self._away_seconds)
            if not was_lost:
                emit.event(EventKind.PRIMARY_LOST, finding.alias, why=finding.failure)
            return
        health.found_primary(cluster.name)
        if was_lost:
            emit.event(EventKind.PRIMARY_FOUND, finding.alias)
        if reading is None:
            if finding.refusal:
                asking.learn_refusal(cluster, finding.alias, finding.refusal, finding.began)
            return
        knowledge.learn_primary_server(cluster.name, reading.server)
        self._check_role(finding.alias, "primary", reading.writable)
        if reading.writable is False or before not in (None, reading.server):
            # Open connections may lead to the old server for as long as it lives.
            sockets.retire_all(finding.alias)
        if reading.position is None and not reading.writable:
            # A standby: the missing position does not mean that the cluster has none.
            for replica in cluster.replicas:
                self._unplaced.pop(replica.alias, None)
            return
        knowledge.learn_primary(cluster.name, reading.position, finding.began)
        self._place(cluster, reading.position, finding.began)

    def _place(self, cluster: Cluster, primary: Any, began: float) -> None:
        """Place the replicas' tentative positions in the primary's history."""
        for replica in cluster.replicas:
            answered, waiting = self._unplaced.get(replica.alias, (math.inf, None))
            # The primary must have been on its history after the replica answered, not before.
            if waiting is not None and waiting.reading and waiting.driver and answered <= began:
                del self._unplaced[replica.alias]
                if waiting.began < health.ejected_at(replica.alias):
                    continue
                position = waiting.driver.place(waiting.reading.position, primary)
                knowledge.learn_replica(replica.alias, waiting.reading.server, position, waiting.began)
                placed = replace(waiting.reading, position=position, tentative=False)
                self.findings[replica.alias] = replace(waiting, reading=placed)
                if position is not None:
                    answer = self._seen[replica.alias]
                    self._seen[replica.alias] = replace(answer, position=position_text(position))

    def _replica_answered(self, cluster: Cluster, finding: ProbeResult, now: float) -> None:
        alias, reading = finding.alias, finding.reading
        self._works[alias] = finding.seconds
        if reading is not None:
            another_name = finding.is_primary or self._servers.get(cluster.primary) == reading.server
            if not another_name:
                self._check_role(alias, "replica", reading.writable)
                if reading.writable and finding.driver and finding.driver.replicas_are_read_only:
                    self._eject(alias, NOT_IN_RECOVERY)
                    return
            if reading.tentative and reading.position is not None:
                self._unplaced[alias] = now, finding
            else:
                knowledge.learn_replica(alias, reading.server, reading.position, finding.began)
            if reading.position is not None:
                self._positioned.add(alias)
            elif alias in self._positioned and not another_name:
                return  # It told a position before and does not now, which is no proof of health.
        elif finding.refusal:
            asking.learn_refusal(cluster, alias, finding.refusal, finding.began)
        if alias in self.ejected_elsewhere:
            return
        seconds = health.proved(alias)
        if seconds is not None:
            emit.replica_restored(alias, seconds)

    def _check_role(self, alias: str, configured: str, writable: bool | None) -> None:
        """Emit an event if a server's role differs from its last one, or at first from the settings."""
        if writable is None:
            return
        role = "primary" if writable else "replica"
        if self._roles.get(alias, configured) != role:
            emit.event(EventKind.ROLE_CHANGED, alias, role, role=role)
        self._roles[alias] = role

    def _eject(self, alias: str, why: str, pause: float = POLICY.first_pause) -> None:
        if asking.trip(alias, why, pause=pause):
            self._unplaced.pop(alias, None)

    def _note(self, cluster: Cluster, finding: ProbeResult) -> None:
        alias, reading, position = finding.alias, finding.reading, ""
        if reading is not None:
            self._servers[alias] = reading.server
            if reading.tentative and alias in self._seen:
                position = self._seen[alias].position  # Until the new one has its place.
            elif not reading.tentative:
                position = position_text(reading.position)
        self._seen[alias] = finding.state(cluster.name, position)
