"""The scopes and blocks in force, in one context variable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import FrameType
from typing import Final, cast

from django_rwrouter.scope import generators
from django_rwrouter.scope.generators import GeneratorRegion, GeneratorRegions
from django_rwrouter.scope.state import THREAD, Block, RoutingState


@dataclass(frozen=True, slots=True, eq=False)
class InForce:
    """What is in force in one context: replaced whole, so that one look tells all of it."""

    state: RoutingState | None = None
    """That of the scope or block that was entered; those in generators aside."""
    block: Block | GeneratorRegions | None = None
    """The innermost block, of whatever cluster.

    Where generators have opened any, their ``GeneratorRegions``, which stands for no block.
    """
    untracked: bool = False
    """Whether writes count for nothing."""
    regions: tuple[tuple[object, InForce], ...] = ()
    """The ``with`` blocks that are open, each with what was in force before it."""


NOTHING: Final = InForce()
_in_force: Final[ContextVar[InForce]] = ContextVar("rwrouter_in_force", default=NOTHING)
in_force: Final = _in_force.get
"""Return what is in force."""


def in_effect() -> InForce:
    """Return what is in force, with what running generators have opened."""
    now = in_force()
    return now if now.block.__class__ is not GeneratorRegions else _with(_regions(now), now)


def _regions(now: InForce) -> tuple[GeneratorRegion, ...]:
    """Return what generators have opened, but for what has ended in whatever context."""
    return now.block.unended() if isinstance(now.block, GeneratorRegions) else ()


def _with(regions: Iterable[GeneratorRegion], now: InForce) -> InForce:
    """Return what is in force in no generator, with these regions of running ones."""
    state, block, untracked = now.state, _outside(now), now.untracked
    for region in generators.innermost_last(regions):
        if region.in_step():
            state = region.state or state
            untracked = untracked or region.untracked
            if region.block is not None:
                block = replace(region.block, outer=block)
    return InForce(state, block, untracked, now.regions)


def current_state() -> RoutingState:
    """Return the state in force; outside any scope, a stand-in that remembers nothing."""
    now = in_force()
    if now.block.__class__ is GeneratorRegions:
        now = in_effect()
    return now.state or THREAD.outside


def current_scope() -> RoutingState | None:
    """Return the state of the request, task or scope, or ``None`` outside any."""
    state = current_state()
    return None if state.outside else state


def in_any_state() -> bool:
    """Whether anything remembers: a scope, or a block outside any."""
    return in_effect().state is not None


def current_block(cluster: str) -> Block | None:
    """Return the innermost block that speaks of the cluster."""
    block: Block | None = in_effect().block  # type: ignore[assignment]
    while block is not None and block.cluster is not None and block.cluster != cluster:
        block = block.outer
    return block


def writes_are_tracked() -> bool:
    """Whether a write made now counts; not inside ``untracked_writes()``."""
    return not in_effect().untracked


def begin_untracked() -> None:
    """Let the writes made from now on count for nothing."""
    _in_force.set(replace(in_force(), untracked=True))


def begin_block(block: Block) -> None:
    """Put a block in force, inside those that are."""
    now = in_force()
    entered_block = replace(block, outer=_outside(now), entry=object())
    if isinstance(now.block, GeneratorRegions):
        _in_force.set(replace(now, block=replace(now.block, outside=entered_block)))
    else:
        _in_force.set(replace(now, block=entered_block))


def begin_scope(state: RoutingState) -> None:
    """Make a state the one in force."""
    _in_force.set(replace(in_force(), state=state))


def _outside(now: InForce) -> Block | None:
    """Return the innermost block that no generator has opened."""
    return now.block.outside if isinstance(now.block, GeneratorRegions) else now.block


def open_region(region: object, begin: Callable[[], object], caller: FrameType) -> None:
    """Call ``begin``, and remember what was in force before for :func:`close_region`.

    In a generator, what begins is in force during its steps alone: in between runs whoever consumes it. In a
    task or thread that a step has started, and which may outlive it, it is inside what was in force there.
    """
    before = in_force()
    regions = _regions(before)
    frame = generators.generator_of(caller) or generators.innermost_running(caller, regions)
    own: tuple[GeneratorRegion, ...] = ()
    if frame is not None:
        around = _with(regions, before)
    elif regions:
        strand = generators.strand()
        own = tuple(other for other in regions if other.strand is strand)
        around = _with((other for other in regions if other not in own), before)
    else:
        around = before
    _in_force.set(_inside(around, own))
    try:
        begin()
        now = in_force()
    finally:
        _in_force.set(before)
    if frame is None:
        _in_force.set(replace(now, regions=(*now.regions, (region, before))))
        return
    begun = GeneratorRegion(
        frame=frame,
        region=region,
        state=None if now.state is around.state else now.state,
        block=None if now.block is around.block else cast("Block", now.block),
        untracked=now.untracked,
    )
    _in_force.set(_inside(before, (*regions, begun)))


def _inside(now: InForce, regions: tuple[GeneratorRegion, ...]) -> InForce:
    """Return what is in force, with other regions of generators."""
    outside = _outside(now)
    return replace(now, block=GeneratorRegions(outside, regions) if regions else outside)


def close_region(region: object) -> None:
    """Restore what was in force before the region; what generators have opened meanwhile stays theirs."""
    before = now = in_force()
    opened = _regions(now)
    for begun in reversed(opened):
        if begun.region is region and begun.in_step():
            begun.ended = True  # In every context that holds it.
            break
    else:
        # A generator may be closed in another context than it ran in: there is nothing to restore there.
        if not now.regions or now.regions[-1][0] is not region:
            return
        before = now.regions[-1][1]
    regions = _regions(before)
    opened = tuple(begun for begun in opened if not begun.ended and begun not in regions)
    _in_force.set(_inside(before, (*regions, *opened)))
    if now.state is not None and now.state is not before.state:
        now.state.spilled.clear()


class Paused:
    """What is in force where work is put off, for when it is done: a late rendering, a streamed body.

    Each step goes on with what the one before it left, so that a ``with`` block in a generator holds from
    step to step; and nothing of it is seen in between.
    """

    __slots__ = ("_now",)

    def __init__(self) -> None:
        self._now = in_force()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Go on for one step."""
        outside = in_force()
        _in_force.set(self._now)
        try:
            yield
        finally:
            self._now = in_force()
            _in_force.set(outside)

    def end(self) -> None:
        """Give back what the state holds, as nothing goes on with it any more."""
        if self._now.state is not None:
            self._now.state.spilled.clear()


