"""Which views and models read from the primary, and why."""

from __future__ import annotations

from typing import Any, Final, Literal

from django.utils.formats import number_format
from django.utils.translation import gettext_lazy

from django_rwrouter.admin.wording import REASONS, Texts, word_for
from django_rwrouter.conf import get_settings
from django_rwrouter.stats.summary import Summary, percent
from django_rwrouter.stats.sums import OTHER

NAMELESS: Final[dict[str, Texts]] = {
    "view": {"": gettext_lazy("outside any request"), OTHER: gettext_lazy("all other views")},
    "model": {
        "": gettext_lazy("no model: SQL of the project's own"),
        OTHER: gettext_lazy("all other models"),
    },
}


def origins(summary: Summary | None) -> dict[str, Any]:
    """Return what ``_origins.html`` shows: the views and the models that read from the primary, and why."""
    return {} if summary is None else {"by_view": _top(summary, "view"), "by_model": _top(summary, "model")}


def _top(summary: Summary, by: Literal["view", "model"]) -> list[dict[str, Any]]:
    top = summary.top(by, get_settings().stats.top)
    reads = sum(reasons.total() for _name, reasons in top)
    return [
        {
            "name": word_for(NAMELESS[by], name),
            "reads": reasons.total(),
            "share": percent(reasons.total(), reads),
            "reasons": ", ".join(
                f"{word_for(REASONS, reason)}: {number_format(count, force_grouping=True)}"
                for reason, count in reasons.most_common()
            ),
        }
        for name, reasons in top
    ]
