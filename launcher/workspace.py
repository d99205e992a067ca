"""The folder that a cluster lives in, and what takes care that nothing is left of it."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from launcher.process import ServerError
from launcher.watchdog import Watchdog


class Workspace:
    """A given folder, which is kept, or a temporary one, with a watchdog for the servers in it.

    Raises ServerError if another process has a workspace in the same folder.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self._owner = os.getpid()
        self.temporary = Path(tempfile.mkdtemp(prefix="rwrouter-"))
        """Gone at the end, and entered by nobody else: for Unix sockets, whose path is short."""
        self.is_kept = folder is not None
        self.folder = self.temporary if folder is None else Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.temporary.rmdir()
                raise ServerError(f"{self.folder} is in use by another cluster.") from None
            # Only the watchdog keeps the lock, so that it is free once the servers are gone,
            # whatever became of us.
            self.watchdog = Watchdog(descriptors=[lock.fileno()])
        self.watchdog.remove(self.temporary)

    def is_mine(self) -> bool:
        """False in a forked child, which must not touch its parent's servers."""
        return os.getpid() == self._owner

    def close(self) -> None:
        """Remove what is temporary. The servers have to be stopped by then."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.watchdog.close()
