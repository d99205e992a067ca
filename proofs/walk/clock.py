"""A clock that stands still until it is put forward, so that a walk can be repeated exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

STEP = 1e-6
"""Seconds that pass with each look, so that no two are the same."""


class Clock:
    """The time of this process, once it is installed."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.asleep: Callable[[], None] = lambda: None
        """What happens while somebody sleeps."""
        self._unix = time.time()
        self._monotonic = time.monotonic()

    def advance(self, seconds: Any) -> None:
        """Let time pass."""
        self.seconds += float(seconds)

    def sleep(self, seconds: Any) -> None:
        """Stand in for ``time.sleep()``."""
        self.advance(seconds)
        self.asleep()

    def unix(self) -> float:
        """Stand in for ``time.time()``."""
        self.seconds += STEP
        return self._unix + self.seconds

    def monotonic(self) -> float:
        """Stand in for ``time.monotonic()``."""
        self.seconds += STEP
        return self._monotonic + self.seconds

    def install(self) -> None:
        """Take the place of the real clock, for modules that are imported from now on."""
        time.time = self.unix
        time.monotonic = self.monotonic
        time.sleep = self.sleep
