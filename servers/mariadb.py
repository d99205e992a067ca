"""A MariaDB primary with replicas that follow it by GTID, on this machine."""

import atexit
import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path
from types import TracebackType

from servers.mariadb_data import create_data
from servers.mariadb_server import Account, MariaDBServer
from servers.process import ServerError
from servers.workspace import Workspace

__all__ = ["MariaDBCluster", "MariaDBServer", "ServerError"]

CONFIGURATION = Path(__file__).resolve().parent.parent / "docker" / "mariadb"
"""The containers of docker/compose.yaml use the same files."""

NOT_RUNNING = "The cluster is not running: call start() first."


class MariaDBCluster:
    """A primary and `replicas` replicas; a context manager that starts and stops them.

    Without `folder` they live in a temporary one, which is removed at the end; a given folder is
    kept, and a later cluster of the same folder goes on with its data, on other ports. `database`
    is created; the application's user may do anything in it and in databases named `test_...`,
    and nothing else. Without a password it gets a random one. `options` are arguments for each
    server, such as `"--max-connections=20"`.

    All servers end when `stop()` is called, when the interpreter exits, or when this process dies
    in any other way. A forked child cannot stop them.
    """

    def __init__(
        self,
        replicas: int = 2,
        folder: str | os.PathLike[str] | None = None,
        *,
        database: str = "rwrouter",
        user: str = "rwrouter",
        password: str = "",
        options: Sequence[str] = (),
    ) -> None:
        self.replicas: list[MariaDBServer] = []
        self._replica_count = replicas
        self._given_folder = folder
        self._account = Account(user=user, password=password or secrets.token_hex(8), database=database)
        self._replication_password = secrets.token_hex(8)
        self._options = tuple(options)
        self._primary: MariaDBServer | None = None
        self._workspace: Workspace | None = None

    def __enter__(self) -> "MariaDBCluster":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- what runs ------------------------------------------------------------------------

    @property
    def primary(self) -> MariaDBServer:
        """The server that takes the writes. Raises ServerError before `start()`."""
        if self._primary is None:
            raise ServerError(NOT_RUNNING)
        return self._primary

    @property
    def servers(self) -> list[MariaDBServer]:
        """The primary and the replicas."""
        return [self.primary, *self.replicas]

    @property
    def folder(self) -> Path:
        """Where data, logs and sockets are. Raises ServerError before `start()`."""
        if self._workspace is None:
            raise ServerError(NOT_RUNNING)
        return self._workspace.folder

    def environment(self) -> dict[str, str]:
        """`DATABASE_URL` and `REPLICA_URLS` (comma-separated), as the test project reads them."""
        return {
            "DATABASE_URL": self.primary.url(),
            "REPLICA_URLS": ",".join(replica.url() for replica in self.replicas),
        }

    def start(self) -> None:
        """Start the servers; returns when all replicate and have the application's user.

        Raises ServerError when a program is missing or a server does not come up.
        """
        if self._workspace is not None:
            raise ServerError("The cluster is running already.")
        self._workspace = Workspace(self._given_folder)
        atexit.register(self.stop)
        try:
            self._start(self._workspace)
        except BaseException:  # also Ctrl-C: nothing may be left behind
            self.stop()
            raise

    def stop(self) -> None:
        """End all servers, and remove the folder if it is a temporary one. May be repeated."""
        workspace = self._workspace
        if workspace is None or not workspace.is_mine():
            return
        for server in [*self.replicas, *([self._primary] if self._primary else [])]:
            if workspace.is_kept:
                server.stop()
            else:
                server.kill()  # nobody will miss its data
        workspace.close()
        self._workspace, self._primary, self.replicas = None, None, []
        atexit.unregister(self.stop)

    # --- replication ----------------------------------------------------------------------

    def pause(self, replica: MariaDBServer) -> None:
        """Let the replica apply nothing more. It goes on receiving; restarting it resumes."""
        replica.sql("STOP REPLICA SQL_THREAD")

    def resume(self, replica: MariaDBServer) -> None:
        """Let the replica apply what it has received meanwhile."""
        replica.sql("START REPLICA SQL_THREAD")

    def delay(self, replica: MariaDBServer, seconds: int) -> None:
        """Keep the replica this many whole seconds behind; 0 ends that. Also resumes it."""
        self._stop_replication(replica)
        # CHANGE MASTER sets the heartbeat to half of slave_net_timeout unless told otherwise.
        replica.sql(
            f"CHANGE MASTER TO MASTER_DELAY = {seconds:d}, MASTER_HEARTBEAT_PERIOD = 1; START REPLICA"
        )

    def position(self) -> str:
        """The GTID position of the primary's binary log, now."""
        return self.primary.sql("SELECT @@global.gtid_binlog_pos")[0][0] or ""

    def wait(self, replica: MariaDBServer, timeout: float = 10.0) -> None:
        """Return when the replica has applied all that the primary has logged up to now.

        Raises TimeoutError if it has not after `timeout` seconds, also when it is frozen.
        """
        position = self.position()
        # The server keeps to the timeout; only a frozen one needs the client's.
        [(result, reached)] = replica.sql(
            f"SELECT MASTER_GTID_WAIT('{position}', {timeout:f}), @@global.gtid_slave_pos",
            timeout=timeout + 1.0,
        )
        if result != "0":
            raise TimeoutError(
                f"{replica} has not reached {position} in {timeout:g} s; it is at {reached}. "
                f"{_describe(replica.replication_status())}"
            )

    def wait_all(self, timeout: float = 10.0) -> None:
        """`wait()` for each replica."""
        for replica in self.replicas:
            self.wait(replica, timeout)

    def heal(self, timeout: float = 30.0) -> None:
        """Undo crashes, freezes, pauses and delays; returns when all replicas have caught up.

        Raises TimeoutError if one does not: it may have diverged.
        """
        for server in self.servers:
            if server.is_running():
                server.thaw()
            else:
                server.start()
        for replica in self.replicas:
            replica.sql("START REPLICA")
            if replica.replication_status()["SQL_Delay"] != "0":
                self.delay(replica, 0)
        self.wait_all(timeout)

    def _stop_replication(self, replica: MariaDBServer) -> None:
        """STOP REPLICA, at once.

        By itself it can miss a receiving thread that has just reconnected: that goes on waiting
        for the primary to send something, for 22 s (10.11). So something is sent.
        """
        with futures.ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(replica.sql, "STOP REPLICA")
            while not futures.wait([stopped], timeout=0.2).done:
                with contextlib.suppress(ServerError, TimeoutError):  # the primary may be away
                    # Changes nothing, yet it is logged.
                    self.primary.sql("FLUSH STATUS", timeout=2.0)
            stopped.result()

    # --- starting -------------------------------------------------------------------------

    def _start(self, workspace: Workspace) -> None:
        self._primary = self._server(workspace, "primary", 1, ["server.cnf"])
        self.replicas = [
            self._server(workspace, f"replica{number}", number + 1, ["server.cnf", "replica.cnf"])
            for number in range(1, self._replica_count + 1)
        ]
        new = [server.data for server in self.servers if not server.data.exists()]
        create_data(new, settings=self.primary.settings, temporary=workspace.temporary)
        with futures.ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(MariaDBServer.start, self.servers))
            list(pool.map(_close_to_the_network, self.servers))
            self._set_up_primary()
            list(pool.map(self._follow, self.replicas))
        self.wait_all(timeout=30.0)

    def _server(self, workspace: Workspace, name: str, server_id: int, files: Sequence[str]) -> MariaDBServer:
        folder = workspace.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        # Copied, not included: the server ignores a file that others could write to, as all are
        # in a checkout on some shared or foreign file systems.
        text = "\n".join((CONFIGURATION / file).read_text(encoding="utf-8") for file in files)
        (folder / "my.cnf").write_text(text, encoding="utf-8")
        return MariaDBServer(
            folder,
            socket=workspace.temporary / f"{name}.socket",
            server_id=server_id,
            account=self._account,
            watchdog=workspace.watchdog,
            options=self._options,
        )

    def _set_up_primary(self) -> None:
        self.primary.run_file(
            CONFIGURATION / "primary.sql",
            {
                "app_database": self._account.database,
                "app_user": self._account.user,
                "app_password": self._account.password,
                "replication_password": self._replication_password,
            },
        )

    def _follow(self, replica: MariaDBServer) -> None:
        self._stop_replication(replica)  # in a kept folder it runs, with an older port and password
        replica.run_file(
            CONFIGURATION / "replica.sql",
            {
                "primary_host": self.primary.host,
                "primary_port": str(self.primary.port),
                "replication_password": self._replication_password,
            },
        )
        replica.sql("START REPLICA")


def _close_to_the_network(server: MariaDBServer) -> None:
    """Leave administrators the Unix socket alone, as the MariaDB image does."""
    server.sql("SET sql_log_bin = 0; DROP USER IF EXISTS root@'127.0.0.1', root@'::1'")


def _describe(status: Mapping[str, str | None]) -> str:
    """What the two threads of a replica do, and their errors."""
    return (
        f"Receiving: {status.get('Slave_IO_Running')}, {status.get('Last_IO_Error')!r}. "
        f"Applying: {status.get('Slave_SQL_Running')}, {status.get('Last_SQL_Error')!r}."
    )
