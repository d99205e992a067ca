"""When each server is asked, and which have not answered in time. Pure: it is told the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

OVERSLEPT: Final = 0.25
"""The part of the timeout by which a wait may end too late before that says something: the process stood
still (stopped, or starved of processor time), and the servers are not to blame for it."""


@dataclass(slots=True)
class _Asked:
    deadline: float
    overdue: bool = False
    passed_over: bool = False
    """Whether a round went by without it, as it had not answered yet."""


class Schedule:
    """The probes that are under way. A server that has not answered is not asked again until it has."""

    def __init__(self, timeout: float, second_chance: float) -> None:
        """Begin; one that has missed its ``timeout`` has ``second_chance`` seconds until it misses again."""
        self._timeout = timeout
        self._second_chance = second_chance
        self._asked: dict[str, _Asked] = {}
        self._misses: dict[str, int] = {}

    def idle(self, aliases: Iterable[str]) -> list[str]:
        """Return those that may be asked now."""
        return [alias for alias in aliases if alias not in self._asked]

    def begin_round(self, aliases: Iterable[str]) -> list[str]:
        """Return those that may be asked now, and note which the round passes over."""
        found = self.idle(aliases)
        for asked in self._asked.values():
            asked.passed_over = True
        return found

    def is_behind(self, alias: str) -> bool:
        """Whether a probe is under way for so long that a round has passed the server over."""
        asked = self._asked.get(alias)
        return asked is not None and asked.passed_over

    def ask(self, alias: str, now: float, timeout: float | None = None) -> None:
        """Note that a server is asked, and has so many seconds to answer."""
        self._asked[alias] = _Asked(now + (self._timeout if timeout is None else timeout))

    def answer(self, alias: str) -> bool:
        """Note that a probe has come to its end; return whether that was in time."""
        asked = self._asked.pop(alias)
        if not asked.overdue:
            self._misses.pop(alias, None)
        return not asked.overdue

    def overdue(self, now: float) -> list[str]:
        """Return the servers whose time has just run out, for the first time or once more.

        One that goes on saying nothing misses again and again, though it is not asked again: what waits for
        its answer may be an attempt to connect, which cannot be ended and lasts for longer than the timeout.
        """
        found = []
        for alias, asked in self._asked.items():
            if now >= asked.deadline:
                asked.overdue = True
                asked.deadline = now + self._second_chance
                self._misses[alias] = self._misses.get(alias, 0) + 1
                found.append(alias)
        return found

    def misses(self, alias: str) -> int:
        """Return how often in a row a server's time has run out."""
        return self._misses.get(alias, 0)

    def next_deadline(self) -> float | None:
        """Return when the first time runs out, if any does."""
        return min((each.deadline for each in self._asked.values()), default=None)

    def woke(self, planned: float, now: float) -> None:
        """Let the time of all begin anew if this process has slept for longer than it wanted to."""
        if now - planned > OVERSLEPT * self._timeout:
            for asked in self._asked.values():
                asked.deadline = now + self._timeout
