"""Prometheus: a collector for prometheus-client.

What it counts comes from the statistics of all processes since the first start, and what it says of the
servers is what ``rwrouter status`` and the admin show. So it does not matter which process is scraped,
nothing is lost when one ends, and multiprocess mode is not needed; it works beside it.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, get_args

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from django_rwrouter import __version__, stats
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.operations.cluster_now import Overview
from django_rwrouter.operations.status import overview
from django_rwrouter.scope.token import Flaw
from django_rwrouter.servers.server_state import Condition
from django_rwrouter.stats import queries
from django_rwrouter.stats.backends import temporary_connection
from django_rwrouter.stats.latency import BOUNDS
from django_rwrouter.stats.sums import Sum
from django_rwrouter.stats.table import RoutingStatistics

logger = logging.getLogger("django_rwrouter")

EVERY: Final = 2
"""Every second bound of the statistics is exported: each bucket is a series, and half of them are enough."""


class Families:
    """The metrics, without samples."""

    def __init__(self) -> None:
        gauge, counter, server = GaugeMetricFamily, CounterMetricFamily, ("cluster", "database")
        self.info = InfoMetricFamily(
            "rwrouter", "The version of django-rwrouter, and the setting ENABLED.", labels=()
        )
        self.databases = gauge(
            "rwrouter_database_info",
            "1 for each database of the settings, with its role in them.",
            labels=(*server, "role"),
        )
        self.statements = counter(
            "rwrouter_statements",
            "Statements that a database has answered in all processes, by the reason why it was chosen.",
            labels=(*server, "operation", "reason"),
        )
        self.shadow_reads = counter(
            "rwrouter_shadow_reads",
            "Reads that this database would have answered, had they not been decided in shadow mode.",
            labels=server,
        )
        self.seconds = HistogramMetricFamily(
            "rwrouter_statement_seconds",
            "How long databases took to answer, in all processes.",
            labels=(*server, "operation"),
        )
        self.events = counter(
            "rwrouter_events", "What happened, in all processes.", labels=("event", "subject")
        )
        self.primary_up = gauge("rwrouter_primary_up", "Whether the primary answers.", labels=server)
        self.switched_off = gauge(
            "rwrouter_switched_off", "Whether somebody sends everything to the primary.", labels=("cluster",)
        )
        self.replica_up = gauge("rwrouter_replica_up", "Whether the replica takes reads.", labels=server)
        self.replica_state = gauge(
            "rwrouter_replica_state",
            "1 for the state that the replica is in, 0 for the others.",
            labels=(*server, "state"),
        )
        self.lag = gauge(
            "rwrouter_replica_lag_seconds",
            "By how many seconds the replica is behind at most; at least, where no more is known.",
            labels=server,
        )
        self.wrong_role = gauge(
            "rwrouter_role_mismatch",
            "Whether the server says that it is in another role than the settings do.",
            labels=server,
        )
        self.scrape_error = gauge(
            "rwrouter_scrape_error", "1 if the counts could not be read, and are missing here."
        )

    def __iter__(self) -> Iterator[Metric]:
        """Yield all of them."""
        yield from vars(self).values()


class RoutingCollector(Collector):
    """Exports the statistics of all processes, and what is known of the servers.

    Each scrape asks the primary a few questions over a connection of its own and, where no monitor runs in
    this process, each server where it stands. It never raises: if the primary is away it exports what is
    known, and ``rwrouter_scrape_error`` is 1. Not to be asked on an event loop's own thread, where nothing
    may wait.
    """

    def __init__(self) -> None:
        self._failing = False

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without samples: a registry asks for them when the collector is registered."""
        return Families()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that there is something to say of."""
        families = Families()
        problem = _fill(families)
        if problem:
            # Loudly for the first of several in a row only.
            level = logging.DEBUG if self._failing else logging.WARNING
            logger.log(level, "The routing statistics could not be read for Prometheus: %s.", problem)
        self._failing = bool(problem)
        families.scrape_error.add_metric((), bool(problem))
        yield from (family for family in families if family.samples)


def metrics_view(
    *, token: str, registry: CollectorRegistry | None = None
) -> Callable[[HttpRequest], HttpResponse]:
    """Return a view for Prometheus, for those who send ``Authorization: Bearer`` with the token.

    ``registry`` is what it exports: without it, a :class:`RoutingCollector` alone. Raises ``ValueError`` for
    an empty token.
    """
    if not token:
        raise ValueError("metrics_view() needs a token: without one, anybody could read the metrics.")
    if registry is None:
        registry = CollectorRegistry()
        registry.register(RoutingCollector())
    exported = registry

    # Its token is its login. Not in a transaction: the metrics are wanted also while the primary is away.
    @login_not_required
    @transaction.non_atomic_requests
    @never_cache
    def view(request: HttpRequest) -> HttpResponse:
        if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}"):
            return HttpResponse(status=401, headers={"WWW-Authenticate": "Bearer"})
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return HttpResponse(encode(exported), content_type=content_type)

    return view


def _fill(families: Families) -> str:
    """Add whatever can be known; return what cannot be, and why."""
    try:
        settings = get_settings()
        families.info.add_metric((), {"version": __version__, "enabled": str(settings.enabled).lower()})
        if settings.inert:
            return ""
        # A connection of its own: Prometheus' server asks in a thread that nobody closes connections in.
        with temporary_connection(RoutingStatistics.objects.on_primary().db):
            now = overview(minutes=1)
            _fill_servers(families, now)
            if now.statistics == "here":
                stats.flush()
                _fill_counts(families, queries.totals() or Sum())
    except Exception as error:  # noqa: BLE001  (whatever it is, the other metrics are wanted)
        return emit.why(error)
    return {
        "missing": "their table has not been made yet; run `manage.py migrate django_rwrouter`",
        "unreachable": "the primary does not answer",
    }.get(now.statistics, "")


def _fill_servers(families: Families, now: Overview) -> None:
    for cluster in now.clusters:
        families.switched_off.add_metric((cluster.name,), cluster.routing == "switched_off")
        for server in cluster.servers:
            labels = (cluster.name, server.alias)
            families.databases.add_metric((*labels, "primary" if server.is_primary else "replica"), 1)
            families.wrong_role.add_metric(labels, server.role_is_wrong)
            if server.is_primary:
                families.primary_up.add_metric(labels, server.is_usable)
                continue
            families.replica_up.add_metric(labels, server.is_usable)
            for condition in Condition:
                families.replica_state.add_metric(
                    (*labels, condition.value), server.state.condition is condition
                )
            lag = server.state.lag_at_least if server.state.lag is None else server.state.lag
            if lag is not None:
                families.lag.add_metric(labels, lag)


def _fill_counts(families: Families, totals: Sum) -> None:
    statements: defaultdict[tuple[str, ...], float] = defaultdict(float)
    shadow_reads: defaultdict[tuple[str, ...], float] = defaultdict(float)
    seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for (cluster, alias, operation, reason, would_be), (count, microseconds) in totals.statements.items():
        statements[cluster, alias, operation, reason] += count
        seconds[cluster, alias, operation] += microseconds / 1e6
        if would_be:
            shadow_reads[cluster, would_be] += count
    for family, counts in (
        (families.statements, statements),
        (families.shadow_reads, shadow_reads),
        (families.events, {**_no_events(), **totals.events}),
    ):
        for labels, count in sorted(counts.items()):
            family.add_metric(labels, count)
    for labels, buckets in sorted(totals.latency.items()):
        families.seconds.add_metric(labels, _cumulative(buckets), seconds[labels])


def _no_events() -> dict[tuple[str, str], int]:
    """Return a zero for each event that may happen to the databases of the settings.

    Exported from the start: of a counter that is new, Prometheus does not see the first increase.
    """
    clusters = get_topology().clusters.values()
    subjects: dict[str, Sequence[str]] = {
        "": ("",),
        "flaw": get_args(Flaw),
        "cluster": [cluster.name for cluster in clusters],
        "replica": [alias for cluster in clusters for alias in cluster.replica_aliases],
    }
    return {(kind.value, subject): 0 for kind in EventKind for subject in subjects.get(kind.subject, ())}


def _cumulative(buckets: Sequence[int]) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each with what is in those below."""
    counts = list(accumulate([*buckets, *[0] * (len(BOUNDS) + 1 - len(buckets))]))
    bounds = [*BOUNDS, math.inf]
    exported = [*range(0, len(BOUNDS), EVERY), len(BOUNDS)]
    return [(floatToGoString(bounds[index]), counts[index]) for index in exported]  # type: ignore[no-untyped-call]
