"""Calls something when a process ends in good order, whichever of Python's ways to end it takes."""

from __future__ import annotations

import asyncio
import atexit
import signal
import sys
from collections.abc import Callable
from typing import Any


def call_at_exit(callback: Callable[[], None]) -> None:
    """Have ``callback`` called when this process ends; it may be called more than once.

    To be asked for anew in a forked child. A process that is killed outright calls nothing.
    """
    # A forked child has inherited the hook: never have it twice.
    atexit.unregister(callback)
    atexit.register(callback)
    # Children of multiprocessing leave with os._exit(), which runs its finalizers only.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, callback, exitpriority=0)
    _call_after_uvicorn(callback)


def _call_after_uvicorn(callback: Callable[[], None]) -> None:
    """Have uvicorn, if it serves here, call back when it has answered the last request.

    Stopped by a signal, it shuts down in good order and then raises the same signal again, under its default
    handler: that ends the process at once, and no hook of Python's runs. This holds for ``uvicorn --workers``
    and for its worker class under gunicorn too.
    """
    # The server that handles the signal is the only way to find it.
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    shutdown = getattr(server, "shutdown", None)
    is_uvicorn = any(each.__module__ == "uvicorn.server" for each in type(server).__mro__)
    if not is_uvicorn or shutdown is None:
        return

    async def shutdown_and_call(*args: object, **kwargs: object) -> None:
        await shutdown(*args, **kwargs)
        # In a thread: Django refuses databases on the event loop's own.
        await asyncio.to_thread(callback)

    server.shutdown = shutdown_and_call
