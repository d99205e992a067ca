"""Waiting for what comes in the end, however busy the machine is."""

import time


def until(condition, what="what the test waits for"):
    """Return what the condition says once that is true; ``what`` may be a function of what to show."""
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline, f"Not after two minutes: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found
