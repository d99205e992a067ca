"""Which replicas are alive but far slower than their peers.

Like outlier detection in proxies (Envoy, "Outlier detection"): a replica is compared with the others of its
cluster, never with a fixed limit, as nobody knows how long the project's queries should take. What slows all
of them, such as a heavier page, says nothing about one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from django_rwrouter.events.causes import SLOW

FACTOR: Final = 3.0
"""How many times the median of its peers a slow replica takes. Replicas that share one load, drawn at random,
differ by much less over some tens of reads; twice as long may be an older machine, which a WEIGHT provides
for."""
EXCESS: Final = 0.05
"""By how many seconds it is slower at least: what a visitor begins to notice. Where reads take a millisecond,
thrice that harms nobody."""
PROBE_EXCESS: Final = 0.25
"""The same for the monitor's own question, which asks for next to no work: longer than any network takes, so
that a replica on another continent is not taken for one in trouble."""
MIN_READS: Final = 20
"""How many reads make a look. Fewer are collected over several rounds, so that one slow report is not taken
for a slow replica."""
LOOKS: Final = 3
"""How many looks in a row must find it slow: a checkpoint, a backup's start or a cold cache passes."""
OLD: Final = 10
"""After how many rounds a look says nothing any more."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a replica did in one round."""

    reads: int
    seconds: float
    """That these reads took, in all."""
    probe: float
    """Seconds that the monitor's own question took. It shows a slow network or a starved server even where
    the replica is so slow that hardly a read ends."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A verdict."""

    seconds: float
    """Mean of the replica."""
    peers: float
    """Median of its peers' means."""

    def __str__(self) -> str:
        return SLOW % {"own": f"{self.seconds * 1000:.0f}", "peers": f"{self.peers * 1000:.0f}"}


class _Series:
    """One measure of one replica."""

    __slots__ = ("age", "count", "mean", "streak", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.mean = math.nan
        """Of the last look."""
        self.age = OLD
        self.streak = 0

    def add(self, count: int, total: float, enough: int) -> None:
        """Collect; after enough it is a look."""
        self.age += 1
        self.count += count
        self.total += total
        if self.count >= enough:
            self.mean = self.total / self.count
            self.age = 0
            self.count, self.total = 0, 0.0


class Slowness:
    """Compares the replicas of one cluster and zone, round by round."""

    def __init__(self) -> None:
        self._reads: dict[str, _Series] = {}
        self._probes: dict[str, _Series] = {}

    def judge(self, works: Mapping[str, Work], healthy: Collection[str]) -> dict[str, Slow]:
        """Return the replicas that are slow, by alias; never all that are ``healthy`` in the cluster.

        ``works`` are those that take reads and have answered in this round; what is known of others is
        forgotten.
        """
        reads = {alias: (work.reads, work.seconds) for alias, work in works.items()}
        probes = {alias: (1, work.probe) for alias, work in works.items()}
        found = _slow(self._probes, probes, 1, PROBE_EXCESS)
        found |= _slow(self._reads, reads, MIN_READS, EXCESS)
        # The slowest first; somebody has to answer.
        worst_first = sorted(found.items(), key=lambda item: item[1].seconds, reverse=True)
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
    found: dict[str, Slow] = {}
    for alias, own in series.items():
        if own.age:
            continue  # No new look.
        peers = [each.mean for name, each in series.items() if name != alias and each.age < OLD]
        if not peers:
            own.streak = 0
            continue
        usual = median(peers)
        if own.mean > FACTOR * usual and own.mean - usual > excess:
            own.streak += 1
            if own.streak >= LOOKS:
                found[alias] = Slow(own.mean, usual)
        else:
            own.streak = 0
    return found
