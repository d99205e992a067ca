"""A network that can fail: a small TCP proxy on a loopback port, in front of a server.

In Python::

    with TcpProxy(server.port) as proxy:
        url = server.url(port=proxy.port)
        proxy.stall()  # as a cable that was pulled: nobody says anything any more
        proxy.forward()  # plugged in again
"""

import contextlib
import queue
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import Final

from launcher.ports import LOOPBACK, free_port

LISTEN_ATTEMPTS: Final = 10
CHUNK: Final = 65_536
COMMAND_SECONDS: Final = 10.0
RESET_WHEN_CLOSED: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: close() sends RST in place of FIN; socket(7)."""


class Mode(Enum):
    """What becomes of connections."""

    FORWARD = "forward"
    CUT = "cut"
    RESET = "reset"
    STALL = "stall"


class _End:
    """One end of a connection that is forwarded."""

    __slots__ = ("begun", "connected", "other", "pending", "sock")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.other: _End | None = None
        self.begun = True
        """Whether it has asked its server for a connection."""
        self.connected = True
        self.pending = b""
        """What is still to be sent here. While there is some, the other end is not listened to."""


class TcpProxy:
    """Forwards connections to a port of this machine, until it is told otherwise.

    A context manager. What it is told has been done when the call returns. One thread does it all:
    a proxy whose process is busy slows its connections down.
    """

    host = LOOPBACK

    def __init__(self, target: int) -> None:
        self.port = 0
        """Where it listens; stays the same, whatever it forwards to."""
        self._target = target
        self._mode = Mode.FORWARD
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._ends: set[_End] = set()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_up, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="tcp-proxy", daemon=True)

    def __enter__(self) -> "TcpProxy":
        self._listen()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._stop)
        self._thread.join()
        for sock in (self._wake_up, self._woken):
            sock.close()
        self._selector.close()

    # --- what it is told ------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What becomes of connections now."""
        return self._mode

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._ends) // 2

    def forward(self) -> None:
        """Let everything through again; what was held back by `stall()` arrives now."""
        self._do(lambda: self._change(Mode.FORWARD))

    def cut(self) -> None:
        """Close all connections, and refuse new ones."""
        self._do(lambda: self._change(Mode.CUT))

    def reset(self) -> None:
        """Reset all connections (RST), and new ones as soon as they are made."""
        self._do(lambda: self._change(Mode.RESET))

    def stall(self) -> None:
        """Let nothing through: connections stay open and new ones are accepted, in silence."""
        self._do(lambda: self._change(Mode.STALL))

    def switch(self, target: int) -> None:
        """Lead new connections to another port. Open ones stay where they are: see `drop()`."""
        self._do(lambda: setattr(self, "_target", target))

    def drop(self) -> None:
        """Reset the connections that are open now, and nothing else."""
        self._do(lambda: self._close_all(reset=True))

    # --- in the thread --------------------------------------------------------------------

    def _do(self, command: Callable[[], None]) -> None:
        """Have something done by the thread, and wait until it is."""
        done = threading.Event()
        failures: list[Exception] = []

        def execute() -> None:
            try:
                command()
            except Exception as error:  # noqa: BLE001  (raised in the caller's thread)
                failures.append(error)
            finally:
                done.set()

        self._commands.put(execute)
        self._wake_up.send(b".")
        if not done.wait(COMMAND_SECONDS):
            raise TimeoutError(f"The proxy on port {self.port} does not react.")
        if failures:
            raise failures[0]

    def _run(self) -> None:
        while self._running:
            for key, events in self._selector.select():
                if key.fileobj is self._woken:
                    self._obey()
                elif key.data is None:
                    self._accept()
                # One that was closed while an earlier event was handled needs nothing more.
                elif key.data in self._ends:
                    self._handle(key.data, events)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(CHUNK)
        while not self._commands.empty():
            self._commands.get()()

    def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.CUT:
            self._close_listener()
            self._close_all(reset=False)
        else:
            self._listen()
        if mode is Mode.RESET:
            self._close_all(reset=True)
        for end in self._ends:
            self._attend(end)

    def _stop(self) -> None:
        self._running = False
        self._close_listener()
        self._close_all(reset=False)

    def _listen(self) -> None:
        for attempt in range(LISTEN_ATTEMPTS):
            if self._listener is not None:
                return
            listener = socket.socket()
            # Connections of before a cut may linger in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = self.port or free_port()
            try:
                listener.bind((LOOPBACK, port))
                listener.listen(1024)
            except OSError:
                listener.close()
                if self.port or attempt == LISTEN_ATTEMPTS - 1:
                    raise
                continue
            listener.setblocking(False)
            self.port, self._listener = port, listener
            self._selector.register(listener, selectors.EVENT_READ, None)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            accepted, _address = self._listener.accept()
        except OSError:  # It has left again.
            return
        if self._mode is Mode.RESET:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
            accepted.close()
            return
        client, server = _End(accepted), _End(socket.socket())
        client.other, server.other = server, client
        server.begun = server.connected = False
        self._ends |= {client, server}
        self._attend(client)
        self._attend(server)

    def _attend(self, end: _End) -> None:
        """Listen for what can be done next with one end of a connection."""
        wanted = 0
        other = end.other
        if self._mode is Mode.FORWARD and other is not None:
            if not end.connected:
                if not end.begun:
                    # "In progress": what becomes of it is known when it is writable.
                    end.sock.connect_ex((LOOPBACK, self._target))
                    end.begun = True
                wanted = selectors.EVENT_WRITE
            else:
                if other.connected and not other.pending:
                    wanted |= selectors.EVENT_READ
                if end.pending:
                    wanted |= selectors.EVENT_WRITE
        registered = self._selector.get_map().get(end.sock)
        if registered is None:
            if wanted:
                self._selector.register(end.sock, wanted, end)
        elif not wanted:
            self._selector.unregister(end.sock)
        elif registered.events != wanted:
            self._selector.modify(end.sock, wanted, end)

    def _handle(self, end: _End, events: int) -> None:
        other = end.other
        if other is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                _go_on_sending(end)
            closed = bool(events & selectors.EVENT_READ) and not _receive(end, other)
        except BlockingIOError:
            return
        except OSError:
            self._close_pair(end, reset=True)
            return
        if closed:
            self._close_pair(end, reset=False)
            return
        self._attend(end)
        self._attend(other)

    def _close_all(self, *, reset: bool) -> None:
        while self._ends:
            self._close_pair(next(iter(self._ends)), reset=reset)

    def _close_pair(self, end: _End, *, reset: bool) -> None:
        for each in (end, end.other):
            if each is None or each not in self._ends:
                continue
            self._ends.discard(each)
            if self._selector.get_map().get(each.sock) is not None:
                self._selector.unregister(each.sock)
            if reset:
                each.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
            each.sock.close()


def _go_on_sending(end: _End) -> None:
    """Finish connecting, or send what is pending. Raises OSError if there is nobody."""
    if end.connected:
        end.pending = end.pending[end.sock.send(end.pending) :]
        return
    end.sock.getpeername()  # Fails if the server has refused.
    end.connected = True


def _receive(end: _End, other: _End) -> bool:
    """Take what has come from one end, and send as much as goes to the other; False at its end."""
    if other.pending:
        return True
    data = end.sock.recv(CHUNK)
    try:
        sent = other.sock.send(data)
    except BlockingIOError:
        sent = 0
    other.pending = data[sent:]
    return bool(data)
