"""Owns all process-wide state: how it is reset, renewed in a forked child, and flushed at exit.

A module registers its global state here, next to the definition. A forked child uses nothing of its parent:
the threads do not exist there, and a lock that one of them held would never be released.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any, Final

from django.core import mail
from django.core.signals import setting_changed

_SETTING_UP: Final = frozenset(
    {"changepassword", "createsuperuser", "makemigrations", "migrate", "showmigrations", "sqlmigrate"}
)

FORK_PATIENCE: Final = 0.5
"""Seconds that a fork waits for this package's threads to come to rest."""
LEAST_PATIENCE: Final = 0.02
"""Seconds of it that each thread has, even if another has used up all."""

Callback = Callable[[], object]

_resets: Final[list[Callback]] = []
_held_by: Final[dict[int, list[threading.Lock]]] = {}
"""The locks that hold up this package's threads, by the thread that is about to fork."""
_in_child: Final[list[Callback]] = [_held_by.clear]
_at_work: Final[list[Callable[[], Iterable[threading.Lock]]]] = []
_on_change: Final[list[tuple[Callback, frozenset[str]]]] = []


def owns(reset: Callback, *, in_child: Callback | None = None, settings: Collection[str] = ()) -> None:
    """Register state that this process has learnt or counted.

    ``reset`` forgets all of it and renews its locks. It also runs in a forked child, unless ``in_child`` runs
    there instead, and when one of ``settings`` changes.
    """
    _resets.append(reset)
    _in_child.append(in_child or reset)
    if settings:
        on_change(reset, settings)


def derives(forget: Callback, settings: Collection[str]) -> None:
    """Register a cache of values derived from ``settings`` alone, which a forked child may keep."""
    _resets.append(forget)
    on_change(forget, settings)


def on_change(callback: Callback, settings: Collection[str]) -> None:
    """Have ``callback`` called when one of ``settings`` is changed, as tests do."""
    _on_change.append((callback, frozenset(settings)))


def rests_for_forks(locks: Callable[[], Iterable[threading.Lock]]) -> None:
    """Register locks under which threads work: they are held while this process forks.

    At that moment a thread could hold a lock of a library, as Django does while it opens a connection and
    Python while it imports a module: it would stay locked in the child. A thread that does not come to rest
    in time most likely waits for a server that does not answer. Each lock is taken before the next is asked
    for.
    """
    _at_work.append(locks)


def _hold_up() -> None:
    until = time.monotonic() + FORK_PATIENCE
    held = _held_by[threading.get_ident()] = []
    # Added one by one: what a signal's handler raises meanwhile must lose none. A thread that does not come
    # to rest leaves the others a moment.
    held.extend(
        lock
        for locks in _at_work
        for lock in locks()
        if lock.acquire(timeout=max(LEAST_PATIENCE, until - time.monotonic()))
    )


def _go_on() -> None:
    for lock in _held_by.pop(threading.get_ident(), ()):
        lock.release()


def reset() -> None:
    """Reset everything, as in a new process. For tests."""
    _call_all(_resets)


def in_test_environment() -> bool:
    """Whether Django's ``setup_test_environment()`` is in force: it alone creates ``mail.outbox``."""
    return hasattr(mail, "outbox")


def is_setting_up() -> bool:
    """Whether this process runs a command of Django's that prepares a site rather than serves it."""
    return sys.argv[1:2] != [] and sys.argv[1] in _SETTING_UP


def _call_all(callbacks: Collection[Callback]) -> None:
    for callback in callbacks:
        callback()


def changed(*, setting: str, **_kwargs: object) -> None:
    """Call what was registered for a setting that has changed, or for what counts as a part of it."""
    for callback, settings in _on_change:
        if setting in settings:
            callback()


setting_changed.connect(changed, dispatch_uid="django_rwrouter.process")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_up, after_in_parent=_go_on, after_in_child=partial(_call_all, _in_child))


# --- the end of a process ----------------------------------------------------------------------


def call_at_exit(callback: Callable[[], None]) -> None:
    """Have ``callback`` called when this process ends, perhaps more than once.

    A forked child has to register it again. A process that is killed (``SIGKILL``) calls nothing.
    """
    # A forked child has inherited the hook: do not register it twice.
    atexit.unregister(callback)
    atexit.register(callback)
    # Children of multiprocessing end with os._exit() and run only its own finalizers.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, callback, exitpriority=0)
    _call_after_uvicorn(callback)


def _call_after_uvicorn(callback: Callable[[], None]) -> None:
    """Have uvicorn, if it serves this process, call back when it has answered the last request.

    After a signal it shuts down in good order and then raises the same signal under its default handler,
    which ends the process before any exit hook runs; also under ``uvicorn --workers`` and as gunicorn's
    worker class.
    """
    # Its server object can only be found as the owner of the signal handler.
    server: Any = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    shutdown = getattr(server, "shutdown", None)
    is_uvicorn = any(base.__module__ == "uvicorn.server" for base in type(server).__mro__)
    if not is_uvicorn or shutdown is None:
        return

    async def shutdown_and_call(*args: object, **kwargs: object) -> None:
        await shutdown(*args, **kwargs)
        # In a thread: Django refuses database access on the event loop.
        await asyncio.to_thread(callback)

    server.shutdown = shutdown_and_call
