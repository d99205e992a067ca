"""This process's counts, and the functions that add to them and have them written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.stats.counters import Counters
from django_rwrouter.stats.flusher import Flusher
from django_rwrouter.stats.sums import ServerEntry

_counters: Final = Counters()
_flusher: Final = Flusher(_counters)
count_statement = _counters.count_statement
"""Count one statement of ``operation`` ``"read"`` or ``"write"``; thread-safe."""
count_event = _counters.count_event
"""Count one event by its name and subject; thread-safe."""
note_event = _counters.note_event
"""Count an event that people want to see one by one, with its time and a few words of detail."""
note_lag = _counters.note_lag
"""Keep how many seconds a replica is behind; nothing where that is not known."""


def describe_servers_with(describe: Callable[[], Iterable[ServerEntry]]) -> None:
    """Have ``describe`` called before each flush, for what the process knows of its servers at that time.

    It returns for each: alias, role, state, since (unix time), why, lag (seconds or ``None``) and position.
    It must not block.
    """
    _flusher.describe = describe


def start() -> None:
    """See to it that the counts are written: called wherever a request, a task or a scope begins.

    Does nothing where that is done already, where ``STATS["BACKEND"]`` is ``"off"``, and in Django's test
    environment, where a thread that writes would meet the tests' transactions.
    """
    if not _flusher.started:
        _flusher.start()


def flush(*, ending: bool = False) -> None:
    """Write now what has been counted and not been written. Never raises; failures are logged.

    Inside ``atomic()`` on the same database the rows become part of that transaction. A process that is
    ``ending`` says that it will not write these rows again; it may count on all the same.
    """
    _flusher.flush(ending=ending)


def reset() -> None:
    """Forget all counts, and start again as in a new process. For tests."""
    _counters.reset()
    _flusher.forget()


def _after_fork() -> None:
    """Count from zero, under another key: what the parent counted, the parent writes."""
    _counters.reset()
    _flusher.renew()


process.owns(reset, in_child=_after_fork)
process.on_change(_flusher.forget, [SETTING])
process.rests_for_forks(lambda: [_flusher.writing])
