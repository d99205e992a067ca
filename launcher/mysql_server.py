"""One MySQL server on this machine."""

import contextlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from launcher.mysql_client import Client
from launcher.mysql_data import server_program
from launcher.ports import LOOPBACK, is_greeting
from launcher.process import ServerError
from launcher.programs import fetch
from launcher.server import Account, Row, Server
from launcher.watchdog import Watchdog


class MySQLServer(Server):
    """A server with a data folder, a port and a Unix socket of its own, on 127.0.0.1.

    `folder` holds its settings (`my.cnf`), `data` and `log`. The port is chosen at the first start
    and stays the same after that.
    """

    scheme = "mysql"

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
        super().__init__(folder, socket=socket, account=account, watchdog=watchdog)
        self.server_id = server_id
        """Tells its writes from others' in every binary log; takes effect when it starts."""
        self.settings = folder / "my.cnf"
        # Of its own, as a server that starts removes temporary tables of others from there.
        scratch = socket.with_name(f"{self.name}.tmp")
        scratch.mkdir(exist_ok=True)
        self._start_command = [
            *server_program(self.settings),
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--tmpdir={scratch}",
            f"--pid-file={folder / 'pid'}",
            f"--bind-address={LOOPBACK}",
            *options,
        ]
        self._client_command = [
            str(fetch("mysql") / "bin" / "mysql"),
            "--no-defaults",
            "--user=root",
            f"--socket={self.socket}",
        ]
        self._client = Client(self._client_command, server=self)

    def _command(self, port: int) -> Sequence[str]:
        return [*self._start_command, f"--server-id={self.server_id}", f"--port={port}"]

    def _answers(self) -> bool:
        return is_greeting(self.socket)

    def stop(self) -> None:
        """Shut it down in good order. Nothing happens if it is not running."""
        if self.is_running():
            # Without replicas, which it would wait for 9 seconds for.
            with contextlib.suppress(ServerError, TimeoutError):
                self.sql("SET GLOBAL offline_mode = ON", timeout=1.0)
        super().stop()

    @property
    def administration(self) -> str:
        """A command line that opens a session as administrator."""
        return shlex.join(self._client_command)

    def sql(self, statements: str, *, timeout: float = 30.0) -> list[Row]:
        """Run statements as administrator, in a session of their own, and return their rows.

        All values are text; NULL is None, and so is the text "NULL". Raises ServerError with the
        server's message when a statement fails or the server is away, and TimeoutError if it has
        not answered after `timeout` seconds (it is frozen, or waits for a lock).
        """
        return self._client.rows(statements, timeout)

    def replication_status(self) -> dict[str, str | None]:
        """`SHOW REPLICA STATUS` by column; empty on a server that follows no other."""
        return self._client.row_by_column("SHOW REPLICA STATUS")
