"""What the panel calls things: states, reasons, events, moments."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _

from django_rwrouter.decision import Reason

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Texts = Mapping[str, "_StrPromise"]

REASONS: Final[Texts] = {reason.value: reason.label for reason in Reason}
"""Of the reasons; one of a newer version, running beside this one, has its own name."""

EVENTS: Final[Texts] = {
    "pin_set": _("Responses that pinned their client, because it had written"),
    "token_rejected": _("Tokens not accepted"),
    "store_failed": _("Stores of tokens that failed"),
    "late_write": _("Writes too late for the client's token (in a streamed response)"),
    "replica_write_refused": _("Writes sent to a replica, and refused"),
    "replica_ejected": _("Replicas left alone for a while, as they failed or were slow"),
    "replica_restored": _("Replicas used again"),
    "failover": _("Reads that lost their replica, and were run again elsewhere"),
    "read_spilled": _("Reads on the primary, because all replicas lagged"),
    "read_degraded": _("Reads on a replica that lagged, because the primary was away or full"),
    "primary_lost": _("Primaries that did not answer"),
    "primary_found": _("Primaries that answered again"),
    "primary_read_only": _("Writes that the primary refused, as it is read-only"),
    "statement_failed": _("Statements that failed with an error of the server"),
    "role_changed": _("Servers found in another role"),
    "replica_drained": _("Replicas drained"),
    "replica_undrained": _("Replicas put back"),
    "switched_off": _("Kill switches thrown"),
    "switched_on": _("Kill switches taken back"),
    "position_unknown": _("Primaries that could not be asked where they stand"),
    "sync_timeout": _("Writes that SYNC_REPLICAS had not replayed within SYNC_TIMEOUT"),
}
"""Of the events as one counts them, in the order of the table; others follow under their own names."""

OCCURRENCES: Final[Texts] = {
    "replica_ejected": _("Replica ejected"),
    "replica_restored": _("Replica restored"),
    "failover": _("Read failed over"),
    "role_changed": _("Role changed"),
    "primary_lost": _("Primary away"),
    "primary_found": _("Primary back"),
    "primary_read_only": _("Write on the primary refused"),
    "replica_drained": _("Replica drained"),
    "replica_undrained": _("Replica put back"),
    "switched_off": _("Kill switch thrown"),
    "switched_on": _("Kill switch taken back"),
    "replica_write_refused": _("Write on a replica refused"),
    "token_rejected": _("Token rejected"),
}
"""Of the events that are kept one by one."""

FLAWS: Final[Texts] = {
    "expired": _("expired"),
    "foreign": _("of no cluster of ours"),
    "forged": _("wrong signature"),
    "malformed": _("malformed"),
    "oversized": _("too long"),
}
"""Why a token was not accepted."""

ROLES: Final[Texts] = {
    "primary": _("primary"),
    "replica": _("replica"),
    "unknown": _("unknown"),
}

STATES: Final[Texts] = {
    "healthy": _("healthy"),
    "ejected": _("ejected"),
    "drained": _("drained"),
    "unreachable": _("does not answer"),
    "unknown": _("unknown"),
}


def word_for(texts: Texts, name: str) -> str:
    """Return the words for a name; the name itself where there are none."""
    return str(texts.get(name, name))


def moment(seconds: float) -> datetime:
    """Return a time in the time zone in force, as templates and formats expect it."""
    return localtime(datetime.fromtimestamp(seconds, tz=timezone.utc))
