"""Loads the statistics of all processes for the pages, or the reason why there are none."""

from __future__ import annotations

from typing import Any, Final, Literal

from django.utils.formats import number_format
from django.utils.translation import gettext_lazy

from django_rwrouter.admin.wording import REASONS, Texts, word_for
from django_rwrouter.conf import get_settings
from django_rwrouter.stats.queries import recorded
from django_rwrouter.stats.summary import Span, Summary
from django_rwrouter.stats.sums import OTHER

NAMELESS: Final[dict[str, Texts]] = {
    "view": {"": gettext_lazy("outside any request"), OTHER: gettext_lazy("all other views")},
    "model": {
        "": gettext_lazy("no model: SQL of the project's own"),
        OTHER: gettext_lazy("all other models"),
    },
}


def statistics(span: Span) -> tuple[Summary | None, dict[str, Any]]:
    """Read what all processes counted in the time up to now, with one query.

    Returns it with what ``_nothing.html`` shows: ``state`` says why there is nothing, or ``"here"``.
    """
    state, summary = recorded(span)
    return summary, {"flush_seconds": get_settings().stats.flush_seconds, "state": state}


def origins(summary: Summary | None) -> dict[str, Any]:
    """Return what ``_origins.html`` shows: the views and the models that read from the primary, and why."""
    return {} if summary is None else {"by_view": _top(summary, "view"), "by_model": _top(summary, "model")}


def _top(summary: Summary, by: Literal["view", "model"]) -> list[dict[str, Any]]:
    return [
        {
            "name": word_for(NAMELESS[by], origin.name),
            "reads": origin.reads,
            "share": origin.share,
            "reasons": ", ".join(
                f"{word_for(REASONS, reason)}: {number_format(reads, force_grouping=True)}"
                for reason, reads in origin.reasons.most_common()
            ),
        }
        for origin in summary.top(by, get_settings().stats.top)
    ]
