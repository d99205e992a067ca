"""The rules: what one read demands of the database that answers it. The first that applies decides.

They are a list of values. :mod:`~django_rwrouter.routing.decide` runs it, ``explain`` and the panel print it,
and ``docs/how-it-decides.md`` shows it: a new rule is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from django.utils.translation import gettext_lazy as _

from django_rwrouter.decision import Level, Reason
from django_rwrouter.scope.state import BlockKind

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from django_rwrouter.routing.pending_read import PendingRead

UNCONDITIONAL: Final = frozenset(
    {Reason.DISABLED, Reason.PRIMARY_ONLY, Reason.MIGRATION, Reason.FORBIDDEN_IN_TEST}
)
"""Reasons that hold whatever the code asks for: ``strict=True`` does not object, and they tell nothing about
the reads that follow."""
NEEDS_POSITION: Final = frozenset({Level.CAUSAL, Level.STRONG, Level.BOUNDED})
_NOTHING_ELSE_KEEPS: Final = frozenset({Level.STRONG, Level.BOUNDED})
"""Levels whose promise nothing keeps where the database has no positions; ``causal`` becomes ``window``."""


class Place(Enum):
    """Which code reads, for as long as no ``consistency()`` block says how fresh the read has to be."""

    __hash__ = object.__hash__  # Enum's own is Python code.

    SAFE = auto()
    """A safe request, or a scope like one."""
    UNSAFE = auto()
    OUTSIDE = auto()
    """Outside any request, task or scope."""
    EXPLICIT = auto()
    """Such a block is in force, wherever it is."""


class Read(NamedTuple):
    """One read, as far as the rules look at it; each field has few values."""

    enabled: bool = True
    """Whether the kill switch is not thrown."""
    fixed: Reason | None = None
    """Why all reads of the model go to the primary, if they always do."""
    block: BlockKind | None = None
    """The innermost block that speaks of the cluster."""
    in_transaction: bool = False
    """Whether a transaction is open on the primary that the read has to see."""
    follows_primary: bool = False
    """Whether it follows an object that this scope may have read from the primary."""
    wrote: bool = False
    """Whether the scope has written, or read what it may write over."""
    place: Place = Place.SAFE
    outside_may_read_replicas: bool = False
    level: Level = Level.WINDOW
    """The level in force; ``window`` for a ``causal`` that the database cannot keep."""
    positions: bool = False
    """Whether the database has positions, and tells them."""
    pinned: bool = False
    """Whether the client wrote less than ``PIN_SECONDS`` ago what only its time speaks of."""


ReadFields = tuple[
    bool, "Reason | None", "BlockKind | None", bool, bool, bool, Place, bool, Level, bool, bool
]
"""The fields of a :class:`Read`."""


def describe(read: PendingRead, enabled: bool, in_transaction: bool) -> ReadFields:
    """Describe one read: the fields of a :class:`Read`, as a plain tuple."""
    state, scope, block, mark = read.state, read.scope, read.block, read.mark
    fixed, cluster = read.route.fixed, read.route.cluster
    settings = cluster.settings
    level = settings.consistency
    place = Place.OUTSIDE if state.outside else Place.SAFE if state.safe else Place.UNSAFE
    if block is not None and block.level is not None:
        level, place = block.level, Place.EXPLICIT
    # A token with a position shows that the database has some.
    if level is Level.CAUSAL and not read.positions and (mark is None or mark.position is None):
        level = Level.WINDOW
    pinned = False
    if mark is not None:
        pinned_at = mark.uncovered_at if level is Level.CAUSAL else mark.wrote_at
        pinned = read.now - pinned_at < settings.pin_seconds
    return (
        enabled,
        Reason.PRIMARY_ONLY if fixed is None and state.loading else fixed,
        None if block is None else block.kind,
        in_transaction,
        read.instance_alias == cluster.primary and (scope.read_primary or scope.wrote),
        scope.wrote or scope.read_to_write,
        place,
        settings.outside_request == "replica",
        level,
        read.positions,
        pinned,
    )


class Demand(Enum):
    """What a read demands of the database that answers it; the ladder finds one that has it."""

    __hash__ = object.__hash__  # Enum's own is Python code.

    PRIMARY = "the primary"
    ANY = "any replica"
    TIMELY = "any replica that is not late on purpose"
    FRESH = "a replica no older than the bound"
    LEVEL_WITH_PRIMARY = "a replica that has what the primary had"
    TOKEN = "a replica that has what the client's token speaks of"  # noqa: S105
    RECENT = "a replica within `MAX_LAG`"


TAKE_DELAYED: Final = frozenset({Demand.ANY, Demand.FRESH})
"""Demands that a replica with ``DELAYED`` may meet."""
NOTHING_MORE: Final = frozenset({Demand.ANY, Demand.TIMELY})
"""Demands for which it does not matter where a replica stands."""
NEED_TOKEN: Final = frozenset({Demand.TOKEN, Demand.RECENT})
"""Demands that are not known before the client's token was looked at."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: when it applies, what it demands, and how people are told."""

    name: str
    """The same in every version."""
    reasons: tuple[Reason, ...]
    """What its decisions say where all servers are well: the first, but for what :func:`first_rule` says."""
    demand: Demand
    applies: Callable[[Read], bool]
    title: _StrPromise
    text: _StrPromise
    """Why it applies."""
    passed: _StrPromise
    """Why it does not."""


