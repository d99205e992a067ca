"""The page "Over time": where reads went, why, and how the servers did, for a span of time to choose."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_rwrouter.admin import colors
from django_rwrouter.admin.chart import Axis, Bars, Chart, Lines, Series
from django_rwrouter.admin.origins import origins
from django_rwrouter.admin.wording import EVENTS, FLAWS, REASONS, moment, stamp, word_for
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.stats.queries import recorded
from django_rwrouter.stats.summary import SPANS, Span, Summary, TimeStep, percent

CHOICES: Final[dict[str, Promise]] = {
    "15m": gettext_lazy("15 minutes"),
    "1h": gettext_lazy("1 hour"),
    "24h": gettext_lazy("24 hours"),
    "7d": gettext_lazy("7 days"),
}
"""What there is to choose from, by the names of :data:`django_rwrouter.stats.summary.SPANS`."""
FIRST: Final = "1h"
CAUSES_DRAWN: Final = 5
"""Reasons that are drawn; the others are put together."""
STEPS_DRAWN: Final = 12
"""The fewest steps of time that a chart shows, however young the site is."""
SHOWN_APART: Final = frozenset({EventKind.REQUEST, EventKind.PINNED_REQUEST})
SPILLS: Final = (
    EventKind.READ_SPILLED,
    EventKind.READ_DEGRADED,
    EventKind.FAILOVER,
    EventKind.REPLICA_EJECTED,
)


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows."""
    chosen = request.GET.get("span", "")
    chosen = chosen if chosen in SPANS else FIRST
    state, summary = recorded(SPANS[chosen])
    context = {
        "state": state,
        "spans": [(name, label, name == chosen) for name, label in CHOICES.items()],
        "span": CHOICES[chosen],
    }
    if summary is None:
        return context
    if summary.is_empty:
        return context | {"state": "empty"}
    return context | {
        "summary": summary,
        "since": stamp(summary.steps[0].start),
        "until": stamp(time.time()),
        "databases": [(database, colors.of_database(database.alias)) for database in summary.databases],
        "causes": [
            (word_for(REASONS, cause.reason), colors.of_reason(cause.reason), cause)
            for cause in summary.causes
        ],
        "pinned": _pinned(summary),
        "events": list(_events(summary)),
        "origins": origins(summary),
        "charts": _charts(summary, SPANS[chosen]),
    }


def _pinned(summary: Summary) -> dict[str, Any]:
    """Return how many requests came from a client that had just written."""
    requests = summary.total(EventKind.REQUEST)
    by_cluster = [
        (cluster, count, percent(count, requests))
        for cluster, count in summary.events.get(EventKind.PINNED_REQUEST, Counter()).most_common()
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
        if not summary.total(name):
            continue
        subjects = summary.events.get(name, Counter())
        details = [
            f"{word_for(FLAWS, subject) if name == EventKind.TOKEN_REJECTED else subject}: {count}"
            for subject, count in subjects.most_common()
            if subject
        ]
        yield word_for(EVENTS, name), summary.total(name), ", ".join(details)


# --- the charts --------------------------------------------------------------------------------


def _charts(summary: Summary, span: Span) -> list[Chart]:
    # The charts of a young site leave out the time before anything was counted, to fill their width.
    first = next((place for place, step in enumerate(summary.steps) if not step.is_empty), 0)
    steps = summary.steps[max(0, min(first, len(summary.steps) - STEPS_DRAWN)) :]
    axis = Axis(span=span, moments=[moment(step.start) for step in steps])

    def by_database(measure: Callable[[TimeStep, str], float | None]) -> list[Series]:
        return [
            Series(alias, colors.of_database(alias), [measure(step, alias) for step in steps])
            for alias in (database.alias for database in summary.databases)
        ]

    title = _("Reads by database")
    if summary.shadow_reads:
        title = _("Reads by the database that would have answered")
    lag = by_database(lambda step, alias: step.lag.get(alias))
    pinned = [step.pinned_share if step.events[EventKind.REQUEST] else None for step in steps]
    spills = [
        Series(word_for(EVENTS, name), place, [step.events[name] for step in steps])
        for place, name in enumerate(SPILLS)
        if summary.total(name)
    ]
    return [
        Bars(
            "reads",
            title,
            axis,
            by_database(lambda step, alias: step.reads[alias]),
            empty=_("There were no reads."),
        ),
        Bars(
            "reasons",
            _("Why the primary had to answer"),
            axis,
            _reasons(steps),
            empty=_("The primary had to answer no read."),
        ),
        Lines(
            "pinned",
            _("Requests of pinned clients"),
            axis,
            [Series(_("Share of requests"), 0, pinned)],
            unit="%",
            empty=_("There were no requests."),
        ),
        Lines(
            "lag",
            _("Lag of each replica, at most"),
            axis,
            [line for line, database in zip(lag, summary.databases, strict=True) if not database.is_primary],
            unit=_("s"),
            empty=_("No lag was measured: the monitor measures it, where the database has positions."),
        ),
        Lines(
            "latency",
            _("What 95 % of the reads took at most"),
            axis,
            by_database(lambda step, alias: step.milliseconds(alias, 0.95)),
            unit=_("ms"),
            empty=_("There were no reads."),
        ),
        Bars(
            "spills",
            _("Spills, failovers and ejections"),
            axis,
            spills,
            empty=_("None: no read was spilled or failed over, no replica was ejected."),
        ),
    ]


def _reasons(steps: list[TimeStep]) -> list[Series]:
    """Return the reads of the primary by reason, the rarer ones put together."""
    totals: Counter[str] = Counter()
    for step in steps:
        totals.update(step.primary_reasons)
    drawn, others = totals.most_common()[:CAUSES_DRAWN], totals.most_common()[CAUSES_DRAWN:]
    series = [
        Series(
            word_for(REASONS, reason),
            colors.of_reason(reason),
            [step.primary_reasons[reason] for step in steps],
        )
        for reason, _count in drawn
    ]
    if others:
        rest = [sum(step.primary_reasons[reason] for reason, _count in others) for step in steps]
        series.append(Series(_("other reasons"), colors.MORE, rest))
    return series
