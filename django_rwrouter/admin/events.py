"""The page "Events": what happened to servers, clients and writes, one by one, newest first."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, NamedTuple

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_rwrouter.admin.statistics import statistics
from django_rwrouter.admin.wording import FLAWS, OCCURRENCES, ROLES, moment, stamp, word_for
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.causes import translated
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.stats.summary import Happening, Span, Summary

PER_PAGE: Final = 50
DAY: Final = 86_400
SEVERITIES: Final = {kind.value: kind.severity for kind in EventKind}
"""How bad an event is; one of a newer version, running beside this one, is neither."""
CAUSED: Final = frozenset({EventKind.REPLICA_EJECTED, EventKind.REPLICA_RESTORED, EventKind.PRIMARY_LOST})
"""Events whose detail is a cause; that of others was written by people, or names a database."""


class Event(NamedTuple):
    """A row of the table."""

    moment: datetime
    time: str
    kind: str
    label: str
    subject: str
    detail: str


class FilterForm(forms.Form):
    """What to show of them."""

    name = forms.ChoiceField(label=gettext_lazy("Event"), required=False)
    database = forms.ChoiceField(label=gettext_lazy("Database or cluster"), required=False)

    def __init__(self, data: QueryDict, summary: Summary) -> None:
        super().__init__(data, label_suffix="")
        names = dict(OCCURRENCES) | {
            each.name: each.name for each in summary.log if each.name not in OCCURRENCES
        }
        subjects = {each.subject: None for each in sorted(summary.log, key=lambda each: each.subject)}
        known = [*get_topology().by_alias, *get_topology().clusters]
        self._choose("name", gettext_lazy("all"), names)
        self._choose(
            "database",
            gettext_lazy("all"),
            {
                alias: alias
                for alias in dict.fromkeys(known)
                if alias in subjects or alias in get_topology().by_alias
            },
        )

    def _choose(self, field: str, everything: object, choices: dict[str, Any]) -> None:
        self.fields[field].choices = [("", everything), *choices.items()]  # type: ignore[attr-defined]

    def value(self, field: str) -> str:
        """Return what was chosen; empty for everything, and for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(field, ""))


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows."""
    days = math.ceil(get_settings().stats.retention_days)
    found = statistics(Span(days * DAY, DAY))
    if found.report is None:
        return found.context
    summary = found.report.summary
    form = FilterForm(request.GET, summary)
    name, database = form.value("name"), form.value("database")
    pages = Paginator(summary.happenings(name=name, subject=database), PER_PAGE)
    page = pages.get_page(request.GET.get("p"))
    query = QueryDict(mutable=True)
    query.update({key: value for key, value in (("name", name), ("database", database)) if value})
    return found.context | {
        "form": form,
        "filtered": bool(name or database),
        "page_of_events": page,
        "events": [_event(each) for each in page],
        "query": f"{query.urlencode()}&" if query else "",
        "days": days,
    }


def _event(happening: Happening) -> Event:
    name, subject, detail = happening.name, happening.subject, happening.detail
    if name == EventKind.TOKEN_REJECTED:
        subject, detail = "", word_for(FLAWS, subject)
    elif name == EventKind.ROLE_CHANGED:
        detail = _("now %(role)s") % {"role": word_for(ROLES, detail)}
    elif name in CAUSED:
        detail = translated(detail)
    when = happening.when
    kind, label = SEVERITIES.get(name, "quiet"), word_for(OCCURRENCES, name)
    return Event(moment(when), stamp(when), kind, label, subject, detail)
