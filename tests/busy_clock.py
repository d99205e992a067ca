"""A clock that stands still while a busy machine has no processor for this process.

For assertions that something took no longer than promised. That it took as long as promised at least is what
`time.monotonic()` tells.
"""

import threading
from time import monotonic, sleep

TICK = 0.02
"""Seconds between two looks at the time; what is longer than twice that was spent waiting for a processor."""


class BusyClock:
    """Seconds since an unknown begin; call it."""

    def __init__(self):
        self._lost = 0.0
        self._at = monotonic()
        self._lock = threading.Lock()
        self._thread = None

    def __call__(self):
        with self._lock:
            if self._thread is None:
                self._at = monotonic()
                self._thread = threading.Thread(target=self._tick, name="busy-clock", daemon=True)
                self._thread.start()
            return self._look()

    def _tick(self):
        while True:
            sleep(TICK)
            with self._lock:
                self._look()

    def _look(self):
        now = monotonic()
        self._lost += max(0.0, now - self._at - 2 * TICK)
        self._at = now
        return now - self._lost


busy_clock = BusyClock()
