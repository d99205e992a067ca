"""What the panel calls things: states, reasons, events, moments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Final

from django.utils.dateformat import format as date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from django_rwrouter.decision import Reason
from django_rwrouter.events.kinds import EventKind

Texts = Mapping[str, Promise]

REASONS: Final[Texts] = {reason.value: reason.label for reason in Reason}
"""Of the reasons; one of a newer version, running beside this one, has its own name."""

EVENTS: Final[Texts] = {kind.value: kind.label for kind in EventKind if kind.label is not None}
"""Of the events as one counts them, in the order of the table; others follow under their own names."""

OCCURRENCES: Final[Texts] = {kind.value: kind.occurrence for kind in EventKind if kind.occurrence is not None}
"""Of the events that are kept one by one."""

FLAWS: Final[Texts] = {
    "foreign": _("of no cluster in the settings"),
    "forged": _("wrong signature"),
    "malformed": _("malformed"),
    "oversized": _("too long"),
}

ROLES: Final[Texts] = {"primary": _("primary"), "replica": _("replica"), "unknown": _("unknown")}

STATES: Final[Texts] = {
    "healthy": _("healthy"),
    "ejected": _("ejected"),
    "drained": _("drained"),
    "unreachable": _("does not answer"),
    "unknown": _("unknown"),
}


STAMP: Final = "Y-m-d H:i:s T"


def word_for(texts: Texts, name: str) -> str:
    """Return the words for a name; the name itself where there are none."""
    return str(texts.get(name, name))


def moment(seconds: float) -> datetime:
    """Return a time in the time zone in force, as templates and formats expect it."""
    return localtime(datetime.fromtimestamp(seconds, tz=timezone.utc))


def stamp(seconds: float) -> str:
    """Return a time as all pages write it: in the time zone in force, with its name."""
    return date_format(moment(seconds), STAMP)
