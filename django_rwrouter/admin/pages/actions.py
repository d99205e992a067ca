"""The page "Actions", and what it leads to: drain a replica, throw the kill switch, and undo both.

Each is asked for, confirmed with a POST, and written into the admin's log under the name of the user.
"""

from __future__ import annotations

from collections.abc import Callable
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
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import MAX_REASON, OverrideKind
from django_rwrouter.operations.overrides import Override
from django_rwrouter.stats.table import RoutingStatistics

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that can be done. ``%(target)s`` in a text stands for the alias or the cluster."""

    name: str
    kind: OverrideKind
    act: Callable[..., object]
    """Puts an override into force, or ends one: then it returns whether there was one."""
    question: _StrPromise
    consequence: _StrPromise
    button: _StrPromise
    done: _StrPromise
    nothing: _StrPromise | None = None
    """What to say where there was none to end; ``None`` for an action that puts one into force."""

    def title(self, target: str) -> str:
        """Return the question for one target."""
        return str(self.question) % {"target": target}


ACTIONS: Final = (
    Action(
        name="drain",
        kind=OverrideKind.DRAIN,
        act=overrides.drain,
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
        act=overrides.undrain,
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
        act=overrides.switch_off,
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
        act=overrides.switch_on,
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
    in_force = {override.key: override for override in overrides.in_force()}
    clusters = get_topology().clusters.values()
    machine_of = machines(request)
    return {
        "replicas": [
            (cluster.name, alias, machine_of[alias], shown(in_force.get((OverrideKind.DRAIN, alias))))
            for cluster in clusters
            for alias in cluster.replica_aliases
        ],
        "clusters": [
            (cluster.name, cluster.primary, shown(in_force.get((OverrideKind.PRIMARY_ONLY, cluster.name))))
            for cluster in clusters
        ],
        "lost": [
            ("undrain" if override.kind is OverrideKind.DRAIN else "switch-on", shown(override))
            for key, override in in_force.items()
            if key not in overrides.targets()
        ],
    }


def shown(override: Override | None) -> dict[str, Any] | None:
    """Return what ``_override.html`` shows."""
    return override and {**override._asdict(), "since": stamp(override.at)}


def handle(request: HttpRequest, action: Action, target: str) -> tuple[tuple[str, int] | None, forms.Form]:
    """Carry out an action that was confirmed; otherwise ask, by the form.

    Returns what to tell the user, and its level of ``django.contrib.messages``, as soon as it is carried out.
    """
    # To end an override, that it is in force is enough; the settings may have lost its target.
    key, ends = (action.kind, target), action.nothing is not None
    if key not in overrides.targets() and not (
        ends and key in {override.key for override in overrides.in_force()}
    ):
        raise Http404
    form = ReasonForm(request.POST if request.method == "POST" else None, label_suffix="")
    if not form.is_valid():
        return None, form
    return _carry_out(request, action, target, form.cleaned_data["reason"]), form


def _carry_out(request: HttpRequest, action: Action, target: str, reason: str) -> tuple[str, int]:
    by = cast("AbstractBaseUser", request.user).get_username()
    reasons = {"reason": reason} if action.nothing is None else {}
    try:
        did_end = action.act(target, by=by, **reasons)
    except ImproperlyConfigured:
        return _("The table does not exist yet: run “manage.py migrate django_rwrouter”."), messages.ERROR
    if action.nothing is not None and not did_end:
        return str(action.nothing) % {"target": target}, messages.INFO
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
    return str(action.done) % {"target": target}, messages.SUCCESS
