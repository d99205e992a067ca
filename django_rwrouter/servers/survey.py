"""Survey all servers at once, each on a private connection in a thread of its own, until a deadline.

A server that is down, frozen or refuses does not delay the others and is reported as such. Used by commands,
admin pages, and exporters in processes without a monitor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced

T = TypeVar("T")


class _Inquiry(Generic[T]):
    """A question to one server, asked in a thread of its own."""

    def __init__(self, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float) -> None:
        self.alias = alias
        self.outcome: T | Exception = TimeoutError()
        self._ask = ask
        self._timeout = timeout
        # A daemon thread: a server that never answers must not keep the process from ending.
        self.thread = threading.Thread(target=self._run, name=f"rwrouter-survey-{alias}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with silenced(), closing(own_connection(self.alias, self._timeout)) as connection:
                self.outcome = self._ask(connection)
        except Exception as error:  # noqa: BLE001  (the caller reports it)
            self.outcome = error


_inquiries: Final[dict[tuple[str, str], _Inquiry[Any]]] = {}
"""The last shared inquiry, by topic and alias."""
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
    """Ask several servers at the same time; return by alias what ``ask`` returned or raised.

    ``ask`` is called with a private connection that is not open yet, whose driver's own timeouts are
    ``timeout`` seconds. A server that has not answered after ``deadline`` seconds is reported as a
    ``TimeoutError``. With a ``topic``, callers share an inquiry that is still running: a frozen server then
    costs one thread, however many people look.
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


@contextmanager
def plain_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open the driver's own cursor on a private connection."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        yield cursor
