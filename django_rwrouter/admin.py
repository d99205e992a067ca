"""The admin page "Read/write routing": where reads went in the last hour, and why.

The model is registered for its place in the admin's index; its change list is the page, and there is nothing
else. What is shown comes from the statistics of all processes, read with one query.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_rwrouter import charts
from django_rwrouter.conf import get_settings
from django_rwrouter.counters import RESOLUTION, Counts
from django_rwrouter.decision import Reason
from django_rwrouter.models import RoutingStatistics
from django_rwrouter.state import silenced
from django_rwrouter.summary import Summary, percent, summarize
from django_rwrouter.topology import get_topology

if TYPE_CHECKING:
    Base = admin.ModelAdmin[RoutingStatistics]
else:
    Base = admin.ModelAdmin

PERMISSION: Final = "django_rwrouter.view_routing"
MINUTES: Final = 60
"""How far back the page looks."""

REASONS: Final = {reason.value: reason.label for reason in Reason}
"""What the page calls the reasons; one of a newer version, running beside this one, has its own name."""
EVENTS: Final = {
    "pin_set": gettext_lazy("Responses that pinned their client, because it had written"),
    "token_rejected": gettext_lazy("Tokens not accepted"),
    "late_write": gettext_lazy("Writes too late for the client's token (in a streamed response)"),
    "replica_write_refused": gettext_lazy("Writes sent to a replica, and refused"),
    "replica_ejected": gettext_lazy("Replicas left alone for a while, as they failed or were slow"),
    "position_unknown": gettext_lazy("Primaries that could not be asked where they stand"),
    "sync_timeout": gettext_lazy("Writes that SYNC_REPLICAS had not replayed within SYNC_TIMEOUT"),
}
"""What the page calls the events, in the order of the table; others follow under their own names."""
FLAWS: Final = {
    "expired": gettext_lazy("expired"),
    "foreign": gettext_lazy("of no cluster of ours"),
    "forged": gettext_lazy("wrong signature"),
    "malformed": gettext_lazy("malformed"),
    "oversized": gettext_lazy("too long"),
}
"""Why a token was not accepted."""
SHOWN_APART: Final = frozenset({"request", "pinned_request"})


@admin.register(RoutingStatistics)
class RoutingAdmin(Base):
    """One page, for those who have the permission of its own."""

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Allow whoever has ``view_routing``."""
        return request.user.has_perm(PERMISSION)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app in the index to the same people."""
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows are made by processes, not by people."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Nor are they changed by them."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Nor deleted."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Have one page, at the address where the index expects the change list."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": _("Read/write routing"),
            "opts": self.opts,
            **_page(time.time()),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/django_rwrouter/routing.html", context)


def _page(now: float) -> dict[str, Any]:
    """Return what the template shows."""
    settings = get_settings()
    context: dict[str, Any] = {
        "enabled": settings.enabled,
        "flush_seconds": settings.stats.flush_seconds,
    }
    if settings.inert:
        return context | {"state": "inert"}
    if settings.stats.backend != "database":
        return context | {"state": "off" if settings.stats.backend == "off" else "elsewhere"}
    current = int(now) // RESOLUTION * RESOLUTION
    minutes = range(current - (MINUTES - 1) * RESOLUTION, current + 1, RESOLUTION)
    rows = _load(minutes[0])
    if rows is None:
        return context | {"state": "missing"}
    aliases = {
        alias: (cluster.name, alias == cluster.primary)
        for cluster in get_topology().clusters.values()
        for alias in (cluster.primary, *(replica.alias for replica in cluster.replicas))
    }
    summary = summarize(rows, steps=minutes, aliases=aliases)
    if summary.is_empty:
        return context | {"state": "empty"}
    return context | {
        "state": "data",
        "summary": summary,
        "since": _moment(minutes[0]),
        "until": _moment(int(now)),
        "several_clusters": len(get_topology().clusters) > 1,
        "causes": [(REASONS.get(cause.reason, cause.reason), cause) for cause in summary.causes],
        "pinned": _pinned(summary),
        "events": list(_events(summary)),
        "chart": _chart(summary),
    }


def _load(since: int) -> list[tuple[int, Counts]] | None:
    """Return the rows of all processes, or ``None`` where the table has not been made yet."""
    table = RoutingStatistics.objects.on_primary()
    with silenced():
        try:
            # A savepoint under ATOMIC_REQUESTS: on PostgreSQL an error would spoil the whole request.
            with transaction.atomic(using=table.db):
                return [(row.start, row.data) for row in table.recorded(since)]
        except DatabaseError:
            if table.exists_in_database():
                raise
            return None


def _moment(seconds: int) -> datetime:
    """Return a time in the time zone in force, as templates and formats expect it."""
    return localtime(datetime.fromtimestamp(seconds, tz=timezone.utc))


def _pinned(summary: Summary) -> dict[str, Any]:
    """Return how many requests came from a client that had just written."""
    requests = summary.total("request")
    by_cluster = [
        (cluster, count, percent(count, requests))
        for cluster, count in summary.events.get("pinned_request", Counter()).most_common()
    ]
    # A client may be pinned to several clusters: the largest is the least that is certainly true.
    return {
        "requests": requests,
        "share": max((share for _cluster, _count, share in by_cluster), default=0.0),
        "clusters": by_cluster,
    }


def _events(summary: Summary) -> Iterator[tuple[str, int, str]]:
    """Yield what else happened: label, how often, and of what in detail."""
    names = [*EVENTS, *sorted(summary.events.keys() - EVENTS.keys() - SHOWN_APART)]
    for name in names:
        subjects = summary.events.get(name, Counter())
        details = [
            f"{FLAWS.get(subject, subject) if name == 'token_rejected' else subject}: {count}"
            for subject, count in subjects.most_common()
            if subject
        ]
        yield str(EVENTS.get(name, name)), summary.total(name), ", ".join(details)


def _chart(summary: Summary) -> dict[str, Any]:
    """Return the reads over time: as drawings, if pygal is there, and as numbers."""
    title = _("Reads per minute, by database")
    if summary.shadow_reads:
        title = _("Reads per minute, by the database that would have answered")
    aliases = [database.alias for database in summary.databases]
    minutes = sorted(summary.minutes)
    moments = [_moment(minute) for minute in minutes]
    series = {alias: [summary.minutes[minute][alias] for minute in minutes] for alias in aliases}
    rows = [
        (moment, [summary.minutes[minute][alias] for alias in aliases], summary.minutes[minute].total())
        for minute, moment in zip(minutes, moments, strict=True)
    ]
    available = charts.available()
    return {
        "title": title,
        "available": available,
        "drawings": _draw(title, moments, series) if available and summary.reads else [],
        "aliases": aliases,
        "rows": rows[::-1],
    }


def _draw(title: str, moments: Sequence[datetime], series: dict[str, list[int]]) -> list[str]:
    labels = [date_format(moment, "H:i") for moment in moments]
    total = sum(map(sum, series.values()))
    description = ngettext(
        "%(count)d read in the last hour. The table below has the numbers.",
        "%(count)d reads in the last hour. The table below has the numbers.",
        total,
    ) % {"count": total}
    return [
        charts.stacked_bars(
            "rwrouter-reads",
            title=title,
            description=description,
            labels=labels,
            marks=[place for place, moment in enumerate(moments) if moment.minute % 10 == 0],
            series=series,
            shape=shape,
        )
        for shape in (charts.WIDE, charts.NARROW)
    ]
