"""The one owner of process-wide state: how it begins anew, what a fork does to it, what is left for the exit.

A module that keeps state in a global registers it here, beside where it is defined. A forked child uses
nothing of its parent: the threads are not there, and a lock that one of them held would never be released.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
from collections.abc import Callable, Collection
from typing import Any, Final

from django.core import mail
from django.core.signals import setting_changed

_SETTING_UP: Final = frozenset(
    {"changepassword", "createsuperuser", "makemigrations", "migrate", "showmigrations", "sqlmigrate"}
)

Callback = Callable[[], object]

_resets: Final[list[Callback]] = []
_in_child: Final[list[Callback]] = []
_before_fork: Final[list[Callback]] = []
_in_parent: Final[list[Callback]] = []
_on_change: Final[list[tuple[Callback, frozenset[str]]]] = []


def owns(reset: Callback, *, in_child: Callback | None = None, settings: Collection[str] = ()) -> None:
    """Register state that was learnt or counted in this process.

    ``reset`` forgets all of it and renews its locks; it runs in a forked child, too, unless ``in_child`` does
    that in another way. If one of ``settings`` changes, ``reset`` runs as well.
    """
    _resets.append(reset)
    _in_child.append(in_child or reset)
    if settings:
        on_change(reset, settings)


def derives(forget: Callback, settings: Collection[str]) -> None:
    """Register a cache of what follows from ``settings`` alone: a forked child may go on using it."""
    _resets.append(forget)
    on_change(forget, settings)


def on_change(callback: Callback, settings: Collection[str]) -> None:
    """Have ``callback`` called when one of ``settings`` is changed, as tests do."""
    _on_change.append((callback, frozenset(settings)))


def around_fork(before: Callback, in_parent: Callback) -> None:
    """Have ``before`` called when this process is about to fork, and ``in_parent`` afterwards.

    For threads that could hold a lock of a library at that moment, which no child could ever release.
    """
    _before_fork.append(before)
    _in_parent.append(in_parent)


def reset() -> None:
    """Begin anew, as in a new process. For tests."""
    for callback in _resets:
        callback()


def in_test_environment() -> bool:
    """Whether Django's ``setup_test_environment()`` is in force: nothing else makes this list."""
    return hasattr(mail, "outbox")


def is_setting_up() -> bool:
    """Whether this process runs a command of Django's that prepares a site rather than serves it."""
    return sys.argv[1:2] != [] and sys.argv[1] in _SETTING_UP


def _call_all(callbacks: Collection[Callback]) -> Callable[[], None]:
    def call() -> None:
        for callback in callbacks:
            callback()

    return call


def _setting_changed(*, setting: str, **_kwargs: object) -> None:
    for callback, settings in _on_change:
        if setting in settings:
            callback()


setting_changed.connect(_setting_changed, dispatch_uid="django_rwrouter.process")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_call_all(_before_fork),
        after_in_parent=_call_all(_in_parent),
        after_in_child=_call_all(_in_child),
    )


# --- the end of a process ----------------------------------------------------------------------


def call_at_exit(callback: Callable[[], None]) -> None:
    """Have ``callback`` called when this process ends, by whichever of Python's ways; perhaps more than once.

    To be registered anew in a forked child. A process that is killed outright calls nothing.
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
    is_uvicorn = any(base.__module__ == "uvicorn.server" for base in type(server).__mro__)
    if not is_uvicorn or shutdown is None:
        return

    async def shutdown_and_call(*args: object, **kwargs: object) -> None:
        await shutdown(*args, **kwargs)
        # In a thread: Django refuses databases on the event loop's own.
        await asyncio.to_thread(callback)

    server.shutdown = shutdown_and_call
