"""What is in force now: scopes and blocks, in context variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType
from typing import Any, Final, cast

from django_rwrouter.scope import generators
from django_rwrouter.scope.generators import GeneratorRegion, GeneratorRegions
from django_rwrouter.scope.state import THREAD, Block, RoutingState

_state: Final[ContextVar[RoutingState | None]] = ContextVar("rwrouter_state", default=None)
_block: Final[ContextVar[Block | GeneratorRegions | None]] = ContextVar("rwrouter_block", default=None)
_untracked: Final[ContextVar[bool]] = ContextVar("rwrouter_untracked", default=False)
_regions: Final[ContextVar[tuple[tuple[object, Any], ...]]] = ContextVar("rwrouter_regions", default=())
"""The ``with`` blocks that are open, each with what was in force before it."""
_InForce = tuple["RoutingState | None", Block | GeneratorRegions | None, bool, tuple[tuple[object, Any], ...]]
"""The values of these four."""
state_in_force: Final = _state.get
"""Return the state of the scope or block that was entered, or ``None``; those in generators aside."""
block_in_force: Final = _block.get
"""Return the innermost block, of whatever cluster, or ``None``.

Where generators have opened any, their ``GeneratorRegions``, which stands for no block.
"""


def _in_effect() -> tuple[RoutingState | None, Block | None, bool]:
    """Return state, block and whether writes count for nothing, with what running generators have opened."""
    state, block, untracked = _state.get(), _block.get(), _untracked.get()
    if not isinstance(block, GeneratorRegions):
        return state, block, untracked
    regions, block = block.regions, block.outside
    for region in regions:
        if region.in_step():
            state = region.state or state
            untracked = untracked or region.untracked
            if region.block is not None:
                block = replace(region.block, outer=block)
    return state, block, untracked


def current_state() -> RoutingState:
    """Return the state in force; outside any scope, a stand-in that remembers nothing."""
    if _block.get().__class__ is GeneratorRegions:
        return _in_effect()[0] or THREAD.outside
    return _state.get() or THREAD.outside


def current_scope() -> RoutingState | None:
    """Return the state of the request, task or scope, or ``None`` outside any."""
    state = current_state()
    return None if state.outside else state


def in_any_state() -> bool:
    """Whether anything remembers: a scope, or a block outside any."""
    return _in_effect()[0] is not None


def current_block(cluster: str) -> Block | None:
    """Return the innermost block that speaks of the cluster."""
    block = _in_effect()[1]
    while block is not None and block.cluster is not None and block.cluster != cluster:
        block = block.outer
    return block


def writes_are_tracked() -> bool:
    """Whether a write made now counts; not inside ``untracked_writes()``."""
    return not _in_effect()[2]


def begin_untracked() -> None:
    """Let the writes made from now on count for nothing."""
    _untracked.set(True)


def begin_block(block: Block) -> None:
    """Put a block in force, inside those that are."""
    present = _block.get()
    outside = present.outside if isinstance(present, GeneratorRegions) else present
    entered_block = replace(block, outer=outside, entry=object())
    if isinstance(present, GeneratorRegions):
        _block.set(replace(present, outside=entered_block))
    else:
        _block.set(entered_block)


def begin_scope(state: RoutingState) -> None:
    """Make a state the one in force."""
    _state.set(state)


def open_region(region: object, begin: Callable[[], object], caller: FrameType) -> None:
    """Call ``begin``, and remember what was in force before for :func:`close_region`.

    In a generator, what begins is in force during its steps alone: in between runs whoever consumes it.
    """
    before = _in_force()
    present = _block.get()
    regions = present.unended() if isinstance(present, GeneratorRegions) else ()
    in_step = [other.frame for other in regions if other.in_step()]
    frame = generators.generator_of(caller) or (in_step[-1] if in_step else None)
    if frame is None:
        begin()
        _regions.set((*_regions.get(), (region, before)))
        return
    outside = present.outside if isinstance(present, GeneratorRegions) else present
    state, block, untracked = _in_effect()
    _put((state, block, untracked, _regions.get()))
    try:
        begin()
        begun = GeneratorRegion(
            frame=frame,
            region=region,
            state=None if _state.get() is state else _state.get(),
            block=None if _block.get() is block else cast("Block", _block.get()),
            untracked=_untracked.get(),
        )
    finally:
        _put(before)
    _block.set(GeneratorRegions(outside, (*regions, begun)))


def close_region(region: object) -> None:
    """Restore what was in force before the region."""
    present = _block.get()
    if isinstance(present, GeneratorRegions):
        for begun in reversed(present.regions):
            if begun.region is region and begun.in_step():
                begun.ended = True  # In every context that holds it.
                _drop_ended(present)
                return
    opened = _regions.get()
    # A generator may be closed in another context than it ran in: there is nothing to restore there.
    if opened and opened[-1][0] is region:
        _put(opened[-1][1])
        if isinstance(present := _block.get(), GeneratorRegions):
            _drop_ended(present)


def _drop_ended(present: GeneratorRegions) -> None:
    regions = present.unended()
    _block.set(replace(present, regions=regions) if regions else present.outside)


class Paused:
    """What is in force where work is put off, for when it is done: a late rendering, a streamed body.

    Each step goes on with what the one before it left, so that a ``with`` block in a generator holds from
    step to step; and nothing of it is seen in between.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = _in_force()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Go on for one step."""
        outside = _in_force()
        _put(self._values)
        try:
            yield
        finally:
            self._values = _in_force()
            _put(outside)


def _in_force() -> _InForce:
    return _state.get(), _block.get(), _untracked.get(), _regions.get()


def _put(values: _InForce) -> None:
    # Spelled out, and set only where it differs, as each request comes this way.
    state, block, untracked, regions = values
    if _state.get() is not state:
        _state.set(state)
    if _block.get() is not block:
        _block.set(block)
    if _untracked.get() is not untracked:
        _untracked.set(untracked)
    if _regions.get() is not regions:
        _regions.set(regions)


class entered:  # noqa: N801  (used like a function)
    """Makes a state the one in force, and ends whatever is left open inside.

    What was before is put back by setting it: a variable's own reset token refuses to work in another
    context, and a sync block may end in another one than it began in (``sync_to_async``).
    """

    __slots__ = ("_before", "_entered")

    def __init__(self, state: RoutingState) -> None:
        self._entered = state

    def __enter__(self) -> RoutingState:
        self._before = _in_force()
        if isinstance(self._before[1], GeneratorRegions):
            _put((*_in_effect(), self._before[3]))
        _state.set(self._entered)
        return self._entered

    def __exit__(self, *_error: object) -> None:
        _put(self._before)


class Isolation:
    """Runs a block as if nothing were in force, then puts back what was, whatever was left open inside.

    Not a generator: one that nobody ends would put it back when it is garbage, into whatever runs then.
    """

    __slots__ = ("_outside",)

    def __enter__(self) -> None:
        self._outside = _in_force()
        _put((None, None, False, ()))

    def __exit__(self, *_error: object) -> None:
        _put(self._outside)


@contextmanager
def silenced() -> Iterator[None]:
    """Treat the statements inside as this package's own."""
    state = RoutingState(safe=False)
    state.silent = True
    with entered(state):
        yield


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, section 9.2.1."""
