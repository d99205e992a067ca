"""Elects the process of a host that probes the servers: the leader holds a file lock and keeps publishing.

The kernel releases the lock of a process that ends. A stopped process (``SIGSTOP``) keeps its lock, so
another one that sees no new snapshot removes the locked file. The former leader notices before it publishes
again, and steps down.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from django.conf import settings as django_settings
from django.db import connections

from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Topology
from django_rwrouter.monitor.runtime_directory import RuntimeDirectory, location, reason_of
from django_rwrouter.monitor.snapshot import VERSION, Snapshot, decode, encode, from_bytes

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TRUSTED_INTERVALS: Final = 2.0
"""Intervals after which a snapshot is not trusted any more."""
SILENT_INTERVALS: Final = 1.5
"""Intervals without a heartbeat after which another process takes over: it needs time to probe, too."""
_NAMESPACES: Final = ("net", "mnt", "time")
"""In another namespace the same address may lead to another server, and the monotonic clock may differ."""
_ADDRESS_VARIABLES: Final = (
    *("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGOPTIONS", "PGTARGETSESSIONATTRS"),
    *("PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT"),
)
"""Environment variables that the drivers take an address from where the settings have none."""


class CannotShareError(Exception):
    """This process cannot share what it knows with others."""


class Election(Protocol):
    """This process's membership: leads or follows, publishes or reads snapshots. Used by one thread.

    Every method may raise :class:`CannotShareError`, but for :meth:`close`.
    """

    def leads(self) -> bool:
        """Whether this process is the leader; tries to become it where nobody is."""

    def publish(self, snapshot: Snapshot) -> bool:
        """Publish a snapshot; return whether this process still leads."""

    def read(self) -> tuple[Snapshot, float] | None:
        """Return a new snapshot and the monotonic time until which it is trusted, or ``None``."""

    @property
    def has_failed(self) -> bool:
        """Whether heartbeats have been missing for so long that the election itself must have failed."""

    def close(self) -> None:
        """Give up what is held. In a forked child this does not affect the parent."""


@contextmanager
def _errors_of_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotShareError(reason_of(error)) from error


class HostElection:
    """An election by a lock on a file in a directory that the processes of one user share."""

    @_errors_of_files()
    def __init__(self, topology: Topology, interval: float) -> None:
        """Open the directory; raises :class:`CannotShareError`."""
        if fcntl is None:
            raise CannotShareError("this system has no file locks of the kind that is needed")
        self._interval = interval
        namespaces = [_namespace(name) for name in _NAMESPACES]
        key = settings_key(topology, user=os.geteuid(), namespaces=namespaces, boot=_boot_id())
        self._lock_name, self._snapshot_name = f"{key}.lock", f"{key}.json"
        self._lock: int | None = None
        self._seen = (0, 0, 0)
        """Identity of the snapshot file that was read last."""
        self._made_at = -math.inf
        """When the newest snapshot was made that was read (monotonic seconds)."""
        self._heartbeat_at = monotonic()
        self._directory = RuntimeDirectory(location())

    @_errors_of_files()
    def leads(self) -> bool:
        """Whether this process is the leader; tries to become it where nobody is."""
        if self._lock is not None:
            return self._still_leads(self._lock)
        lock = self._try_to_lock()
        if lock is None and self._is_silent():
            # Of two that do so at once the later one wins, and the other finds out when it publishes.
            self._directory.remove(self._lock_name)
            lock = self._try_to_lock()
        if lock is None:
            return False
        self._lock = lock
        return self.publish(Snapshot())  # The others see that somebody leads, before it has probed.

    @_errors_of_files()
    def publish(self, snapshot: Snapshot) -> bool:
        """Publish a snapshot; return whether this process still leads."""
        at = monotonic()  # Before the lock is checked, so that a late snapshot is seen to be late.
        if self._lock is None or not self._still_leads(self._lock):
            return False
        self._directory.replace(self._snapshot_name, encode(snapshot, float, at=at))
        return True

    @_errors_of_files()
    def read(self) -> tuple[Snapshot, float] | None:
        """Return a new snapshot and the monotonic time until which it is trusted, or ``None``."""
        file = self._directory.identity(self._snapshot_name)
        if file == self._seen:
            return None
        self._seen, data = file, self._look()
        snapshot = decode(data, float)
        return None if snapshot is None else (snapshot, self._made_at + TRUSTED_INTERVALS * self._interval)

    @property
    def has_failed(self) -> bool:
        """Whether heartbeats have been missing for so long that the election itself must have failed."""
        return monotonic() - self._heartbeat_at > 2 * TRUSTED_INTERVALS * self._interval

    def close(self) -> None:
        """Release everything. In a forked child this does not affect the parent."""
        self._step_down()
        with suppress(OSError):
            self._directory.close()

    # --- the leader ---------------------------------------------------------------------------------

    def _try_to_lock(self) -> int | None:
        lock = self._directory.open(self._lock_name)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return lock

    def _still_leads(self, lock: int) -> bool:
        own = os.fstat(lock)
        if (own.st_dev, own.st_ino) == self._directory.identity(self._lock_name)[:2]:
            self._heartbeat_at = monotonic()
            return True
        self._step_down()
        return False

    def _step_down(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(OSError):
                os.close(lock)

    # --- a follower ---------------------------------------------------------------------------------

    def _look(self) -> Any:
        """Return what the snapshot file has, and note when it was made; ``None`` if that is no news."""
        data = from_bytes(self._directory.read(self._snapshot_name))
        try:
            at, now = float(data["at"]), monotonic()
        except (LookupError, TypeError, ValueError):
            return None
        # A former leader that stood still may write after its successor.
        if not self._made_at <= at <= now < at + TRUSTED_INTERVALS * self._interval:
            return None
        self._made_at = at
        self._heartbeat_at = max(self._heartbeat_at, at)
        return data

    def _is_silent(self) -> bool:
        self._look()
        return monotonic() - self._heartbeat_at > SILENT_INTERVALS * self._interval


def settings_key(topology: Topology, **place: object) -> str:
    """Return a key that is the same for processes that may share: by settings, environment and place."""
    options = ("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS")
    common = {
        "version": VERSION,
        **place,
        "environment": {name: os.environ.get(name) for name in _ADDRESS_VARIABLES},
        "setting": _plain(getattr(django_settings, SETTING, {})),
        "databases": {
            alias: {key: _plain(connections.settings[alias][key]) for key in options}
            for alias in sorted(topology.by_alias)
        },
    }
    return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()[:24]


def _plain(value: object) -> Any:
    """Return a setting's value in JSON's types, equal in every process."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, os.PathLike) else type(value).__qualname__


def _namespace(name: str) -> int:
    try:
        return Path("/proc/self/ns", name).stat().st_ino
    except OSError:
        return 0


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
