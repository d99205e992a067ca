"""What processes tell each other of the servers, through the statistics."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django_rwrouter import monitor
from django_rwrouter.conf.clusters import Cluster, get_topology
from django_rwrouter.servers.cluster_state import known_state
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.stats.queries import Report


def own_states() -> list[dict[str, Any]]:
    """Return the states of all servers as this process knows them, as JSON for the statistics.

    Empty where it knows nothing: no monitor runs, and all is well as far as its own reads have shown.
    """
    answers = monitor.snapshot()
    states = [
        answers.get(alias) or known_state(cluster, alias)
        for cluster in routed_clusters()
        for alias in (cluster.primary, *cluster.replica_aliases)
    ]
    knows_anything = answers or any(state.condition is not Condition.HEALTHY for state in states)
    return [state.as_json() for state in states] if knows_anything else []


def states_by_process(report: Report | None) -> dict[str, dict[str, ServerState]]:
    """Return the servers' states by alias, as each process that is alive knows them; the newest first."""
    return {
        process.process: {
            state.alias: state for state in map(ServerState.from_json, process.servers) if state
        }
        for process in (report.processes if report else ())
    }


def routed_clusters() -> Collection[Cluster]:
    """Return the clusters of the settings; none where nothing is routed."""
    topology = get_topology()
    return () if topology.inert else topology.clusters.values()
