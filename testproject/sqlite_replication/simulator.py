"""A replication simulator for SQLite, which has no replication of its own.

Replicas are copies of the primary's file. What the primary held at a time *t* appears in them at
*t* + ``lag``, all at once, as a transaction would. It shows what asynchronous replication does to
readers; it is no way to replicate a database.

Copying uses SQLite's online backup (https://www.sqlite.org/backup.html): it reads the primary in
one read transaction and writes the replica in one write transaction. As both files keep a
write-ahead log, readers neither wait for it nor see half of it, and a connection that was open
before sees the new content with its next statement.

The primary counts its changes, in a table and by triggers that the simulator adds to it
(:mod:`sqlite_replication.positions`), so that the router knows how far each copy is.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from sqlite_replication import positions

logger = logging.getLogger("sqlite_replication")

BUSY_SECONDS = 20
"""How long a copy waits for a lock that somebody else holds."""


def _mark(replica: Path) -> Path:
    return replica.with_name(f"{replica.name}-held")


def is_held(replica: Path) -> bool:
    """Whether a replica stays as it is."""
    return _mark(replica).exists()


def hold(replica: Path) -> None:
    """Let a replica stay as it is, whichever process simulates, until it is released."""
    _mark(replica).touch()


def release(replica: Path) -> None:
    """Let a replica catch up."""
    _mark(replica).unlink(missing_ok=True)


class AlreadyReplicatingError(RuntimeError):
    """Another simulator, perhaps of another process, is copying the same primary."""


class _Snapshot(NamedTuple):
    taken_at: float
    content: sqlite3.Connection


class SQLiteReplicationSimulator:
    """Copies the file ``primary`` to the files ``replicas``, ``lag`` seconds late.

    Step by step, with :meth:`take_snapshot` and :meth:`apply`; or by itself, between :meth:`start`
    and :meth:`stop` (or as a context manager), in a thread that looks for changes every
    ``interval`` seconds. Its methods may be called from any thread.
    """

    def __init__(
        self,
        primary: Path,
        replicas: Sequence[Path],
        *,
        lag: float = 2.0,
        interval: float = 0.1,
    ) -> None:
        self.primary = primary
        self.replicas = tuple(replicas)
        self.lag = lag
        self.interval = interval
        self._snapshots: deque[_Snapshot] = deque()
        self._shown: sqlite3.Connection | None = None
        self._behind: set[Path] = set()
        self._source: sqlite3.Connection | None = None
        self._seen_version: int | None = None
        self._guard = threading.RLock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock_file: IO[bytes] | None = None

    # Step by step

    def take_snapshot(self) -> None:
        """Remember what the primary holds now. Replicas stay as they are."""
        with self._guard:
            content = sqlite3.connect(":memory:", check_same_thread=False)
            try:
                self._open_primary().backup(content)
                positions.mark_as_copy(content, self.lag)
            except BaseException:
                content.close()
                raise
            self._snapshots.append(_Snapshot(time.monotonic(), content))

    def apply(self, *, taken_before: float | None = None) -> bool:
        """Let the replicas show the newest snapshot, and drop it with those before it.

        With ``taken_before`` (a reading of :func:`time.monotonic`), later snapshots are left for a
        later call. Returns whether there was anything to apply.
        """
        with self._guard:
            due: list[_Snapshot] = []
            while self._snapshots and (taken_before is None or self._snapshots[0].taken_at <= taken_before):
                due.append(self._snapshots.popleft())
            if not due:
                return False
            old, self._shown = self._shown, due.pop().content
            for content in filter(None, [old, *(snapshot.content for snapshot in due)]):
                content.close()
            self._behind.update(self.replicas)
            self._show()
            return True

    def _show(self) -> None:
        """Write the newest snapshot that was applied to those replicas that lack it, and are not held."""
        with self._guard:
            for replica in [path for path in self.replicas if path in self._behind and not is_held(path)]:
                if self._shown is not None:
                    self._write(self._shown, replica)
                self._behind.discard(replica)

    def synchronise(self) -> None:
        """Make the replicas equal to the primary now, without any lag."""
        with self._guard:
            self.take_snapshot()
            self.apply()

    # By itself

    def start(self) -> None:
        """Synchronise, then follow the primary in a daemon thread.

        Raises :class:`AlreadyReplicatingError` if another simulator follows the same file.
        """
        self._take_lock()
        try:
            for replica in self.replicas:
                release(replica)
            self.synchronise()
            self._seen_version = self._primary_version()
        except BaseException:
            self._release_lock()
            raise
        self._stopping.clear()
        self._thread = threading.Thread(target=self._follow, name="sqlite-replication", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. What was on its way to the replicas stays unseen."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.close()
        self._release_lock()

    def close(self) -> None:
        """Forget the snapshots and close the primary's file."""
        with self._guard:
            while self._snapshots:
                self._snapshots.pop().content.close()
            if self._source is not None:
                self._source.close()
                self._source = None
            if self._shown is not None:
                self._shown.close()
                self._shown = None

    def __enter__(self) -> SQLiteReplicationSimulator:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # How it is done

    def _follow(self) -> None:
        while not self._stopping.wait(self.interval):
            try:
                version = self._primary_version()
                if version != self._seen_version:
                    self.take_snapshot()
                    self._seen_version = version
                self.apply(taken_before=time.monotonic() - self.lag)
                self._show()
            except sqlite3.Error:
                logger.exception("Replicas of %s could not be refreshed; trying again", self.primary)

    def _primary_version(self) -> int:
        """Return a number that changes with each commit of another connection.

        It has to be read before the copy is made: a commit in between is then copied again, where
        the other way round it would be missed.
        """
        with self._guard:
            (version,) = self._open_primary().execute("PRAGMA data_version").fetchone()
            return int(version)

    def _open_primary(self) -> sqlite3.Connection:
        # One connection throughout, because `data_version` compares with what this one saw before.
        # Opened with mode=rw, a missing primary is an error and not a new, empty file.
        if self._source is None:
            source = sqlite3.connect(
                f"{self.primary.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=BUSY_SECONDS,
                check_same_thread=False,
            )
            try:
                positions.install(source)
            except BaseException:
                source.close()
                raise
            self._source = source
        return self._source

    @staticmethod
    def _write(content: sqlite3.Connection, replica: Path) -> None:
        with closing(sqlite3.connect(replica, timeout=BUSY_SECONDS)) as target:
            target.execute("PRAGMA journal_mode=WAL")
            # A copy that is lost with the machine is made again; no need to wait for the disk.
            target.execute("PRAGMA synchronous=OFF")
            target.execute("PRAGMA journal_size_limit=1048576")
            content.backup(target)

    def _take_lock(self) -> None:
        lock_file = self.primary.with_name(f"{self.primary.name}-replication").open("wb")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock_file.close()
            raise AlreadyReplicatingError(
                f"{self.primary} is being replicated already; two simulators would undo each other."
            ) from error
        self._lock_file = lock_file

    def _release_lock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None
