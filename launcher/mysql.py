"""A MySQL primary with replicas that follow it by GTID, on this machine."""

import shutil
import time
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path

from launcher.cluster import Cluster
from launcher.mysql_client import identifier, literal
from launcher.mysql_data import create_data
from launcher.mysql_server import MySQLServer
from launcher.process import ServerError
from launcher.workspace import Workspace

__all__ = ["MySQLCluster", "MySQLServer", "ServerError"]

SETTINGS = Path(__file__).with_name("mysql.cnf")

READ_ONLY = """
# Stops everybody but the replication.
super_read_only = ON
"""

POLL_SECONDS = 0.005


class MySQLCluster(Cluster[MySQLServer]):
    """A MySQL primary with replicas that follow it by GTID; see Cluster.

    `options` are such as `"--max-connections=20"`. The application's user may do anything in its
    database and in databases named `test_...`, and nothing else. `start()` fetches MySQL if need
    be (tools/fetch_debian.sh), and raises ServerError if it cannot be had.
    """

    # --- lag ------------------------------------------------------------------------------

    def pause(self, replica: MySQLServer) -> None:
        """Let the replica apply nothing more. It goes on receiving; restarting it resumes."""
        replica.sql("STOP REPLICA SQL_THREAD")

    def resume(self, replica: MySQLServer) -> None:
        """Let the replica apply what it has received meanwhile."""
        replica.sql("START REPLICA SQL_THREAD")

    def delay(self, replica: MySQLServer, seconds: int) -> None:
        """Keep the replica this many whole seconds behind; 0 ends that. Also resumes it."""
        replica.sql(
            f"STOP REPLICA SQL_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds:d};"
            "START REPLICA SQL_THREAD"
        )

    def position(self) -> str:
        """The set of the GTIDs that the primary has executed, now."""
        return (self.primary.sql("SELECT @@global.gtid_executed")[0][0] or "").replace("\n", "")

    def wait(self, replica: MySQLServer, timeout: float = 10.0) -> None:
        """Return when the replica has applied all that was committed on the primary up to now.

        Raises TimeoutError if it has not after `timeout` seconds, also when it is frozen.
        """
        position = self.position()
        if not _waited_for(replica, position, timeout):
            raise TimeoutError(
                f"{replica} has not reached {position} in {timeout:g} s. "
                f"{_describe(replica.replication_status())}"
            )

    def _catch_up(self, replica: MySQLServer) -> None:
        status = replica.replication_status()
        if status["SQL_Delay"] != "0":
            self.delay(replica, 0)
        if "No" in (status["Replica_IO_Running"], status["Replica_SQL_Running"]):
            replica.sql("START REPLICA")

    # --- failover -------------------------------------------------------------------------

    def _disconnect(self, replica: MySQLServer) -> None:
        replica.sql("STOP REPLICA IO_THREAD")

    def _promote(self, replica: MySQLServer, timeout: float) -> None:
        if replica.replication_status()["SQL_Delay"] != "0":
            # A change of the delay throws away what has been received, if the receiver is stopped.
            raise ServerError(f"{replica} has a delay: take it back before you promote it.")
        replica.sql("STOP REPLICA IO_THREAD; START REPLICA SQL_THREAD")
        received = replica.replication_status()["Retrieved_Gtid_Set"] or ""
        if not _waited_for(replica, received, timeout):
            raise TimeoutError(
                f"{replica} has not applied {received}, which it received, in {timeout:g} s. "
                f"{_describe(replica.replication_status())}"
            )
        replica.sql(
            "STOP REPLICA; RESET REPLICA ALL;SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF"
        )
        _write_settings(replica, is_replica=False)  # for its next start

    def _follow(self, replica: MySQLServer, primary: MySQLServer, timeout: float) -> None:
        replica.sql(
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO"
            f" SOURCE_HOST = {literal(primary.host)}, SOURCE_PORT = {primary.port},"
            f" SOURCE_USER = 'replication', SOURCE_PASSWORD = {literal(self._replication_password)},"
            " GET_SOURCE_PUBLIC_KEY = 1,"  # the password is asked for without TLS
            " SOURCE_AUTO_POSITION = 1, SOURCE_DELAY = 0,"
            # Seconds: a replica notices within one that the primary is back.
            " SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, SOURCE_HEARTBEAT_PERIOD = 1;"
            "START REPLICA"
        )
        deadline = time.monotonic() + timeout
        while (status := replica.replication_status())["Replica_IO_Running"] != "Yes":
            if status["Replica_IO_Running"] == "No" or time.monotonic() > deadline:
                raise ServerError(f"{replica} does not follow {primary}. {_describe(status)}")
            time.sleep(POLL_SECONDS)
        # The server itself accepts transactions of third servers that the primary does not have.
        [(executed,)] = replica.sql("SELECT @@global.gtid_executed")
        [(surplus,)] = primary.sql(f"SELECT GTID_SUBTRACT('{executed}', @@global.gtid_executed)")
        if surplus:
            raise ServerError(f"{replica} does not follow {primary}, which has not {surplus}.")

    def _copy_primary(self, server: MySQLServer) -> None:
        # From nothing: binary logs are kept for ever, and have all that there is. A server skips
        # what was written under its own id, so it needs one that was not used yet.
        self._last_server_id += 1
        server.server_id = self._last_server_id
        shutil.rmtree(server.data)
        _write_settings(server, is_replica=True)
        create_data([server.data], settings=server.settings)
        server.start()
        self._follow(server, self.primary, timeout=10.0)

    # --- starting -------------------------------------------------------------------------

    def _start(self, workspace: Workspace) -> None:
        self._primary = self._server(workspace, "primary", 1)
        self.replicas = [
            self._server(workspace, f"replica{number}", number + 1)
            for number in range(1, self._replica_count + 1)
        ]
        self._last_server_id = len(self.servers)
        new = [server.data for server in self.servers if not server.data.exists()]
        create_data(new, settings=self.primary.settings)
        with futures.ThreadPoolExecutor(len(self.servers)) as pool:
            list(pool.map(MySQLServer.start, self.servers))
            self._set_up_primary()
            list(pool.map(lambda replica: self._follow(replica, self.primary, 30.0), self.replicas))
        self._sources = dict.fromkeys(self.replicas, self.primary)

    def _server(self, workspace: Workspace, name: str, server_id: int) -> MySQLServer:
        folder = workspace.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        server = MySQLServer(
            folder,
            socket=workspace.temporary / f"{name}.socket",
            server_id=server_id,
            account=self._account,
            watchdog=workspace.watchdog,
            options=self._options,
        )
        _write_settings(server, is_replica=name != "primary")
        return server

    def _set_up_primary(self) -> None:
        """Users and database; a kept folder has them, with older passwords."""
        account = self._account
        user = f"{literal(account.user)}@'%'"
        database = identifier(account.database)
        pattern = identifier(account.database.replace("_", r"\_").replace("%", r"\%"))
        self.primary.sql(
            f"CREATE DATABASE IF NOT EXISTS {database};"
            f"CREATE USER IF NOT EXISTS {user}, replication@'%';"
            f"ALTER USER {user} IDENTIFIED BY {literal(account.password)},"
            f" replication@'%' IDENTIFIED BY {literal(self._replication_password)};"
            # No privilege above its own databases; `test_...` is for Django's test runner.
            f"GRANT ALL PRIVILEGES ON {pattern}.* TO {user};"
            rf"GRANT ALL PRIVILEGES ON `test\_%`.* TO {user};"
            "GRANT REPLICATION SLAVE ON *.* TO replication@'%'"
        )


def _write_settings(server: MySQLServer, *, is_replica: bool) -> None:
    text = SETTINGS.read_text(encoding="utf-8")
    server.settings.write_text(text + (READ_ONLY if is_replica else ""), encoding="utf-8")


def _waited_for(replica: MySQLServer, gtids: str, timeout: float) -> bool:
    """Whether the replica has executed all of the set within that many seconds."""
    # The server keeps to the timeout; only a frozen one needs the client's.
    [(result,)] = replica.sql(
        f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', {timeout:f})", timeout=timeout + 1.0
    )
    return result == "0"


def _describe(status: Mapping[str, str | None]) -> str:
    """What the two threads of a replica do, and their errors."""
    return (
        f"Receiving: {status.get('Replica_IO_Running')}, {status.get('Last_IO_Error')!r}. "
        f"Applying: {status.get('Replica_SQL_Running')}, {status.get('Last_SQL_Error')!r}."
    )
