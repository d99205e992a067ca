"""The sockets under driver connections: shut down from another thread, or detached after a fork."""

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
"""By alias and ``id()``, the Django connections that were opened in this process."""


def note_opened(connection: BaseDatabaseWrapper) -> None:
    """Register an open connection, so that :func:`sever_all` finds it."""
    remember(connection.connection)
    key, of_alias = id(connection), _opened.setdefault(connection.alias, {})
    if key not in of_alias:
        of_alias[key] = ref(connection, lambda _gone: of_alias.pop(key, None))


def openers(alias: str) -> list[BaseDatabaseWrapper]:
    """Return the Django connections that were opened to a database; some may be closed by now."""
    references = list(_opened.get(alias, {}).values())
    return [connection for reference in references if (connection := reference()) is not None]


def sever_all(alias: str, spare: Collection[BaseDatabaseWrapper] = ()) -> list[BaseDatabaseWrapper]:
    """Shut down the connections to an unreachable database, but for ``spare``; return which were shut down.

    A thread that waits on one gets the error of a lost connection. An idle one is found dead by its next user
    at once, where a ping would have hung.
    """
    return [
        connection
        for connection in openers(alias)
        if connection not in spare and connection.connection is not None and sever(connection.connection)
    ]


def retire_all(alias: str) -> None:
    """Have Django close the connections to a database when their next request begins.

    Used when the address leads to another server. Each is closed in its own thread; nothing is interrupted.
    """
    for connection in openers(alias):
        connection.close_at = 0.0


def reset() -> None:
    """Forget all connections, as in a forked child: they belong to the parent."""
    _opened.clear()


process.owns(reset)


def remember(raw: Any) -> None:
    """Keep the file descriptor of a new connection: mysqlclient refuses it while a thread waits on it."""
    with suppress(Exception):  # Not every driver has a descriptor, or takes an attribute.
        setattr(raw, _NUMBER, raw.fileno())


def sever(raw: Any, wanted: Callable[[], bool] = lambda: True) -> bool:
    """Shut down a driver's connection, whichever thread waits on it; return whether that worked.

    The waiting thread gets the error of a lost connection. ``wanted`` is called at the last moment and may
    still say no. Never raises: the connection may be closing at the same time.
    """
    try:
        number = _number(raw)
        if number is None:
            return False
        with closing(socket.socket(fileno=os.dup(number))) as twin:
            # The descriptor may have been closed and reused before it was duplicated. It was not if this
            # connection is still open and still has it.
            if _number(raw) != number or not wanted():
                return False
            twin.shutdown(socket.SHUT_RDWR)
    except Exception:  # noqa: BLE001  (each driver has its own way to say that it is closed)
        return False
    return True


@dataclass(frozen=True, slots=True)
class Peer:
    """The address that a connection's socket is connected to, whatever host name the settings have."""

    family: int
    address: Any

    def answers(self, hello: bytes, timeout: float) -> bool:
        """Whether a new TCP connection gets at least a byte in answer to ``hello`` within the timeout.

        There is no login, no statement and no pool, so a busy server and a full pooler answer all the same.
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
    """Return the peer of a driver's open connection; ``None`` if it has no socket. Never raises."""
    try:
        number = _number(raw)
        if number is None:
            return None
        with closing(socket.socket(fileno=os.dup(number))) as twin:
            return Peer(twin.family, twin.getpeername())
    except Exception:  # noqa: BLE001  (each driver has its own way to say that it is closed)
        return None


def disarm(raw: Any) -> None:
    """Point a connection that a fork has copied at ``/dev/null`` in this process.

    Closing it here would otherwise end the parent's session on the server.
    """
    with suppress(Exception):  # As in sever().
        number = _number(raw)
        if number is not None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number, inheritable=False)
            os.close(nowhere)


def _number(raw: Any) -> int | None:
    """Return the file descriptor of an open connection; raises the driver's error for a closed one."""
    holder = raw if hasattr(raw, "fileno") else _held_socket(raw)
    if holder is None:
        return None
    try:
        number: int = holder.fileno()
    except Exception as error:
        # mysqlclient (2.2.5): "already in use from another thread". So it is open, with the same descriptor.
        if type(error).__name__ != "ProgrammingError":
            raise
        return getattr(raw, _NUMBER, None)
    return number


def _held_socket(raw: Any) -> socket.socket | None:
    """Return the socket of a driver written in Python: its connection holds it, or an object there does."""
    for holder in (raw, *vars(raw).values()):
        for value in getattr(holder, "__dict__", {}).values():
            if isinstance(value, socket.socket):
                return value
    return None
