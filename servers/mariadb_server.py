"""One MariaDB server on this machine."""

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from servers.mariadb_data import SERVER_PACKAGES, run_as
from servers.ports import LOOPBACK, free_port, is_greeting
from servers.process import ServerError, ServerProcess
from servers.programs import find_program
from servers.watchdog import Watchdog

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


class MariaDBServer:
    """A server with a data folder, a port and a Unix socket of its own, on 127.0.0.1.

    `folder` holds its settings (`my.cnf`), `data` and `log`. The port is chosen at the first start
    and stays the same after that.
    """

    host = LOOPBACK

    def __init__(
        self,
        folder: Path,
        *,
        socket: Path,
        server_id: int,
        account: Account,
        watchdog: Watchdog,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.name = folder.name
        self.server_id = server_id
        self.port = 0
        self.socket = socket
        self.settings = folder / "my.cnf"
        self.data = folder / "data"
        self.log = folder / "log"
        self._account = account
        self._watchdog = watchdog
        self._command = [
            find_program("mariadbd", packages=SERVER_PACKAGES),
            f"--defaults-file={self.settings}",
            *run_as(),
            f"--server-id={server_id}",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={folder / 'pid'}",
            f"--bind-address={LOOPBACK}",
            *options,
        ]
        self._client = [
            find_program("mariadb", packages=SERVER_PACKAGES),
            "--no-defaults",
            f"--socket={self.socket}",
            "--user=root",
            "--skip-password",
            "--default-character-set=utf8mb4",
            "--batch",
            "--binary-mode",
            "--skip-reconnect",
        ]
        self._process: ServerProcess | None = None
        if len(os.fsencode(self.socket)) > SOCKET_PATH_LIMIT:
            raise ServerError(
                f"{self.socket} is too long a path for a Unix socket "
                f"(at most {SOCKET_PATH_LIMIT} bytes): set TMPDIR to a folder nearer to the root."
            )

    def __repr__(self) -> str:
        return f"<MariaDBServer {self.name} on {self.host}:{self.port}>"

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
                [*self._command, f"--port={port}"], log=self.log, watchdog=self._watchdog
            )
            if self._comes_up(process, deadline):
                self.port = port
                return
            process.kill()
            if "Address already in use" not in process.log():
                break
            if chosen:  # whoever has our port may be about to leave it
                time.sleep(0.2)
        raise ServerError(f"{self.name} did not start. The end of its log:\n{self._log_tail()}")

    def stop(self) -> None:
        """Shut it down in good order. Nothing happens if it is not running."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL). Nothing happens if it is not running."""
        if self._process is not None:
            self._process.kill()

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

    def _log_tail(self) -> str:
        return "" if self._process is None else self._process.log_tail()

    def _comes_up(self, process: ServerProcess, deadline: float) -> bool:
        while process.is_running() and time.monotonic() < deadline:
            if is_greeting(self.socket):
                return True
            time.sleep(0.01)
        return False

    # --- connections ----------------------------------------------------------------------

    def url(self, database: str | None = None) -> str:
        """`mysql://user:password@127.0.0.1:port/database`, the application's, for django-environ.

        Without an argument, the database that the cluster was made with.
        """
        account = self._account
        name = account.database if database is None else database
        user, password = quote(account.user, safe=""), quote(account.password, safe="")
        return f"mysql://{user}:{password}@{self.host}:{self.port}/{quote(name, safe='')}"

    def sql(self, statements: str, *, timeout: float = 30.0) -> list[Row]:
        """Run statements as administrator, in a session of their own, and return their rows.

        All values are text; NULL is None, and so is the text "NULL". Raises ServerError with the
        server's message when a statement fails or the server is away, and TimeoutError if it has
        not answered after `timeout` seconds (it is frozen, or waits for a lock).
        """
        return [_row(line) for line in self._run(["--skip-column-names"], statements, timeout)]

    def run_file(self, file: Path, variables: Mapping[str, str]) -> None:
        """Run a file of SQL as administrator; it reads the values as user variables (`@name`)."""
        assignments = (f"SET @{name} = {literal(value)};" for name, value in variables.items())
        self._run([], "\n".join([*assignments, file.read_text(encoding="utf-8")]), 30.0)

    def replication_status(self) -> dict[str, str | None]:
        """`SHOW REPLICA STATUS` by column; empty on a server that follows no other."""
        lines = self._run([], "SHOW REPLICA STATUS", 30.0)
        if not lines:
            return {}
        names, values = (_row(line) for line in lines)
        return {name or "": value for name, value in zip(names, values, strict=True)}

    def _run(self, options: Sequence[str], statements: str, timeout: float) -> list[str]:
        try:
            result = subprocess.run(
                [*self._client, *options],
                input=statements.encode(),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self} has not answered in {timeout:g} s.") from None
        if result.returncode != 0:
            raise ServerError(f"{self}: {result.stderr.decode(errors='replace').strip()}")
        # Not splitlines(): it would also split at a carriage return, say, inside a value.
        return result.stdout.decode(errors="replace").split("\n")[:-1]


def literal(text: str) -> str:
    """The text as an SQL string, quotes included."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _row(line: str) -> Row:
    """A row as the client prints it with --batch: tabs between fields, tabs in them escaped."""
    return tuple(None if field == "NULL" else _unescape(field) for field in line.split("\t"))


def _unescape(field: str) -> str:
    letters = {"n": "\n", "t": "\t", "0": "\0"}
    return re.sub(r"\\(.)", lambda match: letters.get(match[1], match[1]), field)
