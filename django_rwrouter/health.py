"""Which replicas have failed lately, as this process knows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from time import monotonic
from typing import Final

RETRY_SECONDS: Final = 5.0
"""How long a replica that failed is left alone."""


class Health:
    """Replicas that are left alone after a failure.

    When its pause is over, one caller tries the replica, and the pause begins anew for all others until
    that trial has succeeded: a frozen server then costs one request its ``connect_timeout``, not all.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def unusable(self) -> Collection[str]:
        """Return the aliases to leave alone now."""
        if not self._until:  # The usual case, on the path of every read.
            return ()
        now = self._clock()
        return {alias for alias, until in list(self._until.items()) if now < until}

    def begin_trial(self, alias: str) -> bool:
        """Whether the caller may try the replica now."""
        if alias not in self._until:
            return True
        with self._lock:
            now = self._clock()
            if now < self._until.get(alias, now):
                return False
            self._until[alias] = now + RETRY_SECONDS
            return True

    def failed(self, alias: str) -> None:
        """Leave the replica alone for a while."""
        with self._lock:
            self._until[alias] = self._clock() + RETRY_SECONDS

    def works(self, alias: str) -> None:
        """Take the replica back."""
        if alias in self._until:
            with self._lock:
                self._until.pop(alias, None)

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._until.clear()


health: Final = Health()
"""What this process knows."""
