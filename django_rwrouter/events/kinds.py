"""Every kind of event: its subject, its labels, its severity, its entry in the log, and its signal.

A new kind is a member here, and a row of the table in ``docs/statistics.md``.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import Literal, NamedTuple

from django.dispatch import Signal
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from django_rwrouter import signals

Subject = Literal["", "cluster", "database", "replica", "flaw", "store"]
"""What an event is about: nothing in particular, a cluster, the alias of a database (or always of a replica),
the flaw of a token, or the class of a store."""
EventSeverity = Literal["good", "quiet", "busy", "bad"]


class LogMessage(NamedTuple):
    """How an event is logged."""

    text: str
    """With the event's facts as its values."""
    level: int = logging.WARNING
    repeats: bool = False
    """Whether many reads or writes meet it one after another, so that it is logged only now and then."""


class EventKind(str, Enum):
    """A kind of event; its value is its name in statistics, metrics and pages."""

    code: str
    """``value`` as a plain attribute: ``Enum.value`` is a descriptor and too slow on the path of a
    request."""
    subject: Subject
    label: Promise | None
    """Label of its count; ``None`` if the count is shown elsewhere."""
    message: LogMessage | None
    """``None`` if it is not logged, or where it is met."""
    occurrence: Promise | None
    """Label of one event in the log; ``None`` if it is only counted."""
    severity: EventSeverity
    signal: Signal | None

    def __new__(
        cls,
        value: str,
        subject: Subject,
        label: Promise | None = None,
        message: LogMessage | None = None,
        occurrence: Promise | None = None,
        severity: EventSeverity = "quiet",
        signal: Signal | None = None,
    ) -> EventKind:
        """Make a member with its attributes."""
        member = str.__new__(cls, value)
        member._value_ = member.code = value
        member.subject = subject
        member.label = label
        member.message = message
        member.occurrence = occurrence
        member.severity = severity
        member.signal = signal
        return member

    REQUEST = "request", ""
    PINNED_REQUEST = "pinned_request", "cluster"
    PIN_SET = "pin_set", "", _("Responses that pinned their client, because it had written")
    TOKEN_REJECTED = ("token_rejected", "flaw", _("Tokens not accepted"), None, _("Token rejected"), "busy")
    STORE_FAILED = "store_failed", "store", _("Stores of tokens that failed")
    LATE_WRITE = (
        "late_write",
        "cluster",
        _("Writes too late for the client's token (in a streamed response)"),
        LogMessage(
            "A write to %(cluster)r was made while a streamed response was being sent, too late for the"
            " client's token: its next reads may miss it. Write before the response is returned.",
            repeats=True,
        ),
    )
    REPLICA_WRITE_REFUSED = (
        "replica_write_refused",
        "replica",
        _("Writes sent to a replica, and refused"),
        None,
        _("Write on a replica refused"),
        "bad",
    )
    REPLICA_EJECTED = (
        "replica_ejected",
        "replica",
        _("Replicas ejected, as they failed or were slow"),
        LogMessage("The replica %(alias)r is ejected: %(why)s."),
        _("Replica ejected"),
        "bad",
        signals.replica_ejected,
    )
    REPLICA_RESTORED = (
        "replica_restored",
        "replica",
        _("Replicas restored"),
        LogMessage("The replica %(alias)r is restored, after %(seconds).1f s.", logging.INFO),
        _("Replica restored"),
        "good",
        signals.replica_restored,
    )
    FAILOVER = (
        "failover",
        "replica",
        _("Reads that lost their replica, and were run again elsewhere"),
        LogMessage("A read on %(alias)r failed (%(why)s) and was run again on %(substitute)r."),
        _("Read failed over"),
        "busy",
        signals.read_failed_over,
    )
    READ_SPILLED = (
        "read_spilled",
        "cluster",
        _("Reads on the primary, because all replicas lagged"),
        LogMessage(
            "All replicas of %(cluster)r lag more than MAX_LAG: some of their reads go to the primary.",
            repeats=True,
        ),
        None,
        "quiet",
        signals.read_spilled,
    )
    READ_DEGRADED = (
        "read_degraded",
        "cluster",
        _("Reads on a replica that lagged, because the primary was away or full"),
        LogMessage(
            "All replicas of %(cluster)r lag more than MAX_LAG, and the primary is away or has SPILL_LIMIT"
            " of their reads already: the replica that lags least answers.",
            logging.ERROR,
            repeats=True,
        ),
    )
    PRIMARY_LOST = (
        "primary_lost",
        "database",
        _("Primaries that did not answer"),
        LogMessage("The primary %(alias)r does not answer: %(why)s.", logging.ERROR),
        _("Primary away"),
        "bad",
        signals.primary_lost,
    )
    PRIMARY_FOUND = (
        "primary_found",
        "database",
        _("Primaries that answered again"),
        LogMessage("The primary %(alias)r answers again."),
        _("Primary back"),
        "good",
        signals.primary_found,
    )
    PRIMARY_READ_ONLY = (
        "primary_read_only",
        "database",
        _("Writes that the primary refused, as it is read-only"),
        LogMessage(
            "The primary %(alias)r refuses writes, as it is read-only now (%(why)s). Its connection is"
            " given up.",
            repeats=True,
        ),
        _("Write on the primary refused"),
        "bad",
    )
    STATEMENT_FAILED = "statement_failed", "database", _("Statements that failed with an error of the server")
    ROLE_CHANGED = (
        "role_changed",
        "database",
        _("Servers found in another role"),
        LogMessage("The server behind %(alias)r is now in the role %(role)r."),
        _("Role changed"),
        "busy",
        signals.role_changed,
    )
    REPLICA_DRAINED = (
        "replica_drained",
        "replica",
        _("Replicas drained"),
        LogMessage("The replica %(alias)r is drained."),
        _("Replica drained"),
        "bad",
        signals.replica_drained,
    )
    REPLICA_UNDRAINED = (
        "replica_undrained",
        "replica",
        _("Replicas put back"),
        LogMessage("The replica %(alias)r is no longer drained."),
        _("Replica put back"),
        "good",
        signals.replica_undrained,
    )
    SWITCHED_OFF = (
        "switched_off",
        "cluster",
        _("Kill switches thrown"),
        LogMessage("All reads of the cluster %(cluster)r go to its primary: its kill switch was thrown."),
        _("Kill switch thrown"),
        "bad",
    )
    SWITCHED_ON = (
        "switched_on",
        "cluster",
        _("Kill switches taken back"),
        LogMessage("The reads of the cluster %(cluster)r are routed again."),
        _("Kill switch taken back"),
        "good",
    )
    POSITION_UNKNOWN = (
        "position_unknown",
        "cluster",
        _("Primaries that could not be asked where they stand"),
        LogMessage("The primary %(alias)r could not be asked where it stands (%(why)s).", repeats=True),
    )
    SESSION_DIFFERS = (
        "session_differs",
        "replica",
        _("Reads on a replica whose session lacks what was set on the primary's"),
        LogMessage(
            "The replica %(alias)r may answer with other rows: a %(what)s was set on the session of the"
            " primary, and not on its own. Have RWROUTER['REPLICA_SESSION'] set it there, or read inside"
            " use_primary().",
            repeats=True,
        ),
    )
    SYNC_TIMEOUT = (
        "sync_timeout",
        "cluster",
        _("Writes that SYNC_REPLICAS had not replayed within SYNC_TIMEOUT"),
        LogMessage(
            "A write to %(cluster)r was not replayed by %(replicas)s replicas within SYNC_TIMEOUT"
            " (%(seconds)s s); the response goes out all the same, and the client's token keeps it from"
            " reading what is older.",
            repeats=True,
        ),
    )
