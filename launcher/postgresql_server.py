"""One PostgreSQL server on this machine."""

import csv
import io
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.ports import LOOPBACK
from launcher.postgresql_data import ADMINISTRATOR, client_environment, find_programs, setting
from launcher.process import ServerError, SystemUser
from launcher.server import Account, Row, Server
from launcher.watchdog import Watchdog

SETTINGS = Path(__file__).with_name("postgresql.conf")

ACCESS = f"""\
# The folder of the sockets is closed to others. Superusers have no password, and so no other way in.
local all all trust
local replication all trust
host all all {LOOPBACK}/32 scram-sha-256
host replication all {LOOPBACK}/32 scram-sha-256
"""

NULL = r"\N"
"""How psql is told to print NULL."""

STATUS = {
    "status": "r.status",
    "receiver": "r.pid",
    "timeline": "r.received_tli",
    "primary_port": "r.sender_port",
    "received": "pg_last_wal_receive_lsn()",
    "replayed": "pg_last_wal_replay_lsn()",
    "pause": "pg_get_wal_replay_pause_state()",
    "delay": "current_setting('recovery_min_apply_delay')",
}
"""Columns of `replication_status()`, as a standby computes them."""


class PostgreSQLServer(Server):
    """A server with a data folder, a port and a Unix socket of its own, on 127.0.0.1.

    Its settings are launcher/postgresql.conf and those of `configure()`. `options` are arguments
    such as `"--work-mem=1MB"`. It runs as `system_user`, since it does not run as root.
    """

    scheme = "postgresql"
    stop_signal = signal.SIGINT  # a "fast" shutdown: SIGTERM would wait until all clients have left
    # The second while children of one that somebody killed are still ending.
    passing_troubles = ("Address already in use", "pre-existing shared memory block")

    def __init__(
        self,
        folder: Path,
        *,
        sockets: Path,
        account: Account,
        watchdog: Watchdog,
        system_user: SystemUser | None,
        options: Sequence[str] = (),
    ) -> None:
        # Named after the port, which is still to be chosen: five digits.
        socket = sockets / ".s.PGSQL.00000"
        super().__init__(folder, socket=socket, account=account, watchdog=watchdog, system_user=system_user)
        self._programs = find_programs()
        self._options = tuple(options)
        self._settings: dict[str, str] = {}
        self._write_settings()
        (folder / "pg_hba.conf").write_text(ACCESS, encoding="utf-8")

    # --- the process ----------------------------------------------------------------------

    def start(self, timeout: float = 30.0) -> None:
        """Start it and return when it answers; a replica goes on replicating by itself.

        Raises ServerError, with the end of its log, if it has not come up after `timeout` seconds.
        """
        if not self.is_running():
            self.kill()
            # A crash leaves them, and another process may have been given the id in them.
            lock = self.socket.with_name(f"{self.socket.name}.lock")
            for path in [self.data / "postmaster.pid", self.socket, lock]:
                path.unlink(missing_ok=True)
        super().start(timeout)

    def _command(self, port: int) -> Sequence[str]:
        self.socket = self.socket.with_name(f".s.PGSQL.{port}")
        return [
            str(self._programs / "postgres"),
            *("-D", str(self.data)),
            f"--config-file={self.folder / 'postgresql.conf'}",
            f"--hba-file={self.folder / 'pg_hba.conf'}",
            f"--cluster-name={self.name}",
            f"--listen-addresses={LOOPBACK}",
            f"--port={port}",
            f'--unix-socket-directories="{self.socket.parent}"',
            *self._options,
        ]

    def _answers(self) -> bool:
        # As pg_ctl does; the eighth line is for that. A standby that does not take connections yet
        # says "standby".
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return False
        return [line.strip() for line in lines[7:8]] == ["ready"]

    def discard(self) -> None:
        """End it quickly; nobody will miss its data.

        Not with SIGKILL, which would leave behind the shared memory that it has from the system.
        """
        if self._process is not None:
            self._process.stop(timeout=5.0, with_signal=signal.SIGQUIT)

    # --- settings -------------------------------------------------------------------------

    def configure(self, **values: str) -> None:
        """Change settings, as ALTER SYSTEM would; a running server has them on return."""
        self._settings.update(values)
        self._write_settings()
        if not self.is_running():
            return
        # A new session starts with what the main process has read, which it does after answering.
        query = "SELECT pg_conf_load_time()"
        before = self.sql(f"{query}; SELECT pg_reload_conf()", database="postgres")[0]
        deadline = time.monotonic() + 10.0
        while self.sql(query, database="postgres") == [before]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self} has not read its settings: {values}.")

    def _write_settings(self) -> None:
        lines = [f"{name} = {setting(value)}\n" for name, value in self._settings.items()]
        text = SETTINGS.read_text(encoding="utf-8") + "\n# --- this server\n" + "".join(lines)
        (self.folder / "postgresql.conf").write_text(text, encoding="utf-8")

    # --- statements -----------------------------------------------------------------------

    @property
    def administration(self) -> str:
        """A command line that opens a session as administrator."""
        host = f"--host={self.socket.parent} --port={self.port}"
        return f"psql {host} --username={ADMINISTRATOR} {self.account.database}"

    def sql(self, statements: str, *, timeout: float = 30.0, database: str | None = None) -> list[Row]:
        r"""Run statements as administrator, in a session of their own, and return their rows.

        In the application's database, if no other is named; each statement is a transaction. All
        values are text; NULL is None, and so is the text `\N`. Raises ServerError with the server's
        message when a statement fails or the server is away, and TimeoutError if it has not
        answered after `timeout` seconds (it is frozen, or waits for a lock).
        """
        name = self.account.database if database is None else database
        command = [
            *(str(self._programs / "psql"), "--no-psqlrc", "--quiet", "--no-password"),
            *("--csv", "--tuples-only", f"--pset=null={NULL}", "--set=ON_ERROR_STOP=1"),
            *(f"--host={self.socket.parent}", f"--port={self.port}"),
            *(f"--username={ADMINISTRATOR}", f"--dbname={name}"),
        ]
        try:
            result = subprocess.run(
                command,
                input=statements.encode(),
                capture_output=True,
                timeout=timeout,
                env=client_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self} has not answered in {timeout:g} s.") from None
        if result.returncode != 0:
            raise ServerError(f"{self}: {result.stderr.decode(errors='replace').strip()}")
        output = io.StringIO(result.stdout.decode(errors="replace"), newline="")
        # A row of one empty text is an empty line.
        rows = (fields or [""] for fields in csv.reader(output))
        return [tuple(None if field == NULL else field for field in fields) for fields in rows]

    def replication_status(self) -> dict[str, str | None]:
        """What a standby receives and applies (see STATUS); empty on a primary."""
        columns = ", ".join(STATUS.values())
        rows = self.sql(
            f"SELECT {columns} FROM (VALUES (1)) one LEFT JOIN pg_stat_wal_receiver r ON true "  # noqa: S608
            "WHERE pg_is_in_recovery()",
            database="postgres",
        )
        return dict(zip(STATUS, rows[0], strict=True)) if rows else {}
