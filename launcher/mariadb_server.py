"""One MariaDB server on this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.mariadb_data import SERVER_PACKAGES, run_as
from launcher.mysql_client import Client
from launcher.ports import LOOPBACK, is_greeting
from launcher.programs import find_program, wanted
from launcher.server import Account, Row, Server
from launcher.watchdog import Watchdog


class MariaDBServer(Server):
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
            find_program("mariadbd", packages=SERVER_PACKAGES, version=wanted("mariadb")),
            f"--defaults-file={self.settings}",
            *run_as(),
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--tmpdir={scratch}",
            f"--pid-file={folder / 'pid'}",
            f"--bind-address={LOOPBACK}",
            *options,
        ]
        self._client = Client(
            [
                find_program("mariadb", packages=SERVER_PACKAGES, version=wanted("mariadb")),
                "--no-defaults",
                f"--socket={self.socket}",
                "--user=root",
                "--skip-password",
            ],
            server=self,
        )

    def _command(self, port: int) -> Sequence[str]:
        return [*self._start_command, f"--server-id={self.server_id}", f"--port={port}"]

    def _answers(self) -> bool:
        return is_greeting(self.socket)

    @property
    def administration(self) -> str:
        """A command line that opens a session as administrator."""
        return f"mariadb --no-defaults --user=root --socket={self.socket}"

    def sql(self, statements: str, *, timeout: float = 30.0) -> list[Row]:
        """Run statements as administrator, in a session of their own, and return their rows.

        All values are text; NULL is None, and so is the text "NULL". Raises ServerError with the
        server's message when a statement fails or the server is away, and TimeoutError if it has
        not answered after `timeout` seconds (it is frozen, or waits for a lock).
        """
        return self._client.rows(statements, timeout)

    def run_file(self, file: Path, variables: Mapping[str, str]) -> None:
        """Run a file of SQL as administrator; it reads the values as user variables (`@name`)."""
        self._client.run_file(file, variables)

    def replication_status(self) -> dict[str, str | None]:
        """`SHOW REPLICA STATUS` by column; empty on a server that follows no other."""
        return self._client.row_by_column("SHOW REPLICA STATUS")
