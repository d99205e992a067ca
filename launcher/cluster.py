"""What a primary with replicas is, whatever database it runs."""

import atexit
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from launcher.process import ServerError
from launcher.server import Account, Server
from launcher.workspace import Workspace

NOT_RUNNING = "The cluster is not running: call start() first."

AnyServer = TypeVar("AnyServer", bound=Server)
AnyCluster = TypeVar("AnyCluster", bound="Cluster[Any]")


class Cluster(ABC, Generic[AnyServer]):
    """A primary and `replicas` replicas; a context manager that starts and stops them.

    Without `folder` they live in a temporary one, which is removed at the end; a given folder is
    kept, and a later cluster of the same folder goes on with its data, on other ports. `database`
    is created; the application's user may do anything in it and in databases of Django's test
    runner, and nothing else. Without a password it gets a random one. `options` are arguments for
    each server, in its own syntax.

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
        self.replicas: list[AnyServer] = []
        self.former: list[AnyServer] = []
        """Servers that were the primary until another one was promoted."""
        self._replica_count = replicas
        self._given_folder = folder
        self._account = Account(user=user, password=password or secrets.token_hex(8), database=database)
        self._replication_password = secrets.token_hex(8)
        self._options = tuple(options)
        self._primary: AnyServer | None = None
        self._sources: dict[AnyServer, AnyServer] = {}
        self._workspace: Workspace | None = None

    def __enter__(self: AnyCluster) -> AnyCluster:  # noqa: PYI019  Self came with Python 3.11
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
    def primary(self) -> AnyServer:
        """The server that takes the writes. Raises ServerError before `start()`."""
        if self._primary is None:
            raise ServerError(NOT_RUNNING)
        return self._primary

    @property
    def servers(self) -> list[AnyServer]:
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
            self.wait_all(timeout=30.0)
        except BaseException:  # also Ctrl-C: nothing may be left behind
            self.stop()
            raise

    def stop(self) -> None:
        """End all servers, and remove the folder if it is a temporary one. May be repeated."""
        workspace = self._workspace
        if workspace is None or not workspace.is_mine():
            return
        for server in [*self.replicas, *self.former, *([self._primary] if self._primary else [])]:
            if workspace.is_kept:
                server.stop()
            else:
                server.discard()
        workspace.close()
        self._workspace, self._primary, self.replicas, self.former = None, None, [], []
        self._sources.clear()
        atexit.unregister(self.stop)

    @abstractmethod
    def _start(self, workspace: Workspace) -> None:
        """Make the servers and start them, each replica following the primary."""

    # --- lag ------------------------------------------------------------------------------

    @abstractmethod
    def pause(self, replica: AnyServer) -> None:
        """Let the replica apply nothing more. It goes on receiving; restarting it resumes."""

    @abstractmethod
    def resume(self, replica: AnyServer) -> None:
        """Let the replica apply what it has received meanwhile."""

    @abstractmethod
    def delay(self, replica: AnyServer, seconds: int) -> None:
        """Keep the replica this many whole seconds behind; 0 ends that. Also resumes it."""

    def disconnect(self, replica: AnyServer) -> None:
        """Let the replica receive nothing more; `follow()`, or `heal()`, ends that.

        What the primary writes from now on is lost if this replica is promoted.
        """
        self._disconnect(replica)
        self._sources.pop(replica, None)

    @abstractmethod
    def position(self) -> str:
        """Up to where the primary has written its log, in the database's own notation."""

    @abstractmethod
    def wait(self, replica: AnyServer, timeout: float = 10.0) -> None:
        """Return when the replica has applied all that was committed on the primary up to now.

        Raises TimeoutError if it has not after `timeout` seconds, also when it is frozen.
        """

    def wait_all(self, timeout: float = 10.0) -> None:
        """`wait()` for each replica."""
        for replica in self.replicas:
            self.wait(replica, timeout)

    def heal(self, timeout: float = 30.0) -> None:
        """Undo crashes, freezes, pauses, delays and disconnections; returns when all have caught up.

        After a promotion the replicas follow the new primary; a former one is left as it is.
        Raises TimeoutError if a replica does not catch up: it may have diverged (see `rejoin()`).
        """
        self.restore()
        self.wait_all(timeout)

    def restore(self) -> None:
        """Do what `heal()` does, and do not wait until all have caught up."""
        for server in self.servers:
            if server.is_running():
                server.thaw()
            else:
                server.start()
        for replica in self.replicas:
            if self._sources.get(replica) is not self.primary:
                self.follow(replica, self.primary)
            self._catch_up(replica)

    @abstractmethod
    def _catch_up(self, replica: AnyServer) -> None:
        """Undo pause and delay, without disturbing a replica that has neither."""

    @abstractmethod
    def _disconnect(self, replica: AnyServer) -> None:
        """Do that part of `disconnect()` that the replica sees."""

    # --- failover -------------------------------------------------------------------------

    def promote(self, replica: AnyServer, timeout: float = 30.0) -> None:
        """Make a replica the primary; returns when it has applied what it received and takes writes.

        The old primary is left as it is, running or not, and is listed in `former`. The other
        replicas go on following it: tell them to `follow()` the new one, or `heal()`. Raises
        ServerError in a kept folder, as the next cluster there would not know of it; and for a
        delayed replica of MariaDB or MySQL, which would lose what it received.
        """
        if self._workspace is None:
            raise ServerError(NOT_RUNNING)
        if self._workspace.is_kept:
            raise ServerError(
                f"A cluster that keeps its data ({self.folder}) cannot promote a replica: "
                "leave out the folder."
            )
        if replica not in self.replicas:
            raise ServerError(f"{replica} is no replica of this cluster.")
        self._promote(replica, timeout)
        self._sources.pop(replica, None)
        self.replicas.remove(replica)
        self.former.append(self.primary)
        self._primary = replica

    def follow(self, replica: AnyServer, new_primary: AnyServer, timeout: float = 10.0) -> None:
        """Let the replica receive from another server; returns when it does. Also resumes it.

        Raises ServerError if it does not within `timeout` seconds: it may have transactions that
        the other one has not.
        """
        if replica not in self.replicas:
            raise ServerError(f"{replica} is no replica of this cluster: rejoin() makes it one.")
        self._follow(replica, new_primary, timeout)
        self._sources[replica] = new_primary

    def rejoin(self, server: AnyServer) -> None:
        """Make a server of `former`, or a replica, a new replica of the primary, its data a new copy.

        What it alone had is lost. Its port stays. Returns when it has caught up.
        """
        if server not in [*self.former, *self.replicas]:
            raise ServerError(f"{server} is neither a former primary nor a replica of this cluster.")
        server.kill()
        self._copy_primary(server)
        if server in self.former:
            self.former.remove(server)
            self.replicas.append(server)
        self._sources[server] = self.primary
        self.wait(server, timeout=30.0)

    @abstractmethod
    def _promote(self, replica: AnyServer, timeout: float) -> None:
        """Do that part of `promote()` that servers see."""

    @abstractmethod
    def _follow(self, replica: AnyServer, primary: AnyServer, timeout: float) -> None:
        """Do that part of `follow()` that servers see."""

    @abstractmethod
    def _copy_primary(self, server: AnyServer) -> None:
        """Replace the data of a server that does not run, and start it as a replica."""
