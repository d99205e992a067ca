"""Blocks and scopes that are opened in a generator, which is left and resumed at each ``yield``.

A generator shares its consumer's context, so nothing tells when its step ends. Whether what it has opened
holds is told from where the generator stands, each time that it matters.
"""

from __future__ import annotations

import asyncio
import dis
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from django_rwrouter.scope.state import Block, RoutingState, running_loop, this_thread

_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_AROUND: Final = frozenset({"contextlib", "_pytest", "pytest_asyncio", "anyio"})
"""Packages that suspend a generator around the code which what it opened is for: managers and fixtures."""
_ENTERING: Final = frozenset({"__enter__", "__aenter__"})
_RESUME: Final = dis.opmap.get("RESUME")
_RESUME_KIND, _AFTER_AWAIT = 3, 3
"""Of the argument of ``RESUME``, the bits that say after what; since Python 3.11."""


def strand() -> object:
    """Return the running task of an event loop, or else the running thread."""
    return (asyncio.current_task() if running_loop() else None) or this_thread()


@dataclass(slots=True, eq=False, kw_only=True)
class GeneratorRegion:
    """What a generator has opened, or code that one of its steps has called."""

    frame: FrameType
    """The generator's."""
    region: object
    state: RoutingState | None
    block: Block | None
    untracked: bool
    strand: object = field(default_factory=strand)
    """Where it was opened. What another task or thread has of it, it has copied."""
    ended: bool = False

    def in_step(self) -> bool:
        """Whether a step of the generator runs now, or awaits something."""
        if self.ended:
            return False
        if self.frame.f_back is not None:
            return True
        return bool(self.frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR) and _awaits(self.frame)


@dataclass(frozen=True, slots=True)
class GeneratorRegions:
    """In place of the innermost block: what generators have opened, in order."""

    outside: Block | None
    """The innermost block that no generator has opened."""
    regions: tuple[GeneratorRegion, ...]

    def unended(self) -> tuple[GeneratorRegion, ...]:
        """Return those that have not ended, in whatever context."""
        return tuple(region for region in self.regions if not region.ended)


def generator_of(frame: FrameType | None) -> FrameType | None:
    """Return the frame of the generator whose ``with`` statement is entered from a frame, if it is one.

    The generator of a context manager or fixture stands for whoever entered that.
    """
    while frame is not None:
        if _is_around(frame):
            frame = frame.f_back
        elif (
            frame.f_code.co_flags & _GENERATORS and not frame.f_code.co_flags & inspect.CO_ITERABLE_COROUTINE
        ):
            driver = frame.f_back
            if driver is None or not _is_around(driver):
                return frame
            frame = driver
        else:
            return None
    return None


def innermost_running(frame: FrameType | None, regions: Iterable[GeneratorRegion]) -> FrameType | None:
    """Return the frame of the innermost generator with a region in whose step a frame runs."""
    frames = {region.frame for region in regions}
    while frame is not None and frame not in frames:
        frame = frame.f_back
    return frame


def innermost_last(regions: Iterable[GeneratorRegion]) -> list[GeneratorRegion]:
    """Return the regions in the order of nesting: a generator's before those of what it steps."""
    regions = list(regions)
    if len({region.frame for region in regions}) > 1:
        depths: dict[FrameType, int] = {}
        frame = inspect.currentframe()
        while frame is not None:
            depths[frame] = -len(depths)
            frame = frame.f_back
        regions.sort(key=lambda region: depths.get(region.frame, -len(depths)))
    return regions


def _is_around(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in _AROUND or frame.f_code.co_name in _ENTERING


def _awaits(frame: FrameType) -> bool:
    """Whether a suspended frame of an async generator stands at an ``await``, and not at a ``yield``.

    Its ``ag_running`` would tell, but no frame names its generator before Python 3.14.
    """
    code, place = frame.f_code.co_code, frame.f_lasti
    if _RESUME is None:
        return code[place + 2] == dis.opmap["YIELD_FROM"]
    # Python 3.13 points at RESUME itself; before, at the instruction in front of it.
    resume = next((at for at in (place, place + 2) if code[at : at + 1] == bytes([_RESUME])), None)
    return resume is not None and code[resume + 1] & _RESUME_KIND == _AFTER_AWAIT
