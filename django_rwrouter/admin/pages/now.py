"""The page "Now": each cluster with its servers, as they say they are, and as the processes see them."""

from __future__ import annotations

import math
from typing import Any, Final

from django.http import HttpRequest
from django.template.defaultfilters import floatformat
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_rwrouter.admin import colors
from django_rwrouter.admin.machines import machines
from django_rwrouter.admin.origins import origins
from django_rwrouter.admin.pages.actions import shown
from django_rwrouter.admin.wording import ROLES, STATES, stamp, word_for
from django_rwrouter.events.causes import NO_ANSWER, sentence
from django_rwrouter.operations.cluster_now import ClusterNow, Overview, ServerNow
from django_rwrouter.operations.server_columns import COLUMNS, Column, Unit
from django_rwrouter.operations.status import overview
from django_rwrouter.servers.server_state import Condition

LAGS: Final[dict[str, Promise]] = {
    "level": gettext_lazy("level"),
    "at most": gettext_lazy("at most %(seconds)s s"),
    "at least": gettext_lazy("at least %(seconds)s s"),
}


RICH: Final = frozenset({"alias", "role", "condition", "replica_share"})
"""Columns with a template of their own, ``_server_<name>.html``; the others show their value alone."""


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows."""
    now = overview()
    return {
        "columns": [column for column in COLUMNS if column.heading],
        "clusters": [_cluster(cluster, machines(request)) for cluster in now.clusters],
        "state": now.statistics,
        "failure": sentence(now.overrides_failure),
        "ineffective": [override.target for override in now.ineffective],
        "origins": origins(now.summary),
        "sources": _sources(now) if now.statistics == "here" else "",
    }


def _cluster(cluster: ClusterNow, machine_of: dict[str, str]) -> dict[str, Any]:
    kind, text = _verdict(cluster)
    return {
        "now": cluster,
        "kind": kind,
        "text": text,
        "switched_off": cluster.routing == "switched_off",
        "override": shown(cluster.switched_off),
        "rows": [_row(server, machine_of[server.alias]) for server in cluster.servers],
    }


def _verdict(cluster: ClusterNow) -> tuple[str, str]:
    """Say in a few words how a cluster is, the worst first."""
    replicas = cluster.replicas
    usable = [replica for replica in replicas if replica.is_usable]
    if cluster.primary.state.condition is Condition.UNREACHABLE:
        return "bad", _("the primary does not answer")
    if any(server.role_is_wrong for server in cluster.servers):
        return "bad", _("a server is in another role than the settings say")
    if cluster.routing in ("off", "switched_off"):
        return "bad", _("everything goes to the primary")
    if not usable:
        return "bad", _("no replica takes reads: the primary answers them")
    if len(usable) < len(replicas):
        text = ngettext(
            "%(usable)d of %(all)d replica takes reads",
            "%(usable)d of %(all)d replicas take reads",
            len(replicas),
        ) % {"usable": len(usable), "all": len(replicas)}
        return "busy", text
    return "good", _("all is well")


def _row(server: ServerNow, machine: str) -> dict[str, Any]:
    state = server.state
    is_drained = state.condition is Condition.DRAINED
    role = state.role if state.role != "unknown" else "primary" if server.is_primary else "replica"
    return {
        "server": server,
        "machine": machine,
        "kind": "good" if server.is_usable else "bad",
        "text": word_for(STATES, state.condition.value),
        "role": word_for(ROLES, role),
        "since": stamp(state.since) if state.since else "",
        "why": _why(server),
        "others": _others(server),
        "color": colors.of_database(server.alias),
        "cells": [_cell(column, server) for column in COLUMNS if column.heading],
        "action": "" if server.is_primary else "undrain" if is_drained else "drain",
    }


def _why(server: ServerNow) -> str:
    state = server.state
    if state.condition is Condition.DRAINED:
        return state.why  # What an operator wrote stays as it is.
    if state.refused:
        return _("it refuses to say where it stands (%(refused)s)") % {"refused": state.refused}
    # The state says already that it does not answer.
    return "" if state.why.startswith(NO_ANSWER) else sentence(state.why)


def _cell(column: Column, server: ServerNow) -> dict[str, Any]:
    value = column.cell(server)
    is_rich = column.name in RICH and value is not None
    return {
        "column": column,
        "text": "\N{EN DASH}" if value is None else _text(column.unit, value),
        "template": f"admin/django_rwrouter/_server_{column.name}.html" if is_rich else "",
        "is_alarm": column.unit == "failures" and bool(value),
    }


def _text(unit: Unit, value: Any) -> str:
    """Write a value in the language in force."""
    if unit == "lag":
        word, seconds = value
        return str(LAGS[word]) % {"seconds": number_format(seconds, 1)} if word else "\N{EN DASH}"
    if unit == "ms":
        return f"{floatformat(value, '2g')} ms"
    decimals = {"rate": "1g", "number": "0g", "failures": "0g"}
    return str(floatformat(value, decimals[unit]) if unit in decimals else value)


def _others(server: ServerNow) -> str:
    """Say what the processes think of it, if not all think the same."""
    if len(server.opinions) < 2:  # noqa: PLR2004  (one opinion is agreement)
        return ""
    return ", ".join(
        _("%(state)s to %(count)d") % {"state": word_for(STATES, state), "count": count}
        for state, count in sorted(server.opinions.items())
    )


def _sources(now: Overview) -> str:
    minutes = math.ceil(now.seconds / 60)
    counted = ngettext(
        "Reads, latencies and errors are those of the last %(count)d minute, of all processes.",
        "Reads, latencies and errors are those of the last %(count)d minutes, of all processes.",
        minutes,
    ) % {"count": minutes}
    reported = ngettext(
        "%(count)d process has told lately what it knows of the servers.",
        "%(count)d processes have told lately what they know of the servers.",
        now.processes,
    ) % {"count": now.processes}
    return f"{counted} {reported}"
