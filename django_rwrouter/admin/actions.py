"""The page "Actions", and what it leads to: drain a replica, throw the kill switch, and undo both.

Each is asked for, confirmed with a POST, and written into the admin's log under the name of the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from django import forms
from django.conf import settings as django_settings
from django.contrib import messages
from django.contrib.admin.models import CHANGE as CHANGED
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_rwrouter.admin.machines import machines
from django_rwrouter.admin.wording import stamp
from django_rwrouter.conf import get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import MAX_REASON, OverrideKind
from django_rwrouter.operations.overrides import Override
from django_rwrouter.stats.table import RoutingStatistics

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

ActionMessage = tuple[str, int]
"""What to tell the user, and how bad it is (a level of ``django.contrib.messages``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done. ``%(target)s`` in a text stands for the alias or the cluster."""

    name: str
    kind: OverrideKind
    begins: bool
    """Whether it puts an override into force, or ends one."""
    question: _StrPromise
    consequence: _StrPromise
    button: _StrPromise
    done: _StrPromise
    nothing: _StrPromise | None = None
    """What to say where there was nothing to do."""

    def title(self, target: str) -> str:
        """Return the question for one target."""
        return str(self.question) % {"target": target}


ACTIONS: Final = (
    Action(
        name="drain",
        kind=OverrideKind.DRAIN,
        begins=True,
        question=gettext_lazy("Drain the replica “%(target)s”?"),
        consequence=gettext_lazy(
            "The replica takes no more reads, in any process, until somebody puts it back. Reads that run"
            " there now end undisturbed. The other replicas take over; if there is none, the primary does."
        ),
        button=gettext_lazy("Drain"),
        done=gettext_lazy(
            "The replica “%(target)s” is drained. All processes follow within two intervals of their"
            " monitors."
        ),
    ),
    Action(
        name="undrain",
        kind=OverrideKind.DRAIN,
        begins=False,
        question=gettext_lazy("Put the replica “%(target)s” back?"),
        consequence=gettext_lazy(
            "The replica takes reads again, in all processes, as soon as it is healthy."
        ),
        button=gettext_lazy("Put back"),
        done=gettext_lazy(
            "The replica “%(target)s” takes reads again. All processes follow within two intervals of their"
            " monitors."
        ),
        nothing=gettext_lazy("The replica “%(target)s” was not drained."),
    ),
    Action(
        name="switch-off",
        kind=OverrideKind.PRIMARY_ONLY,
        begins=True,
        question=gettext_lazy("Send everything of the cluster “%(target)s” to its primary?"),
        consequence=gettext_lazy(
            "All reads go to the primary, in all processes, until somebody takes the switch back. The primary"
            " must be able to bear them."
        ),
        button=gettext_lazy("Send everything to the primary"),
        done=gettext_lazy(
            "Everything of the cluster “%(target)s” goes to its primary. All processes follow within two"
            " intervals of their monitors."
        ),
    ),
    Action(
        name="switch-on",
        kind=OverrideKind.PRIMARY_ONLY,
        begins=False,
        question=gettext_lazy("Let replicas of the cluster “%(target)s” answer again?"),
        consequence=gettext_lazy("Reads are spread over the replicas again, in all processes."),
        button=gettext_lazy("Let replicas answer"),
        done=gettext_lazy(
            "Replicas of the cluster “%(target)s” answer again. All processes follow within two intervals of"
            " their monitors."
        ),
        nothing=gettext_lazy("The kill switch of the cluster “%(target)s” was not thrown."),
    ),
)


class ReasonForm(forms.Form):
    """Why somebody does it: for those who wonder later."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=MAX_REASON,
        required=False,
        help_text=gettext_lazy("Shown beside the state for as long as it lasts, and kept in the log."),
        widget=forms.TextInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what can be done to each replica and each cluster, and what is in force."""
    if get_settings().inert:
        return {"inert": True}
    found = {(each.kind, each.target): each for each in overrides.in_force()}
    clusters = list(get_topology().clusters.values())
    named = {each.name for each in clusters} | {
        replica.alias for each in clusters for replica in each.replicas
    }
    machine = machines(request)
    return {
        "several_clusters": len(clusters) > 1,
        "replicas": [
            (
                cluster.name,
                replica.alias,
                machine(replica.alias),
                shown(found.get((OverrideKind.DRAIN, replica.alias))),
            )
            for cluster in clusters
            for replica in cluster.replicas
        ],
        "clusters": [
            (cluster.name, cluster.primary, shown(found.get((OverrideKind.PRIMARY_ONLY, cluster.name))))
            for cluster in clusters
        ],
        "lost": [
            ("undrain" if each.kind is OverrideKind.DRAIN else "switch-on", shown(each))
            for each in found.values()
            if each.target not in named
        ],
    }


def shown(override: Override | None) -> dict[str, Any] | None:
    """Return what ``_override.html`` shows."""
    if override is None:
        return None
    return {
        "target": override.target,
        "reason": override.reason,
        "by": override.by,
        "since": stamp(override.at),
    }


def handle(request: HttpRequest, action: Action, target: str) -> tuple[ActionMessage | None, forms.Form]:
    """Carry out an action that was confirmed, and return what to say; otherwise ask, by the form."""
    if not _is_known(action, target):
        raise Http404
    if request.method != "POST":
        return None, ReasonForm(label_suffix="")
    form = ReasonForm(request.POST, label_suffix="")
    if not form.is_valid():
        return None, form
    return _carry_out(request, action, target, form.cleaned_data["reason"]), form


def _carry_out(request: HttpRequest, action: Action, target: str, reason: str) -> ActionMessage:
    by = cast("AbstractBaseUser", request.user).get_username()
    try:
        if action.begins:
            begin = overrides.drain if action.kind is OverrideKind.DRAIN else overrides.switch_off
            begin(target, reason=reason, by=by)
        else:
            end = overrides.undrain if action.kind is OverrideKind.DRAIN else overrides.switch_on
            if not end(target, by=by):
                return str(action.nothing) % {"target": target}, messages.INFO
    except ImproperlyConfigured:
        return _("The table does not exist yet: run “manage.py migrate django_rwrouter”."), messages.ERROR
    _log(request, action, target, reason)
    return str(action.done) % {"target": target}, messages.SUCCESS


def _log(request: HttpRequest, action: Action, target: str, reason: str) -> None:
    # Read later by others, whose languages differ: in the project's own.
    with translation.override(django_settings.LANGUAGE_CODE):
        message = f"{action.button}: {reason}" if reason else str(action.button)
    LogEntry.objects.create(
        user_id=request.user.pk,
        content_type_id=ContentType.objects.get_for_model(RoutingStatistics).pk,
        object_id=target,
        object_repr=target[:200],
        action_flag=CHANGED,
        change_message=message,
    )


def _is_known(action: Action, target: str) -> bool:
    """Whether the settings know the target; to end an override, that it is in force is enough."""
    topology = get_topology()
    if action.kind is OverrideKind.DRAIN:
        cluster = topology.by_alias.get(target)
        known = cluster is not None and target != cluster.primary
    else:
        known = not topology.inert and target in topology.clusters
    return known or (
        not action.begins
        and any(each.kind is action.kind and each.target == target for each in overrides.in_force())
    )
