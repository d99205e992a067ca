"""The steps that the rules may ask for, and the values that they look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from django_rwrouter.balancers import Balancer
from django_rwrouter.decision import Decision, Reason

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class Transaction(Enum):
    """What is open on the primary's connection."""

    NONE = "none"
    VIEW = "view"
    """Only the block that ``ATOMIC_REQUESTS`` put around the running view."""
    BLOCK = "block"


# --- the next steps ----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LoadToken:
    """Look at what the client brought."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the connection of the replica that was drawn."""

    alias: str
    reason: Reason
    """Why a replica may answer; the reason of the decision if nothing else is asked of it."""
    bound: bool = False
    """Whether the read is bound to a position, so that it matters which server is reached and where it is."""
    identify: bool = False
    """Whether to ask a new connection which server it has reached, if there is time for it."""


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


Step = LoadToken | Open | AskFloor | AskPrimary | AskReplica | WaitFor | Spill
Verdict = Decision | Step
LOAD_TOKEN: Final = LoadToken()
ASK_FLOOR: Final = AskFloor()
SPILL: Final = Spill()


@dataclass(slots=True)
class Attempts:
    """What was tried for one read; the caller notes here how each step went."""

    unusable: Collection[str] = ()
    """Replicas that failed lately."""
    known_only: bool = False
    """Whether there is no time to ask anybody anything."""
    switched_off: bool = False
    """Whether the cluster's kill switch was thrown while the site runs."""
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


def _no(_alias: str = "") -> bool:
    return False


@dataclass(slots=True, kw_only=True)
class Situation:
    """What the engine has to know of the world around one read."""

    transaction: Transaction = Transaction.NONE
    now: float = 0.0
    """Unix time."""
    balancer: Balancer
    opened: Container[str]
    """Replicas whose connection is known to be open."""
    positions: bool
    """Whether the database has positions at all, and tells them."""
    reached: Callable[[str, Any], bool]
    """Whether a replica is known to have replayed a position."""
    staleness: Callable[[str], float]
    """By how many seconds a replica is behind at most."""
    asked_lately: Callable[[str], bool] = _no
    """Whether no read has to ask a replica where it stands: it has just said so, or a monitor asks it."""
    away: Callable[[], bool] = _no
    """Whether the primary has not answered lately."""


UNTRIED: Final = Attempts()
"""Where every read begins; the caller makes one of its own before it notes anything."""
