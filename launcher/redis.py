"""A Redis server on this machine, for what needs a broker or a shared cache."""

import atexit
import socket
import time
from types import TracebackType

from launcher.process import ServerError, ServerProcess
from launcher.programs import find_program
from launcher.workspace import Workspace


class RedisServer:
    """A server behind a Unix socket in a temporary folder, gone with what is in it; a context manager.

    It ends when `stop()` is called, when the interpreter exits, or when this process dies in any other way.
    """

    def __init__(self) -> None:
        self._workspace: Workspace | None = None
        self._process: ServerProcess | None = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def url(self, database: int = 0, *, scheme: str = "unix") -> str:
        """The address for redis-py and Django's cache; Celery calls the scheme `redis+socket`.

        Raises ServerError before `start()`.
        """
        if self._workspace is None:
            raise ServerError("The server is not running: call start() first.")
        name = "virtual_host" if scheme == "redis+socket" else "db"
        return f"{scheme}://{self._workspace.temporary / 'redis.socket'}?{name}={database}"

    def start(self, timeout: float = 20.0) -> None:
        """Start it; returns when it answers. Raises ServerError if it is not there or does not come up."""
        program = find_program("redis-server", packages="redis-server")
        self._workspace = workspace = Workspace(None)
        atexit.register(self.stop)
        path = workspace.temporary / "redis.socket"
        command = [program, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        log = workspace.temporary / "redis.log"
        self._process = process = ServerProcess(command, log=log, watchdog=workspace.watchdog)
        deadline = time.monotonic() + timeout
        while not _answers(str(path)):
            if not process.is_running() or time.monotonic() > deadline:
                tail = process.log_tail()
                self.stop()
                raise ServerError(f"Redis did not start. The end of its log:\n{tail}")
            time.sleep(0.01)

    def freeze(self) -> None:
        """Stop it (SIGSTOP): it takes connections, and answers nobody."""
        if self._process is not None:
            self._process.freeze()

    def stop(self) -> None:
        """End it. May be repeated."""
        workspace = self._workspace
        if workspace is None or not workspace.is_mine():
            return
        if self._process is not None:
            self._process.kill()  # nobody will miss its data
        workspace.close()
        self._workspace = self._process = None
        atexit.unregister(self.stop)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
        except OSError:
            return False
