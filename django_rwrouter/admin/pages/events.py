"""The page "Events": what happened to servers, clients and writes, as incidents, ongoing ones first."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Final

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_rwrouter.admin.wording import FLAWS, OCCURRENCES, ROLES, moment, stamp, word_for
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.causes import sentence
from django_rwrouter.events.incidents import ENDED_BY, Holders, Incident, incidents
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.operations.status import states_by_process
from django_rwrouter.servers.server_state import Condition
from django_rwrouter.stats.counters import PROCESS_LENGTH
from django_rwrouter.stats.queries import recorded
from django_rwrouter.stats.summary import Span, Summary

PER_PAGE: Final = 50
DAY: Final = 86_400
SEVERITIES: Final = {kind.value: kind.severity for kind in EventKind}
"""How bad an event is; one of a newer version, running beside this one, is neither."""


class FilterForm(forms.Form):
    """Which of them to show."""

    name = forms.ChoiceField(label=gettext_lazy("Event"), required=False)
    database = forms.ChoiceField(label=gettext_lazy("Database or cluster"), required=False)

    def __init__(self, data: QueryDict, happened: list[Incident]) -> None:
        super().__init__(data, label_suffix="")
        endings = set(ENDED_BY.values())
        names = {name: label for name, label in OCCURRENCES.items() if name not in endings}
        topology = get_topology()
        subjects = {incident.subject for incident in happened}
        targets = [*topology.by_alias, *(name for name in topology.clusters if name in subjects)]
        self._choose("name", {incident.name: incident.name for incident in happened} | names)
        self._choose("database", {target: target for target in targets})

    def _choose(self, field: str, choices: dict[str, Any]) -> None:
        self.fields[field].choices = [("", gettext_lazy("all")), *choices.items()]  # type: ignore[attr-defined]

    def value(self, field: str) -> str:
        """Return what was chosen; empty for everything, and for nonsense."""
        self.is_valid()
        return str(self.cleaned_data.get(field, ""))


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows."""
    days = math.ceil(get_settings().stats.retention_days)
    state, summary = recorded(Span(days * DAY, DAY))
    if summary is None:
        return {"state": state}
    happened = incidents(summary.log, _holders(summary))
    form = FilterForm(request.GET, happened)
    name, database = form.value("name"), form.value("database")
    wanted = [
        incident
        for incident in happened
        if name in ("", incident.name) and database in ("", incident.subject)
    ]
    page = Paginator(wanted, PER_PAGE).get_page(request.GET.get("p"))
    query = QueryDict(mutable=True)
    query.update({key: value for key, value in (("name", name), ("database", database)) if value})
    return {
        "state": state,
        "form": form,
        "filtered": bool(name or database),
        "page_of_events": page,
        "events": [_event(incident, summary) for incident in page],
        "query": f"{query.urlencode()}&" if query else "",
        "days": days,
    }


def _holders(summary: Summary) -> Holders:
    """Return which of the processes that are alive take which servers for out."""
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for process, states in states_by_process(summary).items():
        for alias, state in states.items():
            if state.condition in (Condition.EJECTED, Condition.UNREACHABLE):
                holders[alias].add(process[:PROCESS_LENGTH])
    return holders


def _event(incident: Incident, summary: Summary) -> dict[str, Any]:
    name, subject = incident.name, incident.subject
    until, severity = "", SEVERITIES.get(name, "quiet")
    if incident.goes_on:
        until = _("goes on")
    elif incident.end is not None and stamp(incident.end) != stamp(incident.begin):
        text = _("restored %(time)s") if name == EventKind.REPLICA_EJECTED else _("until %(time)s")
        until = text % {"time": stamp(incident.end)}
    if name in ENDED_BY and not incident.goes_on:
        severity = "quiet"
    details = filter(None, (_in_words(name, subject, detail) for detail in incident.details))
    return {
        "moment": moment(incident.begin),
        "time": stamp(incident.begin),
        "until": until,
        "kind": severity,
        "label": word_for(OCCURRENCES, name),
        "subject": "" if name == EventKind.TOKEN_REJECTED else subject,
        "detail": ", ".join(details),
        "processes": _processes(incident, summary),
    }


def _in_words(name: str, subject: str, detail: str) -> str:
    """Say what was noted; what people wrote stays as it is."""
    if name == EventKind.TOKEN_REJECTED:
        return word_for(FLAWS, subject)
    if name == EventKind.ROLE_CHANGED:
        return _("now %(role)s") % {"role": word_for(ROLES, detail)}
    if name == EventKind.FAILOVER:
        substitute, _colon, cause = detail.rpartition(": ")
        again = _("run again on %(alias)s") % {"alias": substitute}
        return f"{sentence(cause)}; {again}" if substitute else sentence(detail)
    return sentence(detail) if name in ENDED_BY or name == EventKind.PRIMARY_READ_ONLY else detail


def _processes(incident: Incident, summary: Summary) -> str:
    """Say how many of the processes that counted at that time noted it."""
    end = math.inf if incident.goes_on else incident.end or incident.begin
    saw = len(incident.processes)
    counted = max(saw, summary.processes_between(incident.begin, end))
    text = ngettext("%(saw)d of %(all)d process", "%(saw)d of %(all)d processes", counted)
    return text % {"saw": saw, "all": counted}
