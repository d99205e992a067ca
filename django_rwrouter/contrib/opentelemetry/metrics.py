"""Metrics of this process: each process has an exporter of its own, and the backend adds them up.

Gauges too are what this process knows: the resource's ``service.instance.id`` says whose knowledge that is,
as the semantic conventions want it. What all processes know together is at Prometheus' collector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from django_rwrouter import __version__
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition

BOUNDARIES: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Bucket bounds in seconds that the semantic conventions recommend for ``db.client.operation.duration``."""
STATES: Final = (Condition.HEALTHY, Condition.EJECTED, Condition.DRAINED)
"""Those of a replica, as far as one process can tell without asking it."""

_ALWAYS: Final[tuple[str, ...]] = ("rwrouter.cluster", "rwrouter.alias", "rwrouter.operation")
_COUNTED: Final[tuple[str, ...]] = ("rwrouter.reason", "rwrouter.would_be")

# Whatever is made of it now belongs to the provider that the project sets, also if it does so later.
_meter: Final = metrics.get_meter("django_rwrouter", __version__)
_duration: Final = _meter.create_histogram(
    "db.client.operation.duration",
    unit="s",
    description="Duration of database client operations.",
    explicit_bucket_boundaries_advisory=BOUNDARIES,
)
_statements: Final = _meter.create_counter(
    "rwrouter.statements",
    unit="{statement}",
    description="Statements that the databases answered, by database and reason.",
)
_events: Final = _meter.create_counter(
    "rwrouter.events", unit="{event}", description="What happened to servers and reads."
)


def record(attributes: dict[str, str], system: str, seconds: float, failure: BaseException | None) -> None:
    """Count one statement."""
    timed = {"db.system.name": system, **{name: attributes[name] for name in _ALWAYS}}
    if failure is not None:
        _duration.record(seconds, {**timed, "error.type": type(failure).__qualname__})
        return
    _duration.record(seconds, timed)
    _statements.add(1, {name: attributes[name] for name in (*_ALWAYS, *_COUNTED) if name in attributes})


def connect() -> None:
    """Connect the counters to the signals and register the gauges. Called once."""
    for kind in EventKind:
        if kind.signal is not None:
            uid = f"django_rwrouter.{__name__}.{kind.value}"
            kind.signal.connect(_counter(kind), weak=False, dispatch_uid=uid)
    _meter.create_observable_gauge(
        "rwrouter.replica.lag",
        [_lag],
        unit="s",
        description="By how many seconds a replica is behind at most, where that is known.",
    )
    _meter.create_observable_gauge(
        "rwrouter.replica.status",
        [_status],
        unit="1",
        description="1 for the state that a replica is in, 0 for the others.",
    )


def _counter(kind: EventKind) -> Callable[..., None]:
    argument = "cluster" if kind.subject == "cluster" else "alias"

    def count(**kwargs: object) -> None:
        _events.add(1, {"rwrouter.event": kind.value, "rwrouter.subject": str(kwargs[argument])})

    return count


def _replicas() -> Iterator[dict[str, str]]:
    """Yield the cluster and the alias of each replica of the settings, as attributes."""
    for cluster in get_topology().routed_clusters:
        for alias in cluster.replica_aliases:
            yield {"rwrouter.cluster": cluster.name, "rwrouter.alias": alias}


def _lag(_options: CallbackOptions) -> Iterator[Observation]:
    for attributes in _replicas():
        server = knowledge.last_server(attributes["rwrouter.alias"])
        lag = knowledge.staleness(attributes["rwrouter.cluster"], server)
        if math.isfinite(lag):
            yield Observation(lag, attributes)


def _status(_options: CallbackOptions) -> Iterator[Observation]:
    for attributes in _replicas():
        state = health.standing(attributes["rwrouter.alias"]).condition
        for condition in STATES:
            yield Observation(int(condition is state), {**attributes, "rwrouter.state": condition.value})
