"""Every kind of event: its subject, its labels, its severity, and its signal.

A new kind is a member here, and a row of the table in ``docs/statistics.md``.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Literal

from django.dispatch import Signal
from django.utils.translation import gettext_lazy as _

from django_rwrouter import signals

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

Subject = Literal["", "cluster", "database", "replica", "flaw", "store"]
"""What an event is about: nothing in particular, a cluster, the alias of a database (or always of a replica),
the flaw of a token, or the class of a store."""
EventSeverity = Literal["good", "quiet", "busy", "bad"]


class EventKind(str, Enum):
    """A kind of event; its value is its name in statistics, metrics and pages."""

    code: str
    """``value`` as a plain attribute: ``Enum.value`` is a descriptor and too slow on the path of a
    request."""
    subject: Subject
    label: _StrPromise | None
    """Label of its count; ``None`` if the count is shown elsewhere."""
    occurrence: _StrPromise | None
    """Label of one event in the log; ``None`` if it is only counted."""
    severity: EventSeverity
    signal: Signal | None

    def __new__(
        cls,
        value: str,
        subject: Subject,
        label: _StrPromise | None = None,
        occurrence: _StrPromise | None = None,
        severity: EventSeverity = "quiet",
        signal: Signal | None = None,
    ) -> EventKind:
        """Make a member with its attributes."""
        member = str.__new__(cls, value)
        member._value_ = member.code = value
        member.subject = subject
        member.label = label
        member.occurrence = occurrence
        member.severity = severity
        member.signal = signal
        return member

    REQUEST = "request", ""
    PINNED_REQUEST = "pinned_request", "cluster"
    PIN_SET = "pin_set", "", _("Responses that pinned their client, because it had written")
    TOKEN_REJECTED = "token_rejected", "flaw", _("Tokens not accepted"), _("Token rejected"), "busy"
    STORE_FAILED = "store_failed", "store", _("Stores of tokens that failed")
    LATE_WRITE = (
        "late_write",
        "cluster",
        _("Writes too late for the client's token (in a streamed response)"),
    )
    REPLICA_WRITE_REFUSED = (
        "replica_write_refused",
        "replica",
        _("Writes sent to a replica, and refused"),
        _("Write on a replica refused"),
        "bad",
    )
    REPLICA_EJECTED = (
        "replica_ejected",
        "replica",
        _("Replicas ejected, as they failed or were slow"),
        _("Replica ejected"),
        "bad",
        signals.replica_ejected,
    )
    REPLICA_RESTORED = (
        "replica_restored",
        "replica",
        _("Replicas restored"),
        _("Replica restored"),
        "good",
        signals.replica_restored,
    )
    FAILOVER = (
        "failover",
        "replica",
        _("Reads that lost their replica, and were run again elsewhere"),
        _("Read failed over"),
        "busy",
        signals.read_failed_over,
    )
    READ_SPILLED = (
        "read_spilled",
        "cluster",
        _("Reads on the primary, because all replicas lagged"),
        None,
        "quiet",
        signals.read_spilled,
    )
    READ_DEGRADED = (
        "read_degraded",
        "cluster",
        _("Reads on a replica that lagged, because the primary was away or full"),
    )
    PRIMARY_LOST = (
        "primary_lost",
        "database",
        _("Primaries that did not answer"),
        _("Primary away"),
        "bad",
        signals.primary_lost,
    )
    PRIMARY_FOUND = (
        "primary_found",
        "database",
        _("Primaries that answered again"),
        _("Primary back"),
        "good",
        signals.primary_found,
    )
    PRIMARY_READ_ONLY = (
        "primary_read_only",
        "database",
        _("Writes that the primary refused, as it is read-only"),
        _("Write on the primary refused"),
        "bad",
    )
    STATEMENT_FAILED = "statement_failed", "database", _("Statements that failed with an error of the server")
    ROLE_CHANGED = (
        "role_changed",
        "database",
        _("Servers found in another role"),
        _("Role changed"),
        "busy",
        signals.role_changed,
    )
    REPLICA_DRAINED = (
        "replica_drained",
        "replica",
        _("Replicas drained"),
        _("Replica drained"),
        "bad",
        signals.replica_drained,
    )
    REPLICA_UNDRAINED = (
        "replica_undrained",
        "replica",
        _("Replicas put back"),
        _("Replica put back"),
        "good",
        signals.replica_undrained,
    )
    SWITCHED_OFF = "switched_off", "cluster", _("Kill switches thrown"), _("Kill switch thrown"), "bad"
    SWITCHED_ON = "switched_on", "cluster", _("Kill switches taken back"), _("Kill switch taken back"), "good"
    POSITION_UNKNOWN = (
        "position_unknown",
        "cluster",
        _("Primaries that could not be asked where they stand"),
    )
    SESSION_DIFFERS = (
        "session_differs",
        "replica",
        _("Reads on a replica whose session lacks what was set on the primary's"),
    )
    SYNC_TIMEOUT = (
        "sync_timeout",
        "cluster",
        _("Writes that SYNC_REPLICAS had not replayed within SYNC_TIMEOUT"),
    )
