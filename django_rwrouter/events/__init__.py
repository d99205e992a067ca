"""Events of servers and reads: each is counted, logged and signalled together."""

from django_rwrouter.events.emit import (
    cluster_of,
    only_on_primary,
    primary_found,
    primary_lost,
    read_degraded,
    read_failed_over,
    read_spilled,
    replica_drained,
    replica_ejected,
    replica_restored,
    replica_undrained,
    role_changed,
    session_differs,
    switched_off,
    switched_on,
    why,
)

__all__ = [
    "cluster_of",
    "only_on_primary",
    "primary_found",
    "primary_lost",
    "read_degraded",
    "read_failed_over",
    "read_spilled",
    "replica_drained",
    "replica_ejected",
    "replica_restored",
    "replica_undrained",
    "role_changed",
    "session_differs",
    "switched_off",
    "switched_on",
    "why",
]
