"""The replicas as this process knows them, for those who export that."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.servers.breaker import Condition, health
from django_rwrouter.servers.freshness import knowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica."""

    cluster: str
    alias: str
    state: Condition
    lag: float | None
    """By how many seconds it is behind at most; ``None`` where that is not known."""


def replicas() -> Iterator[Replica]:
    """Yield all replicas of the settings; asks no server."""
    topology = get_topology()
    for cluster in () if topology.inert else topology.clusters.values():
        for replica in cluster.replicas:
            staleness = knowledge.staleness(cluster.name, knowledge.last_server(replica.alias))
            yield Replica(
                cluster=cluster.name,
                alias=replica.alias,
                state=health.standing(replica.alias).state,
                lag=None if math.isinf(staleness) else staleness,
            )
