"""What a database server on this machine is, of whatever make."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from launcher.ports import LOOPBACK, free_port
from launcher.process import ServerError, ServerProcess, SystemUser
from launcher.watchdog import Watchdog

SOCKET_PATH_LIMIT = 107
"""Bytes that the path of a Unix socket may have; unix(7)."""

START_ATTEMPTS = 10
"""On how many ports a new server tries to listen, if others are quicker."""

Row = tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the application connects with."""

    user: str
    password: str
    database: str


class Server(ABC):
    """A server with a data folder, a port and a Unix socket of its own, on 127.0.0.1.

    `folder` holds its settings, `data` and `log`. The port is chosen at the first start and stays
    the same after that.
    """

    host = LOOPBACK
    scheme: ClassVar[str]
    """How URLs of such a database begin."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """Asks it to shut down, without waiting for its clients to leave."""
    passing_troubles: ClassVar[Sequence[str]] = ("Address already in use",)
    """What the log of a server says that failed to start, and may succeed in a moment."""

    def __init__(
        self,
        folder: Path,
        *,
        socket: Path,
        account: Account,
        watchdog: Watchdog,
        system_user: SystemUser | None = None,
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.port = 0
        self.socket = socket
        self.data = folder / "data"
        self.log = folder / "log"
        self.account = account
        self._watchdog = watchdog
        self._system_user = system_user
        self._process: ServerProcess | None = None
        if len(os.fsencode(self.socket)) > SOCKET_PATH_LIMIT:
            raise ServerError(
                f"{self.socket} is too long a path for a Unix socket "
                f"(at most {SOCKET_PATH_LIMIT} bytes): set TMPDIR to a folder nearer to the root."
            )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} on {self.host}:{self.port}>"

    # --- what each make does its own way --------------------------------------------------

    @property
    @abstractmethod
    def administration(self) -> str:
        """A command line that opens a session as administrator."""

    @abstractmethod
    def sql(self, statements: str, *, timeout: float = 30.0) -> list[Row]:
        """Run statements as administrator, in a session of their own, and return their rows.

        All values are text; NULL is None. Raises ServerError with the server's message when a
        statement fails or the server is away, and TimeoutError if it has not answered after
        `timeout` seconds (it is frozen, or waits for a lock).
        """

    @abstractmethod
    def replication_status(self) -> dict[str, str | None]:
        """What the server says of its replication; empty if it follows no other."""

    @abstractmethod
    def _command(self, port: int) -> Sequence[str]:
        """The command that starts it in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether clients can connect."""

    # --- the process ----------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process id. Raises ServerError while it is not running."""
        return self._running().pid

    def is_running(self) -> bool:
        """Whether the process lives, frozen or not."""
        return self._process is not None and self._process.is_running()

    def start(self, timeout: float = 30.0) -> None:
        """Start it and return when it answers; a replica goes on replicating by itself.

        Raises ServerError, with the end of its log, if it has not come up after `timeout` seconds.
        """
        if self.is_running():
            raise ServerError(f"{self} runs already.")
        self.kill()  # what is left of a crashed one may still hold its files
        deadline = time.monotonic() + timeout
        chosen = self.port != 0
        for _ in range(START_ATTEMPTS):
            port = self.port if chosen else free_port()
            self._process = process = ServerProcess(
                self._command(port),
                log=self.log,
                watchdog=self._watchdog,
                user=self._system_user,
            )
            if self._comes_up(process, deadline):
                self.port = port
                return
            process.kill()
            log = process.log()
            if not any(trouble in log for trouble in self.passing_troubles):
                break
            if chosen:  # whoever has our port may be about to leave it
                time.sleep(0.2)
        raise ServerError(f"{self.name} did not start. The end of its log:\n{self.log_tail()}")

    def stop(self) -> None:
        """Shut it down in good order. Nothing happens if it is not running."""
        if self._process is not None:
            self._process.stop(with_signal=self.stop_signal)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()

    def discard(self) -> None:
        """End it quickly; nobody will miss its data."""
        self.kill()

    def freeze(self) -> None:
        """Let it hang (SIGSTOP) until `thaw()`: connections succeed or stay open, unanswered."""
        self._running().freeze()

    def thaw(self) -> None:
        """Let it go on after `freeze()` (SIGCONT)."""
        self._running().thaw()

    def _running(self) -> ServerProcess:
        if self._process is None or not self._process.is_running():
            raise ServerError(f"{self} is not running.")
        return self._process

    def log_tail(self) -> str:
        """The last lines of what it has logged since it started, for an error message."""
        return "" if self._process is None else self._process.log_tail()

    def _comes_up(self, process: ServerProcess, deadline: float) -> bool:
        while process.is_running() and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.01)
        return False

    # --- the application's connections ----------------------------------------------------

    def url(self, database: str | None = None, *, port: int | None = None) -> str:
        """`scheme://user:password@127.0.0.1:port/database`, the application's, for django-environ.

        Without arguments, the database that the cluster was made with, and the server's own port;
        another one is that of a proxy in front of it (see tcp_proxy.py).
        """
        account = self.account
        name = account.database if database is None else database
        user, password = quote(account.user, safe=""), quote(account.password, safe="")
        address = f"{self.host}:{self.port if port is None else port}"
        return f"{self.scheme}://{user}:{password}@{address}/{quote(name, safe='')}"
