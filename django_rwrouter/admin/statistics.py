"""The statistics of all processes, as the pages need them; or why there are none."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from django_rwrouter.conf import get_settings
from django_rwrouter.stats.queries import Report, report
from django_rwrouter.stats.summary import Span


@dataclass(frozen=True, slots=True)
class Statistics:
    """What there is to show of a span of time."""

    report: Report | None
    context: dict[str, Any] = field(default_factory=dict)
    """For ``_nothing.html``: ``state`` says why there is nothing; ``"data"`` where there is something."""


def statistics(span: Span) -> Statistics:
    """Read what all processes counted in the time up to now, with one query."""
    settings = get_settings()
    context: dict[str, Any] = {"flush_seconds": settings.stats.flush_seconds}
    if settings.inert:
        return Statistics(None, context | {"state": "inert"})
    if settings.stats.backend != "database":
        state = "off" if settings.stats.backend == "off" else "elsewhere"
        return Statistics(None, context | {"state": state})
    found = report(span, time.time())
    if found is None:
        return Statistics(None, context | {"state": "missing"})
    return Statistics(found, context | {"state": "data"})