RULES: Final = (
    Rule(
        "disabled",
        (Reason.DISABLED,),
        Demand.PRIMARY,
        lambda read: not read.enabled,
        title=_("The kill switch"),
        text=_("Routing is switched off: by ENABLED in the settings, or by an operator."),
        passed=_("Routing is switched on."),
    ),
    Rule(
        "primary_only",
        (Reason.PRIMARY_ONLY, Reason.MIGRATION),
        Demand.PRIMARY,
        lambda read: read.fixed is not None,
        title=_("Models that are always read from the primary"),
        text=_(
            "PRIMARY_ONLY names the model, or it is one that always counts as named: sessions, content types,"
            " the database cache, and this package's own."
        ),
        passed=_("PRIMARY_ONLY does not name the model."),
    ),
    Rule(
        "use_primary",
        (Reason.USE_PRIMARY,),
        Demand.PRIMARY,
        lambda read: read.block is BlockKind.PRIMARY,
        title=_("A use_primary() block"),
        text=_("It is inside use_primary()."),
        passed=_("No use_primary() is the innermost block around it."),
    ),
    Rule(
        "in_transaction",
        (Reason.IN_TRANSACTION,),
        Demand.PRIMARY,
        lambda read: read.in_transaction,
        title=_("A transaction"),
        text=_("A transaction is open on the primary: it must see its own writes."),
        passed=_(
            "No transaction is open on the primary, but for that of ATOMIC_REQUESTS around a view that reads."
        ),
    ),
    Rule(
        "use_replica",
        (Reason.USE_REPLICA,),
        Demand.TIMELY,
        lambda read: read.block is BlockKind.REPLICA,
        title=_("A use_replica() block"),
        text=_("It is inside use_replica(): any replica will do, however far behind."),
        passed=_("No use_replica() is the innermost block around it."),
    ),
    Rule(
        "instance",
        (Reason.INSTANCE,),
        Demand.PRIMARY,
        lambda read: read.follows_primary,
        title=_("Following an object"),
        text=_("It follows an object that was read from the primary, and may be on no replica yet."),
        passed=_("It follows no object that was read from the primary."),
    ),
    Rule(
        "wrote_in_scope",
        (Reason.WROTE_IN_SCOPE,),
        Demand.PRIMARY,
        lambda read: read.wrote,
        title=_("Written in this request"),
        text=_("This request, task or scope has written, and reads what it wrote."),
        passed=_("This request, task or scope has not written yet."),
    ),
    Rule(
        "outside",
        (Reason.OUTSIDE_SCOPE,),
        Demand.PRIMARY,
        lambda read: read.place is Place.OUTSIDE and not read.outside_may_read_replicas,
        title=_("Outside any request"),
        text=_("It is outside any request, task or scope: OUTSIDE_REQUEST is “%(outside_request)s”."),
        passed=_("It is inside a request, or a consistency() block says how fresh it has to be."),
    ),
    Rule(
        "unsafe_method",
        (Reason.UNSAFE_METHOD,),
        Demand.PRIMARY,
        lambda read: read.place is Place.UNSAFE,
        title=_("A method that may write"),
        text=_("%(method)s may write, and what is read may decide what is written."),
        passed=_("%(method)s only reads, or a consistency() block says how fresh it has to be."),
    ),
    Rule(
        "primary",
        (Reason.LEVEL_PRIMARY,),
        Demand.PRIMARY,
        lambda read: read.level is Level.PRIMARY,
        title=_("Level “primary”"),
        text=_("The level in force is “primary”."),
        passed=_("The level in force is “%(level)s”."),
    ),
    Rule(
        "eventual",
        (Reason.EVENTUAL, Reason.OUTSIDE_REPLICA),
        Demand.ANY,
        lambda read: read.level is Level.EVENTUAL,
        title=_("Level “eventual”"),
        text=_("The level in force is “eventual”: any replica will do, whatever the client wrote."),
        passed=_("The level in force is “%(level)s”."),
    ),
    Rule(
        "no_position",
        (Reason.NO_POSITION,),
        Demand.PRIMARY,
        lambda read: read.level in _NOTHING_ELSE_KEEPS and not read.positions,
        title=_("A level that nothing else keeps"),
        text=_("The database tells no positions, and without them only the primary keeps “%(level)s”."),
        passed=_("“%(level)s” needs no positions, or has them, or falls back to “window”."),
    ),
    Rule(
        "bounded",
        (Reason.BOUNDED,),
        Demand.FRESH,
        lambda read: read.level is Level.BOUNDED,
        title=_("Level “bounded”"),
        text=_("A replica will do that is known to be no more than %(max_staleness)s s behind."),
        passed=_("The level in force is “%(level)s”."),
    ),
    Rule(
        "strong",
        (Reason.STRONG,),
        Demand.LEVEL_WITH_PRIMARY,
        lambda read: read.level is Level.STRONG,
        title=_("Level “strong”"),
        text=_("A replica will do that has all that the primary had when the request first asked."),
        passed=_("The level in force is “%(level)s”."),
    ),
    Rule(
        "pinned",
        (Reason.PINNED,),
        Demand.PRIMARY,
        lambda read: read.pinned,
        title=_("A client that wrote a moment ago"),
        text=_(
            "The client wrote %(token_age)s s ago, and reads from the primary for %(pin_seconds)s s"
            " (PIN_SECONDS)."
        ),
        passed=_(
            "The client has not written in the last %(pin_seconds)s s (PIN_SECONDS), or its token says which"
            " position a replica must have reached."
        ),
    ),
    Rule(
        "causal",
        (Reason.CAUSAL, Reason.OUTSIDE_REPLICA),
        Demand.TOKEN,
        lambda read: read.level is Level.CAUSAL,
        title=_("Level “causal”"),
        text=_(
            "A replica will do that has reached the position in the client's token, or, where that has the"
            " time alone, where the primary stood after it; any replica, if the client has not written."
        ),
        passed=_("The level in force is “%(level)s”%(fallback)s."),
    ),
    Rule(
        "window",
        (Reason.WINDOW, Reason.OUTSIDE_REPLICA),
        Demand.RECENT,
        lambda read: read.level is Level.WINDOW,
        title=_("Level “window”"),
        text=_("A replica will do that is no more than %(max_lag)s s behind (MAX_LAG)."),
        passed=_("The level in force is “%(level)s”."),
    ),
)
"""In their order. What must be the primary comes before what the code asks for, and that before the level."""


def first_rule(read: Read) -> tuple[Rule, Reason]:
    """Return the rule that decides a read, and what it says."""
    rule = next(rule for rule in RULES if rule.applies(read))
    if rule.name == "primary_only":
        return rule, read.fixed or Reason.PRIMARY_ONLY
    is_outside = read.place is Place.OUTSIDE and Reason.OUTSIDE_REPLICA in rule.reasons
    return rule, Reason.OUTSIDE_REPLICA if is_outside else rule.reasons[0]


class _FirstRules(dict[ReadFields, tuple[Rule, Reason]]):
    """What :func:`first_rule` has worked out: there are few kinds of reads, and each has many."""

    def __missing__(self, facts: ReadFields) -> tuple[Rule, Reason]:
        self[facts] = decided = first_rule(Read(*facts))
        return decided


FIRST_RULES: Final = _FirstRules()
"""By the fields of a :class:`Read`, as a plain tuple: to look that up calls no function."""
