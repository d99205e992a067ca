"""The page "Now": each cluster with its servers, as they say they are, and as the processes see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_rwrouter.admin.actions import shown
from django_rwrouter.admin.machines import machines
from django_rwrouter.admin.statistics import origins
from django_rwrouter.admin.wording import ROLES, STATES, stamp, word_for
from django_rwrouter.conf import get_settings
from django_rwrouter.events.causes import NO_ANSWER, sentence
from django_rwrouter.operations.status import ClusterNow, Overview, ServerNow, overview
from django_rwrouter.servers.server_state import Condition

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

KINDS: Final = {
    Condition.HEALTHY: "good",
    Condition.EJECTED: "bad",
    Condition.DRAINED: "bad",
    Condition.UNREACHABLE: "bad",
}
"""How bad a condition is."""
NO_STATISTICS: Final[dict[str, _StrPromise]] = {
    "missing": gettext_lazy(
        "The table for the statistics does not exist yet: run “manage.py migrate django_rwrouter”."
    ),
    "off": gettext_lazy('Nothing is counted, because RWROUTER["STATS"]["BACKEND"] is "off".'),
    "elsewhere": gettext_lazy(
        "A backend of this project's own receives the statistics: reads, latencies and errors are not known"
        " here."
    ),
    "unreachable": gettext_lazy("The primary with the statistics does not answer."),
}


LAGS: Final[dict[str, _StrPromise]] = {
    "level": gettext_lazy("level"),
    "at most": gettext_lazy("at most %(seconds)s s"),
    "at least": gettext_lazy("at least %(seconds)s s"),
}
"""How far a replica is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """A server, as the table shows it."""

    server: ServerNow
    machine: str
    """Its label and address, as far as they are known and may be seen."""
    kind: str
    text: str
    since: str
    """The time from when on it is so, empty where that is not known."""
    others: str
    """What other processes say, where they do not agree."""
    action: str
    """What can be done: ``drain``, ``undrain``, or nothing."""
    is_counted: bool

    @property
    def why(self) -> str:
        """Why it is so; empty where the state says it already."""
        why = self.server.state.why
        return "" if why.startswith(NO_ANSWER) else sentence(why)

    @property
    def lag(self) -> str:
        """How far it is behind, as far as that is known."""
        word, seconds = ("", 0.0) if self.server.is_primary else self.server.lag_bound
        return str(LAGS[word]) % {"seconds": number_format(seconds, 1)} if word else ""

    @property
    def role(self) -> str:
        """Its role, as verified, or else as in the settings."""
        server = self.server
        by_settings = "primary" if server.is_primary else "replica"
        return word_for(ROLES, by_settings if server.state.role == "unknown" else server.state.role)


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows."""
    if get_settings().inert:
        return {"inert": True}
    now = overview()
    is_counted = now.statistics == "here"
    machine = machines(request)
    return {
        "clusters": [_cluster(cluster, machine, is_counted=is_counted) for cluster in now.clusters],
        "note": NO_STATISTICS.get(now.statistics, ""),
        "failure": sentence(now.overrides_failure),
        "ineffective": [each.target for each in now.ineffective],
        "origins": origins(now.summary),
        "sources": _sources(now) if is_counted else "",
    }


def _cluster(cluster: ClusterNow, machine: Callable[[str], str], *, is_counted: bool) -> dict[str, Any]:
    kind, text = _verdict(cluster)
    return {
        "now": cluster,
        "kind": kind,
        "text": text,
        "switched_off": cluster.routing == "switched_off",
        "override": shown(cluster.switched_off),
        "rows": [_row(server, machine(server.alias), is_counted=is_counted) for server in cluster.servers],
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


def _row(server: ServerNow, machine: str, *, is_counted: bool) -> ServerRow:
    action = ""
    if not server.is_primary:
        action = "undrain" if server.state.condition is Condition.DRAINED else "drain"
    return ServerRow(
        server=server,
        machine=machine,
        kind=KINDS[server.state.condition],
        text=word_for(STATES, server.state.condition.value),
        since=stamp(server.state.since) if server.state.since else "",
        others=_others(server),
        action=action,
        is_counted=is_counted,
    )


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
