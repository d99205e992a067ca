"""Choose one of the replicas that qualify for a read."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

from django_rwrouter import process
from django_rwrouter.conf import SETTING, get_settings, plugins
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.in_flight import loads


class Balancer(Protocol):
    """What ``BALANCER`` names: a class without arguments. One instance serves all threads of a process."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``, which is never empty."""
        ...


class RandomBalancer:
    """Draw at random, each replica in proportion to its ``WEIGHT``."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        weight = 0.0
        for replica in replicas:
            weight += replica.weight
        left = random.random() * weight
        for replica in replicas:
            left -= replica.weight
            if left < 0:
                return replica
        return replicas[-1]  # By a rounding error.


class RoundRobinBalancer:
    """Take turns, each replica as often as its ``WEIGHT`` says, evenly spread.

    The smooth weighted round robin of nginx (``ngx_http_upstream_round_robin``): each turn, every candidate
    gains its weight, and the one that has gained most pays the sum of all weights. Processes start at
    different points, so that they do not all choose the same replica at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gained: dict[str, float] = {}

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        with self._lock:
            gained = self._gained
            for replica in replicas:
                if replica.alias not in gained:
                    gained[replica.alias] = random.random() * replica.weight
                gained[replica.alias] += replica.weight
            chosen = max(replicas, key=lambda replica: gained[replica.alias])
            gained[chosen.alias] -= sum(replica.weight for replica in replicas)
            return chosen


class LeastLagBalancer(RandomBalancer):
    """Choose the replica with the least known lag; those within ``LAG_TIE`` are drawn by ``WEIGHT``."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        lags = [_lag(replica) for replica in replicas]
        limit = min(lags) + LAG_TIE
        return super().choose([replica for replica, lag in zip(replicas, lags, strict=True) if lag <= limit])


class LeastBusyBalancer(RandomBalancer):
    """Draw two by ``WEIGHT``, and take the one with fewer reads of this process in flight, for its weight.

    Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.
    Nearly as even as comparing all of them, without many processes choosing the same replica at once.
    """

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        first = super().choose(replicas)
        others = [replica for replica in replicas if replica is not first]
        if not others:
            return first
        second = super().choose(others)
        return min(first, second, key=lambda replica: (_busy(replica), replica is not first))


class ZoneBalancer(RandomBalancer):
    """Draw among the replicas of this process's ``ZONE``, or among all if none is in it."""

    def choose(self, replicas: Sequence[ReplicaSettings]) -> ReplicaSettings:
        """Return one of ``replicas``."""
        zone = get_settings().zone
        near = [replica for replica in replicas if replica.zone == zone]
        return super().choose(near or replicas)


LAG_TIE: Final = 0.1
"""Difference in lag, in seconds, that makes no replica better than another."""


def _lag(replica: ReplicaSettings) -> float:
    alias = replica.alias
    return knowledge.staleness(get_topology().by_alias[alias].name, knowledge.last_server(alias))


def _busy(replica: ReplicaSettings) -> float:
    return (len(loads[replica.alias].running) + 1) / replica.weight


BALANCERS: Final = {
    "random": f"{__name__}.RandomBalancer",
    "round_robin": f"{__name__}.RoundRobinBalancer",
    "least_lag": f"{__name__}.LeastLagBalancer",
    "least_busy": f"{__name__}.LeastBusyBalancer",
    "zone": f"{__name__}.ZoneBalancer",
}


@lru_cache(maxsize=64)
def get_balancer(name: str) -> Balancer:
    """Return the balancer of that name or dotted path; raises ``ImproperlyConfigured``."""
    balancer: Balancer = plugins.make("BALANCER", name, BALANCERS, "choose")
    return balancer


# A balancer may keep state, so each process has its own.
process.owns(get_balancer.cache_clear, settings=[SETTING])
