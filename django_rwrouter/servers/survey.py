"""Ask all servers at once, each on a private connection and in a thread of its own, until a deadline.

A server that is down, frozen or refuses costs the others nothing, and is reported as such: for commands, for
pages, and for exporters in a process without a monitor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import events, process
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced

T = TypeVar("T")


class _Inquiry(Generic[T]):
    """One server being asked, in a thread of its own."""

    def __init__(self, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float) -> None:
        self.alias = alias
        self.outcome: T | Exception = TimeoutError()
        self._ask = ask
        self._timeout = timeout
        # A daemon: one that a server keeps waiting for ever must not keep the process.
        self.thread = threading.Thread(target=self._run, name=f"rwrouter-survey-{alias}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with silenced(), closing(own_connection(self.alias, self._timeout)) as connection:
                self.outcome = self._ask(connection)
        except Exception as error:  # noqa: BLE001  (for the caller to report, not for a thread to die of)
            self.outcome = error


_inquiries: Final[dict[tuple[str, str], _Inquiry[Any]]] = {}
"""By topic and alias, the last inquiry of those that are shared."""
_lock = threading.Lock()


def _reset() -> None:
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _inquiries.clear()


process.owns(_reset)


def survey(
    aliases: Collection[str],
    ask: Callable[[BaseDatabaseWrapper], T],
    *,
    timeout: float,
    deadline: float,
    topic: str = "",
) -> Mapping[str, T | Exception]:
    """Ask servers at the same time, and return by alias what ``ask`` returned, or raised.

    ``ask`` gets a private connection that is not open yet. ``timeout`` seconds bound what its driver can
    bound; after ``deadline`` seconds in all, whoever has not answered is reported as a ``TimeoutError``. With
    a ``topic``, a server that has not answered the last question of that topic is not asked another: however
    many people look, and however often, a frozen one costs one thread.
    """
    end = monotonic() + deadline
    if topic:
        with _lock:
            inquiries = [_shared(topic, alias, ask, timeout) for alias in aliases]
    else:
        inquiries = [_Inquiry(alias, ask, timeout) for alias in aliases]
    for inquiry in inquiries:
        inquiry.thread.join(max(0.0, end - monotonic()))
    return {inquiry.alias: inquiry.outcome for inquiry in inquiries}


def _shared(topic: str, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float) -> _Inquiry[T]:
    inquiry = _inquiries.get((topic, alias))
    if inquiry is None or not inquiry.thread.is_alive():
        inquiry = _inquiries[topic, alias] = _Inquiry(alias, ask, timeout)
    return inquiry


def in_words(error: Exception) -> str:
    """Return a few words for what ``ask`` raised: of errors that are not Django's, not even the code."""
    return events.why(error) if isinstance(error, Error) else type(error).__name__


@contextmanager
def plain_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open a cursor of the driver's own on a private connection."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        yield cursor
