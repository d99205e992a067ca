"""A routing decision: a database, and the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.db.models import Model
    from django.utils.functional import _StrPromise

Operation = Literal["read", "write"]


class Level(str, Enum):
    """How fresh a read must be."""

    PRIMARY = "primary"
    """Every read from the primary; views opt in to replicas with a block or a decorator."""
    EVENTUAL = "eventual"
    """Any replica, however far behind; what the client wrote does not matter."""
    WINDOW = "window"
    """The primary for ``PIN_SECONDS`` after the client's last write, otherwise any replica."""
    CAUSAL = "causal"
    """Any replica that has replayed the client's last write; otherwise the primary."""
    STRONG = "strong"
    """Any replica that has replayed all that was written when the request asked; otherwise the primary."""
    BOUNDED = "bounded"
    """Any replica known to be no older than ``max_staleness``; for ``consistency()`` blocks only."""


class Reason(str, Enum):
    """Why a statement went where it went. Each rule of the router has one of its own."""

    code: str
    """``value`` as a plain attribute: ``Enum.value`` is a descriptor and too slow here."""
    label: _StrPromise
    """A few words for people, translated when shown."""
    on_primary: bool
    """Whether reads with this reason go to the primary."""

    # Enum's own hash is Python code, and decisions are looked up by their reason on every read.
    __hash__ = str.__hash__

    def __new__(cls, value: str, label: _StrPromise, on_primary: bool) -> Reason:
        """Make a member with its label and its side."""
        member = str.__new__(cls, value)
        member._value_ = member.code = value
        member.label = label
        member.on_primary = on_primary
        return member

    # Reads that the primary answers, in the order of the rules.
    DISABLED = "disabled", _("routing is switched off"), True
    PRIMARY_ONLY = "primary_only", _("the model is always read from the primary"), True
    MIGRATION = "migration", _("a historical model of a migration"), True
    FORBIDDEN_IN_TEST = "forbidden_in_test", _("the running test forbids the replicas"), True
    USE_PRIMARY = "use_primary", _("inside use_primary()"), True
    IN_TRANSACTION = "in_transaction", _("inside a transaction on the primary"), True
    INSTANCE = "instance", _("follows an object that was read from the primary"), True
    WROTE_IN_SCOPE = "wrote_in_scope", _("this request, task or scope has written"), True
    UNSAFE_METHOD = "unsafe_method", _("an unsafe method, or a scope that may write"), True
    OUTSIDE_SCOPE = "outside_scope", _("outside any request, task or scope"), True
    LEVEL_PRIMARY = "level_primary", _("the level in force is “primary”"), True
    PINNED = "pinned", _("the client wrote a moment ago"), True
    EVENT_LOOP = "event_loop", _("on the event loop, where the token cannot be fetched"), True
    BEHIND = "behind", _("no replica has caught up"), True
    NO_POSITION = "no_position", _("the primary could not be asked where it stands"), True
    NO_REPLICA = "no_replica", _("no replica is usable"), True
    SPILLED = "spilled", _("all replicas are too far behind"), True
    ONLY_ON_PRIMARY = "only_on_primary", _("the replica could not run it, and the primary could"), True
    # Reads that a replica answers.
    USE_REPLICA = "use_replica", _("inside use_replica()"), False
    EVENTUAL = "eventual", _("any replica will do"), False
    WINDOW = "window", _("the client has not written lately"), False
    CAUSAL = "causal", _("the replica has what the client wrote"), False
    STRONG = "strong", _("the replica has all that was written"), False
    BOUNDED = "bounded", _("the replica is as fresh as was asked for"), False
    OUTSIDE_REPLICA = "outside_replica", _("outside any request, task or scope"), False
    DEGRADED = "degraded", _("too far behind, but the primary is away or has enough to do"), False
    FAILOVER = "failover", _("its first database failed under the read"), False
    # Everything else.
    WRITE = "write", _("routed as a write"), True
    EXPLICIT = "explicit", _("the database was named in the code"), False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Where one operation goes."""

    alias: str
    """The database that is used."""
    reason: Reason
    """The rule that applied."""
    operation: Operation = "read"
    """What the router was asked for."""
    model: type[Model] | None = None
    """The model, or ``None`` for a raw connection."""
    would_be: str | None = None
    """Under ``ENABLED: "shadow"``, the replica that would have been read; otherwise ``None``."""
