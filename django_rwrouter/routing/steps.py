"""The outcomes of the rules for one read: who may answer it, or the step that has to be taken first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.decision import Reason

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Transaction(Enum):
    """What is open on the primary's connection."""

    NONE = "none"
    VIEW = "view"
    """Only the block that ``ATOMIC_REQUESTS`` put around the running view."""
    BLOCK = "block"


# --- who may answer --------------------------------------------------------------------------------
@dataclass(slots=True)
class OnPrimary:
    """The primary answers."""

    reason: Reason


@dataclass(slots=True)
class Draw:
    """The balancer draws one of some replicas."""

    among: Sequence[ReplicaSettings]
    reason: Reason
    """Why it may answer."""
    bound: bool = False
    """Whether the read is bound to a position, so that it matters which server a connection reaches."""
    identify: bool = False
    """Whether to ask a new connection which server it has reached, if there is time for it."""
    to_ask: Collection[ReplicaSettings] = ()
    """Those that do not answer before they have said where they stand."""


# --- the next steps ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Open:
    """Open the connection of the replica that was drawn."""

    alias: str
    reason: Reason
    """Why a replica may answer; the reason of the decision if nothing else is asked of it."""
    bound: bool = False
    """As in :class:`Draw`."""
    identify: bool = False
    """As in :class:`Draw`."""


@dataclass(frozen=True, slots=True)
class AskFloor:
    """Ask the primary where it stands, for all reads of the request or the block that are bound to that."""


@dataclass(frozen=True, slots=True)
class AskPrimary:
    """Ask the primary where it stands."""

    at_most_old: float
    """Seconds; an answer that was given so recently will do."""


@dataclass(frozen=True, slots=True)
class AskReplica:
    """Ask an open replica where it stands."""

    alias: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Let an open replica wait until it has replayed a position."""

    alias: str
    position: Any


@dataclass(frozen=True, slots=True)
class Spill:
    """Take one of the few places on the primary for reads that are there because replicas lag."""


Step = Open | AskFloor | AskPrimary | AskReplica | WaitFor | Spill
Verdict = OnPrimary | Draw | AskFloor | AskPrimary | WaitFor | Spill
"""What the ladder says. A draw becomes a decision, or the step ``Open`` or ``AskReplica``."""
ASK_FLOOR: Final = AskFloor()
SPILL: Final = Spill()


@dataclass(slots=True)
class Attempts:
    """What was tried for one read; the caller notes here how each step went."""

    unusable: Collection[str] = ()
    """Replicas that failed lately."""
    known_only: bool = False
    """Whether there is no time to ask anybody anything."""
    forbidden: set[str] = field(default_factory=set)
    """Replicas that the running test keeps from us."""
    drawn: list[BaseDatabaseWrapper] = field(default_factory=list)
    """Replicas' connections that were drawn from a pool for this read."""
    asked: list[str] = field(default_factory=list)
    """Replicas that were asked where they stand."""
    waited: bool = False
    """Whether it was waited for, as far as anybody may wait."""
    asked_primary: bool = False
    primary: Any = None
    """Where the primary stands, if it was asked and has answered."""
    spilled: bool | None = None
    """Whether there was a place on the primary for a read that is there because replicas lag."""


UNTRIED: Final = Attempts()
"""Where every read begins; the caller makes one of its own before it notes anything."""
