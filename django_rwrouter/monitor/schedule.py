"""Deadlines of the probes under way. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

OVERSLEPT: Final = 0.25
"""Part of the timeout by which a wait may end too late. Beyond that the process itself stood still (stopped,
or starved of processor time), which is no fault of the servers."""


@dataclass(slots=True)
class _Asked:
    deadline: float
    overdue: bool = False
    passed_over: bool = False
    """Whether a round began meanwhile."""


class Schedule:
    """The probes under way. A server is not probed again before it has answered."""

    def __init__(self, timeout: float, second_chance: float) -> None:
        """Give a probe ``timeout`` seconds, and ``second_chance`` seconds after each miss."""
        self._timeout = timeout
        self._second_chance = second_chance
        self._asked: dict[str, _Asked] = {}
        self._misses: dict[str, int] = {}

    def idle(self, aliases: Iterable[str]) -> list[str]:
        """Return the servers that are not being probed."""
        return [alias for alias in aliases if alias not in self._asked]

    def begin_round(self, aliases: Iterable[str]) -> list[str]:
        """Return the servers that may be probed now, and mark the others as passed over."""
        for asked in self._asked.values():
            asked.passed_over = True
        return self.idle(aliases)

    def is_behind(self, alias: str) -> bool:
        """Whether a round has passed the server over because its probe is still under way."""
        asked = self._asked.get(alias)
        return asked is not None and asked.passed_over

    def ask(self, alias: str, now: float, timeout: float | None = None) -> None:
        """Note that a probe begins, with ``timeout`` seconds to answer."""
        self._asked[alias] = _Asked(now + (self._timeout if timeout is None else timeout))

    def answer(self, alias: str) -> bool:
        """Note that a probe has ended; return whether that was in time."""
        asked = self._asked.pop(alias)
        if not asked.overdue:
            self._misses.pop(alias, None)
        return not asked.overdue

    def overdue(self, now: float) -> list[str]:
        """Return the servers that have just missed a deadline, for the first time or again.

        A silent server misses repeatedly although it is not probed again: the probe may be an attempt to
        connect, which cannot be aborted and lasts longer than the timeout.
        """
        missed = []
        for alias, asked in self._asked.items():
            if now >= asked.deadline:
                asked.overdue = True
                asked.deadline = now + self._second_chance
                self._misses[alias] = self._misses.get(alias, 0) + 1
                missed.append(alias)
        return missed

    def misses(self, alias: str) -> int:
        """Return a server's consecutive missed deadlines."""
        return self._misses.get(alias, 0)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline, or ``None``."""
        return min((asked.deadline for asked in self._asked.values()), default=None)

    def woke(self, planned: float, now: float) -> None:
        """Restart all deadlines if this process has slept for longer than planned."""
        if now - planned > OVERSLEPT * self._timeout:
            for asked in self._asked.values():
                asked.deadline = now + self._timeout
