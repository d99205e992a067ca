"""The page "Replication": what was written, received and replayed, and where each replica is held up."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_rwrouter.admin.machines import machines
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.causes import sentence
from django_rwrouter.operations.replication import Stage, ask_progress

VERDICTS: Final[dict[Stage, tuple[str, Promise]]] = {
    Stage.LEVEL: ("good", _("level with the primary")),
    Stage.RECEIVING: ("busy", _("receiving: some of the log has not arrived yet")),
    Stage.REPLAYING: ("busy", _("replaying: everything has arrived, some of it is not replayed yet")),
    Stage.BEHIND: ("busy", _("behind; whether in receiving or in replaying cannot be seen")),
    Stage.NOT_RECEIVING: ("bad", _("stuck: it receives nothing")),
    Stage.NOT_REPLAYING: ("bad", _("stuck: it replays nothing")),
    Stage.NOT_REPLICATING: ("bad", _("it follows no other server")),
    Stage.AWAY: ("bad", _("it does not answer")),
    Stage.UNKNOWN: ("unknown", _("unknown: it does not say where it is, or belongs to another history")),
}


def context(request: HttpRequest) -> dict[str, Any]:
    """Ask all servers, those of different clusters at the same time."""
    machine_of = machines(request)
    return {
        "clusters": [
            (
                cluster,
                sentence(cluster.why),
                [
                    (
                        *(steps, machine_of[steps.alias], steps.stage.value, *VERDICTS[steps.stage]),
                        sentence(steps.why),
                    )
                    for steps in cluster.replicas
                ],
            )
            for cluster in ask_progress(list(get_topology().clusters.values()))
        ]
    }
