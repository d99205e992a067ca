"""A MariaDB primary with replicas that follow it by GTID, on this machine."""

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from pathlib import Path

from launcher.cluster import Cluster
from launcher.mariadb_data import create_data
from launcher.mariadb_server import MariaDBServer
from launcher.process import ServerError
from launcher.workspace import Workspace

__all__ = ["MariaDBCluster", "MariaDBServer", "ServerError"]

CONFIGURATION = Path(__file__).resolve().parent.parent / "docker" / "mariadb"
"""The containers of docker/compose.yaml use the same files."""

POLL_SECONDS = 0.005

PRIMARY_FILES = ("server.cnf",)
REPLICA_FILES = ("server.cnf", "replica.cnf")


class MariaDBCluster(Cluster[MariaDBServer]):
    """A MariaDB primary with replicas that follow it by GTID; see Cluster.

    `options` are such as `"--max-connections=20"`. The application's user may do anything in its
    database and in databases named `test_...`, and nothing else.
    """

    # --- lag ------------------------------------------------------------------------------

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

    def _catch_up(self, replica: MariaDBServer) -> None:
        status = replica.replication_status()
        if status["SQL_Delay"] != "0":
            self.delay(replica, 0)
        elif "No" in (status["Slave_IO_Running"], status["Slave_SQL_Running"]):
            replica.sql("START REPLICA")

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

    # --- failover -------------------------------------------------------------------------

    def _disconnect(self, replica: MariaDBServer) -> None:
        replica.sql("STOP REPLICA IO_THREAD")

    def _promote(self, replica: MariaDBServer, timeout: float) -> None:
        status = replica.replication_status()
        if status["SQL_Delay"] != "0":
            # A change of the delay throws away what has been received.
            raise ServerError(f"{replica} has a delay: take it back before you promote it.")
        if status["Slave_IO_Running"] == status["Slave_SQL_Running"] == "No":
            raise ServerError(
                f"{replica} is paused and disconnected, and would start by throwing away what it has "
                "received: resume it before you promote it, or do not pause it."
            )
        # In this order: both threads must not be stopped.
        replica.sql("START REPLICA SQL_THREAD; STOP REPLICA IO_THREAD")
        received = replica.replication_status()["Gtid_IO_Pos"] or ""
        [(result,)] = replica.sql(
            f"SELECT MASTER_GTID_WAIT('{received}', {timeout:f})", timeout=timeout + 1.0
        )
        if result != "0":
            raise TimeoutError(
                f"{replica} has not applied {received}, which it received, in {timeout:g} s. "
                f"{_describe(replica.replication_status())}"
            )
        replica.sql("STOP REPLICA; RESET REPLICA ALL; SET GLOBAL read_only = OFF")
        _write_settings(replica, PRIMARY_FILES)  # for its next start

    def _follow(self, replica: MariaDBServer, primary: MariaDBServer, timeout: float) -> None:
        self._stop_replication(replica)
        replica.run_file(
            CONFIGURATION / "replica.sql",
            {
                "primary_host": primary.host,
                "primary_port": str(primary.port),
                "replication_password": self._replication_password,
            },
        )
        replica.sql("START REPLICA")
        deadline = time.monotonic() + timeout
        while (status := replica.replication_status())["Slave_IO_Running"] != "Yes":
            if status["Slave_IO_Running"] == "No" or time.monotonic() > deadline:
                raise ServerError(f"{replica} does not follow {primary}. {_describe(status)}")
            time.sleep(POLL_SECONDS)

    def _copy_primary(self, server: MariaDBServer) -> None:
        # From nothing: binary logs are kept for ever, and have all that there is. A server skips
        # what was written under its own id, so it needs one that was not used yet.
        self._last_server_id += 1
        server.server_id = self._last_server_id
        shutil.rmtree(server.data)
        create_data([server.data], settings=server.settings)
        _write_settings(server, REPLICA_FILES)
        server.start()
        _close_to_the_network(server)
        self._follow(server, self.primary, timeout=10.0)

    # --- starting -------------------------------------------------------------------------

    def _start(self, workspace: Workspace) -> None:
        self._primary = self._server(workspace, "primary", 1, PRIMARY_FILES)
        self.replicas = [
            self._server(workspace, f"replica{number}", number + 1, REPLICA_FILES)
            for number in range(1, self._replica_count + 1)
        ]
        self._last_server_id = len(self.servers)
        new = [server.data for server in self.servers if not server.data.exists()]
        create_data(new, settings=self.primary.settings)
        with futures.ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(MariaDBServer.start, self.servers))
            list(pool.map(_close_to_the_network, self.servers))
            self._set_up_primary()
            list(pool.map(lambda replica: self._follow(replica, self.primary, 30.0), self.replicas))
        self._sources = dict.fromkeys(self.replicas, self.primary)

    def _server(self, workspace: Workspace, name: str, server_id: int, files: Sequence[str]) -> MariaDBServer:
        folder = workspace.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        server = MariaDBServer(
            folder,
            socket=workspace.temporary / f"{name}.socket",
            server_id=server_id,
            account=self._account,
            watchdog=workspace.watchdog,
            options=self._options,
        )
        _write_settings(server, files)
        return server

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


def _write_settings(server: MariaDBServer, files: Sequence[str]) -> None:
    # Copied, not included: the server ignores a file that others could write to, as all are in a
    # checkout on some shared or foreign file systems.
    text = "\n".join((CONFIGURATION / file).read_text(encoding="utf-8") for file in files)
    server.settings.write_text(text, encoding="utf-8")


def _close_to_the_network(server: MariaDBServer) -> None:
    """Leave administrators the Unix socket alone, as the MariaDB image does."""
    server.sql("SET sql_log_bin = 0; DROP USER IF EXISTS root@'127.0.0.1', root@'::1'")


def _describe(status: Mapping[str, str | None]) -> str:
    """What the two threads of a replica do, and their errors."""
    return (
        f"Receiving: {status.get('Slave_IO_Running')}, {status.get('Last_IO_Error')!r}. "
        f"Applying: {status.get('Slave_SQL_Running')}, {status.get('Last_SQL_Error')!r}."
    )
