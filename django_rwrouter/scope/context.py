"""What is in force now: scopes and blocks, in context variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final

from django_rwrouter.scope.state import THREAD, Block, RoutingState

_state: Final[ContextVar[RoutingState | None]] = ContextVar("rwrouter_state", default=None)
_block: Final[ContextVar[Block | None]] = ContextVar("rwrouter_block", default=None)
_untracked: Final[ContextVar[bool]] = ContextVar("rwrouter_untracked", default=False)
_regions: Final[ContextVar[tuple[tuple[object, Any], ...]]] = ContextVar("rwrouter_regions", default=())
"""The ``with`` blocks that are open, each with what was in force before it."""
_InForce = tuple["RoutingState | None", Block | None, bool, tuple[tuple[object, Any], ...]]
"""The values of these four."""
state_in_force: Final = _state.get
"""Return the state of the scope or block that was entered, or ``None``."""
block_in_force: Final = _block.get
"""Return the innermost block, of whatever cluster, or ``None``."""


def current_state() -> RoutingState:
    """Return the state in force; outside any scope, a stand-in that remembers nothing."""
    return _state.get() or THREAD.outside


def current_scope() -> RoutingState | None:
    """Return the state of the request, task or scope, or ``None`` outside any."""
    state = _state.get()
    return None if state is None or state.outside else state


def in_any_state() -> bool:
    """Whether anything remembers: a scope, or a block outside any."""
    return _state.get() is not None


def current_block(cluster: str) -> Block | None:
    """Return the innermost block that speaks of the cluster."""
    block = _block.get()
    while block is not None and block.cluster is not None and block.cluster != cluster:
        block = block.outer
    return block


def writes_are_tracked() -> bool:
    """Whether a write made now counts; not inside ``untracked_writes()``."""
    return not _untracked.get()


def begin_untracked() -> None:
    """Let the writes made from now on count for nothing."""
    _untracked.set(True)


def begin_block(block: Block) -> None:
    """Put a block in force, inside those that are."""
    _block.set(replace(block, outer=_block.get(), entry=object()))


def begin_scope(state: RoutingState) -> None:
    """Make a state the one in force."""
    _state.set(state)


def open_region(region: object, begin: Callable[[], object]) -> None:
    """Call ``begin``, and remember what was in force before for :func:`close_region`."""
    before = _in_force()
    begin()
    _regions.set((*_regions.get(), (region, before)))


def close_region(region: object) -> None:
    """Restore what was in force before the region."""
    opened = _regions.get()
    # A generator may be closed in another context than it ran in: there is nothing to restore there.
    if opened and opened[-1][0] is region:
        _put(opened[-1][1])


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
