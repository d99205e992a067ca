"""The sockets under drivers' connections: shut down from another thread, or cut loose after a fork."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from django_rwrouter import process

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

_NUMBER: Final = "_rwrouter_socket"
_opened: Final[dict[str, dict[int, ref[BaseDatabaseWrapper]]]] = {}
"""By alias, and by ``id()``: the objects that have opened connections in this process."""


def note_opened(connection: BaseDatabaseWrapper) -> None:
    """Note who has opened a connection, so that :func:`sever_all` finds it."""
    remember(connection.connection)
    key, of_alias = id(connection), _opened.setdefault(connection.alias, {})
    if key not in of_alias:
        of_alias[key] = ref(connection, lambda _gone: of_alias.pop(key, None))


def openers(alias: str) -> list[BaseDatabaseWrapper]:
    """Return the objects that have opened connections to a database; some have closed theirs again."""
    references = list(_opened.get(alias, {}).values())
    return [connection for reference in references if (connection := reference()) is not None]


def sever_all(alias: str, spare: Collection[BaseDatabaseWrapper] = ()) -> int:
    """Shut down the connections to a database that cannot be reached; return how many there were.

    Whoever waits on one meets the error of a lost connection; one that nobody uses now is found dead by its
    next user at once, where its ping would have waited, too. Those to ``spare`` are left as they are.
    """
    severed = 0
    for connection in openers(alias):
        raw = None if connection in spare else connection.connection
        if raw is not None:
            severed += sever(raw)
    return severed


def retire_all(alias: str) -> None:
    """Let connections to a database be closed when their next request begins: they lead to another server.

    By Django itself, in the thread that they belong to; nobody is interrupted.
    """
    for connection in openers(alias):
        connection.close_at = 0.0


def reset() -> None:
    """Forget all connections, as in a forked child: those of the parent are none of its business."""
    _opened.clear()


process.owns(reset)


def remember(raw: Any) -> None:
    """Note the number of a new connection's socket: mysqlclient does not tell while a thread waits on it."""
    with suppress(Exception):  # Not every driver has a number to tell, or room for a note.
        setattr(raw, _NUMBER, raw.fileno())


def sever(raw: Any, wanted: Callable[[], bool] = lambda: True) -> bool:
    """Shut down a driver's connection, whichever thread waits on it; tell whether that could be done.

    That ends the wait with the error of a lost connection. ``wanted`` is asked at the last moment. Never
    raises: the connection may be closing at the same time.
    """
    try:
        number = _number(raw)
        if number is None:
            return False
        twin = socket.socket(fileno=os.dup(number))
        with closing(twin):
            # The number may have passed to another connection before it was doubled. It has not if this one
            # is open still, and has it still.
            if _number(raw) != number or not wanted():
                return False
            twin.shutdown(socket.SHUT_RDWR)
    except Exception:  # noqa: BLE001  (each driver has its own way to say that it is closed)
        return False
    return True


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a connection leads to: what a socket is connected to, whatever names stand in the settings."""

    family: int
    address: Any

    def answers(self, hello: bytes, timeout: float) -> bool:
        """Whether a new, bare connection gets so much as a byte in answer to ``hello`` within the timeout.

        No login, no statement, no pool: a busy server and a pooler whose pool is full answer all the same.
        """
        try:
            with socket.socket(self.family, socket.SOCK_STREAM) as bare:
                bare.settimeout(timeout)
                bare.connect(self.address)
                bare.sendall(hello)
                return bool(bare.recv(1))
        except OSError:
            return False


def peer_of(raw: Any) -> Peer | None:
    """Return where a driver's open connection leads to; ``None`` where that cannot be seen. Never raises."""
    try:
        number = _number(raw)
        if number is None:
            return None
        with closing(socket.socket(fileno=os.dup(number))) as twin:
            return Peer(twin.family, twin.getpeername())
    except Exception:  # noqa: BLE001  (each driver has its own way to say that it is closed)
        return None


def disarm(raw: Any) -> None:
    """Let a connection that a fork has copied lead nowhere in this process.

    Whatever closes it here would tell the server goodbye in the name of the parent, who still uses it.
    """
    with suppress(Exception):  # As in sever().
        number = _number(raw)
        if number is not None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number, inheritable=False)
            os.close(nowhere)


def _number(raw: Any) -> int | None:
    """Return the number of an open connection's socket; raises the driver's error for a closed one."""
    try:
        number: int = raw.fileno()
    except Exception as error:
        # mysqlclient (2.2.5): "already in use from another thread". So it is open, and is what it was.
        if type(error).__name__ != "ProgrammingError":
            raise
        return getattr(raw, _NUMBER, None)
    return number
