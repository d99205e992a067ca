"""Surveys all servers at once, each on a private connection in its own thread, until a deadline.

A server that is down, frozen or refuses does not delay the others and is reported as such. Used by commands,
admin pages, and exporters in processes without a monitor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from typing import Any, Final, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.databases.private_connections import own_connection
from django_rwrouter.scope.context import silenced

T = TypeVar("T")


_inquiries: Final[dict[tuple[str, str], Future[Any]]] = {}
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
    with _lock:
        inquiries = {alias: _inquiry(topic, alias, ask, timeout) for alias in aliases}
    wait(inquiries.values(), deadline)
    return {
        alias: inquiry.result() if inquiry.done() else TimeoutError() for alias, inquiry in inquiries.items()
    }


def _inquiry(
    topic: str, alias: str, ask: Callable[[BaseDatabaseWrapper], T], timeout: float
) -> Future[T | Exception]:
    """Return the running inquiry of that topic, if any, or ask in a thread of its own."""
    running = _inquiries.get((topic, alias))
    if running is not None and not running.done():
        return running
    inquiry: Future[T | Exception] = Future()

    def run() -> None:
        outcome: T | Exception
        try:
            with silenced(), closing(own_connection(alias, timeout)) as connection:
                outcome = ask(connection)
        except Exception as error:  # noqa: BLE001  (the caller reports it)
            outcome = error
        except BaseException as error:
            inquiry.set_exception(error)  # Else callers would share it for ever.
            raise
        inquiry.set_result(outcome)

    # A daemon thread: a server that never answers must not keep the process from ending.
    threading.Thread(target=run, name=f"rwrouter-survey-{alias}", daemon=True).start()
    if topic:
        _inquiries[topic, alias] = inquiry
    return inquiry


@contextmanager
def plain_cursor(connection: BaseDatabaseWrapper) -> Iterator[Any]:
    """Open the driver's own cursor on a private connection."""
    connection.ensure_connection()
    with connection.wrap_database_errors, closing(connection.connection.cursor()) as cursor:
        yield cursor
