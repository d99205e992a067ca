"""The page "Actions", and what it leads to: drain a replica, throw the kill switch, and undo both.

Each is asked for, confirmed with a POST, and written into the admin's log under the name of the user.
"""

from __future__ import annotations

from typing import Any, cast

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
from django_rwrouter.operations.override_actions import Action
from django_rwrouter.operations.override_table import MAX_REASON, OverrideKind
from django_rwrouter.operations.overrides import Override
from django_rwrouter.stats.table import RoutingStatistics


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
    try:
        changed, said = action.carry_out(target, reason, by)
    except ImproperlyConfigured:
        return _("The table does not exist yet: run “manage.py migrate django_rwrouter”."), messages.ERROR
    if not changed:
        return said, messages.INFO
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
    return said, messages.SUCCESS
