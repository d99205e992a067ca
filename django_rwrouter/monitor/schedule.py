"""Deadlines of the probes under way. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

OVERSLEPT: Final = 0.25
"""Part of the timeout by which a wait may end too late. Beyond that the process itself stood still (stopped,
or starved of processor time), which is no fault of the servers."""


@dataclass(slots=True)
class Turn:
    """The probe of one server that is under way, if any. It is not probed again before it has answered."""

    deadline: float | None = None
    """``None`` while it is not being probed."""
    is_late: bool = False
    is_passed_over: bool = False
    """Whether a round began meanwhile."""
    misses: int = 0
    """Consecutive missed deadlines."""
    was_unreachable: bool = False
    """Whether the last new connection could not reach the server."""

    def begin(self, deadline: float) -> None:
        """Note that a probe begins."""
        self.deadline, self.is_late, self.is_passed_over = deadline, False, False

    def end(self) -> bool:
        """Note that the probe has ended; return whether that was in time."""
        self.deadline = None
        self.misses = self.misses if self.is_late else 0
        return not self.is_late

    def is_out_of_reach(self, *, unreachable: bool) -> bool:
        """Take note of a new connection; return whether what hangs on the server may be cut off.

        A failed probe alone proves nothing about other statements: it may have waited for a place in a
        pooler, for a lock, or for the processor, while they go on.
        """
        before, self.was_unreachable = self.was_unreachable, unreachable
        return unreachable and (before or self.misses > 0)

    def miss(self, now: float, second_chance: float) -> bool:
        """Return whether the server has just missed a deadline, for the first time or again.

        A silent server misses repeatedly although it is not probed again: the probe may be an attempt to
        connect, which cannot be aborted and lasts longer than the timeout.
        """
        if self.deadline is None or now < self.deadline:
            return False
        self.is_late, self.deadline = True, now + second_chance
        self.misses += 1
        return True


def next_deadline(turns: Collection[Turn], otherwise: float) -> float:
    """Return the earliest deadline, or ``otherwise`` if that is earlier."""
    return min([otherwise, *(turn.deadline for turn in turns if turn.deadline is not None)])


def woke(turns: Collection[Turn], planned: float, now: float, timeout: float) -> None:
    """Restart all deadlines if this process has slept for longer than planned."""
    if now - planned > OVERSLEPT * timeout:
        for turn in turns:
            if turn.deadline is not None:
                turn.deadline = now + timeout
