"""Finds replicas that are alive but far slower than their peers.

Like outlier detection in proxies (Envoy, "Outlier detection"): a replica is compared with the others of its
cluster, never with a fixed limit, as nobody knows how long the project's queries should take. A load that
slows all of them says nothing about one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from django_rwrouter.events.causes import SLOW
from django_rwrouter.servers.breaker import POLICY


class Work(NamedTuple):
    """The work of a replica in one round."""

    reads: int
    seconds: float
    """Total duration of these reads."""
    probe: float
    """Duration of the monitor's probe, in seconds. It shows a slow network or a starved server even where the
    replica is so slow that hardly a read ends."""


class Slow(NamedTuple):
    """The verdict that a replica is an outlier."""

    seconds: float
    """The replica's mean."""
    peers: float
    """Median of its peers' means."""

    def __str__(self) -> str:
        return SLOW % {"own": f"{self.seconds * 1000:.0f}", "peers": f"{self.peers * 1000:.0f}"}


@dataclass(slots=True)
class _Series:
    """The samples of one measure of one replica."""

    count: int = 0
    total: float = 0.0
    mean: float = math.nan
    """Of the last sample."""
    age: int = POLICY.sample_rounds
    streak: int = 0

    def add(self, count: int, total: float, enough: int) -> None:
        """Add to the current sample; it is complete once it counts ``enough``."""
        self.age += 1
        self.count += count
        self.total += total
        if self.count >= enough:
            self.mean = self.total / self.count
            self.age = 0
            self.count, self.total = 0, 0.0


class Slowness:
    """Compares the replicas of one cluster and zone after each round."""

    def __init__(self) -> None:
        self._reads: dict[str, _Series] = {}
        self._probes: dict[str, _Series] = {}

    def judge(self, works: Mapping[str, Work], healthy: Collection[str]) -> dict[str, Slow]:
        """Return the slow replicas by alias, but never all that are ``healthy`` in the cluster.

        ``works`` has the replicas that take reads and answered in this round; the samples of others are
        dropped.
        """
        reads = {alias: (work.reads, work.seconds) for alias, work in works.items()}
        probes = {alias: (1, work.probe) for alias, work in works.items()}
        outliers = _slow(self._probes, probes, 1, POLICY.slow_probe_excess)
        outliers |= _slow(self._reads, reads, POLICY.reads_per_sample, POLICY.slow_excess)
        # One has to stay in use: the fastest of them.
        worst_first = sorted(outliers.items(), key=lambda item: item[1].seconds, reverse=True)
        slow = dict(worst_first[: max(0, len(healthy) - 1)])
        for alias in slow:
            self._reads.pop(alias, None)
            self._probes.pop(alias, None)
        return slow


def _slow(
    series: dict[str, _Series], measured: Mapping[str, tuple[int, float]], enough: int, excess: float
) -> dict[str, Slow]:
    for alias in series.keys() - measured.keys():
        del series[alias]
    for alias, (count, total) in measured.items():
        series.setdefault(alias, _Series()).add(count, total, enough)
    outliers: dict[str, Slow] = {}
    for alias, own in series.items():
        if own.age:
            continue  # No new sample.
        peers = [
            peer.mean for name, peer in series.items() if name != alias and peer.age < POLICY.sample_rounds
        ]
        if not peers:
            own.streak = 0
            continue
        usual = median(peers)
        if own.mean > POLICY.slow_factor * usual and own.mean - usual > excess:
            own.streak += 1
            if own.streak >= POLICY.slow_samples:
                outliers[alias] = Slow(own.mean, usual)
        else:
            own.streak = 0
    return outliers
