"""What sites put in front of their databases, on this machine: HAProxy, PgBouncer, pgpool-II."""

import atexit
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from launcher.ports import LOOPBACK, free_port
from launcher.postgresql_data import hand_over, system_user
from launcher.process import ServerError, ServerProcess
from launcher.programs import find_program
from launcher.server import Server
from launcher.workspace import Workspace

START_SECONDS = 20.0


class Pooler(ABC):
    """A program that listens on `port` of 127.0.0.1 in front of servers; a context manager.

    Raises ServerError where its program is not installed.
    """

    program: ClassVar[str]
    package: ClassVar[str]

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.port = 0
        self._workspace: Workspace | None = None
        self._process: ServerProcess | None = None

    def __enter__(self) -> "Pooler":
        program = find_program(self.program, packages=self.package)
        self._workspace = workspace = Workspace(None)
        atexit.register(self.stop)
        user = system_user()
        hand_over(workspace.temporary, user)
        self.port = free_port()
        command = [program, *self._arguments(workspace.temporary)]
        log = workspace.temporary / "log"
        self._process = ServerProcess(command, log=log, watchdog=workspace.watchdog, user=user)
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if not self._process.is_running() or time.monotonic() > deadline:
                tail = self._process.log_tail()
                self.stop()
                raise ServerError(f"{self.program} did not start. The end of its log:\n{tail}")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it. May be repeated."""
        workspace = self._workspace
        if workspace is None or not workspace.is_mine():
            return
        if self._process is not None:
            self._process.kill()
        workspace.close()
        self._workspace = self._process = None
        atexit.unregister(self.stop)

    def url(self, database: str | None = None) -> str:
        """The application's address: that of the first server, on the pooler's port."""
        return self.servers[0].url(database, port=self.port)

    @abstractmethod
    def _arguments(self, folder: Path) -> Sequence[str]:
        """Write the configuration into a folder, and return the command's arguments."""

    def _listens(self) -> bool:
        with socket.socket() as connection:
            return connection.connect_ex((LOOPBACK, self.port)) == 0


class HAProxy(Pooler):
    """One address for several servers; connections go to them by turns."""

    program = package = "haproxy"

    def _arguments(self, folder: Path) -> Sequence[str]:
        lines = [
            "defaults",
            "  mode tcp",
            "  balance roundrobin",
            "  timeout connect 2s",
            "  timeout client 1h",
            "  timeout server 1h",
            "  option redispatch",
            "listen replicas",
            f"  bind {LOOPBACK}:{self.port}",
            *(f"  server {server.name} {server.host}:{server.port}" for server in self.servers),
        ]
        path = folder / "haproxy.cfg"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["-db", "-f", str(path)]


class PgBouncer(Pooler):
    """An entry for each server, under the server's name.

    `entry` is added to each of them; `settings` are those of the section [pgbouncer].
    """

    program = package = "pgbouncer"

    def __init__(self, servers: Sequence[Server], *, entry: str = "", **settings: str) -> None:
        super().__init__(servers)
        self._entry = entry
        self._settings = settings

    def _arguments(self, folder: Path) -> Sequence[str]:
        account = self.servers[0].account
        rest = f"dbname={account.database} {self._entry}"
        users = folder / "users"
        users.write_text(f'"{account.user}" "{account.password}"\n', encoding="utf-8")
        lines = [
            "[databases]",
            *(f"{server.name} = host={server.host} port={server.port} {rest}" for server in self.servers),
            "[pgbouncer]",
            f"listen_addr = {LOOPBACK}",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {users}",
            "tcp_user_timeout = 5000",
            "server_connect_timeout = 2",
            *(f"{name} = {value}" for name, value in self._settings.items()),
        ]
        path = folder / "pgbouncer.ini"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [str(path)]


class PgPool(Pooler):
    """pgpool-II in front of a primary, which comes first, and its standbys; `settings` are its own."""

    program = "pgpool"
    package = "pgpool2"

    def __init__(self, servers: Sequence[Server], **settings: str) -> None:
        super().__init__(servers)
        self._settings = settings

    def _arguments(self, folder: Path) -> Sequence[str]:
        account = self.servers[0].account
        passwords, access, pcp = folder / "pool_passwd", folder / "pool_hba.conf", folder / "pcp.conf"
        passwords.write_text(f"{account.user}:TEXT{account.password}\n", encoding="utf-8")
        access.write_text(f"host all all {LOOPBACK}/32 scram-sha-256\n", encoding="utf-8")
        pcp.touch()
        lines = [
            "backend_clustering_mode = 'streaming_replication'",
            f"listen_addresses = '{LOOPBACK}'",
            f"port = {self.port}",
            f"pcp_listen_addresses = '{LOOPBACK}'",
            f"pcp_port = {free_port()}",
            *(
                f"{name} = '{folder}'"
                for name in ("socket_dir", "pcp_socket_dir", "wd_ipc_socket_dir", "work_dir", "logdir")
            ),
            f"pid_file_name = '{folder / 'pid'}'",
            "enable_pool_hba = on",
            f"pool_passwd = '{passwords}'",
            "num_init_children = 8",
            # Neither asks the servers as a user of its own.
            "sr_check_period = 0",
            "health_check_period = 0",
        ]
        for number, server in enumerate(self.servers):
            lines += [
                f"backend_hostname{number} = '{server.host}'",
                f"backend_port{number} = {server.port}",
                f"backend_weight{number} = 1",
                f"backend_flag{number} = '{'ALLOW_TO_FAILOVER' if number else 'ALWAYS_PRIMARY'}'",
            ]
        lines += [f"{name} = {value}" for name, value in self._settings.items()]
        path = folder / "pgpool.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return ["-n", "-f", str(path), "-a", str(access), "-F", str(pcp)]