class entered:  # noqa: N801  (used like a function)
    """Makes a state the one in force, and ends whatever is left open inside.

    What was before is put back by setting it: a variable's own reset token refuses to work in another
    context, and a sync block may end in another one than it began in (``sync_to_async``).
    """

    __slots__ = ("_before", "_state")

    def __init__(self, state: RoutingState) -> None:
        self._state = state

    def __enter__(self) -> RoutingState:
        self._before = in_force()
        now = in_effect() if self._before.block.__class__ is GeneratorRegions else self._before
        _in_force.set(InForce(self._state, now.block, now.untracked, now.regions))
        return self._state

    def __exit__(self, *_error: object) -> None:
        _in_force.set(self._before)
        if self._state.spilled:
            self._state.spilled.clear()  # An error's traceback may keep the state, and with it these slots.


class Isolation:
    """Runs a block as if nothing were in force, then puts back what was, whatever was left open inside.

    Not a generator: one that nobody ends would put it back when it is garbage, into whatever runs then.
    """

    __slots__ = ("_outside",)

    def __enter__(self) -> None:
        self._outside = in_force()
        _in_force.set(NOTHING)

    def __exit__(self, *_error: object) -> None:
        _in_force.set(self._outside)


@contextmanager
def silenced() -> Iterator[None]:
    """Treat the statements inside as this package's own."""
    state = RoutingState(safe=False)
    state.silent = True
    with entered(state):
        yield


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, section 9.2.1."""
