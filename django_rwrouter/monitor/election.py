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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

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


_T = TypeVar("_T")


class CannotShareError(Exception):
    """This process cannot share what it knows with others."""


class Election:
    """This process's membership: leads or follows, publishes or reads snapshots. Used by one thread.

    Every method may raise :class:`CannotShareError`, but for :meth:`close`.
    """

    lease_seconds = 0.0
    """For how long a process that has ended counts as the leader."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._heartbeat_at = monotonic()
        """The last sign of a leader (monotonic seconds)."""

    def leads(self) -> bool:
        """Whether this process is the leader; tries to become it where nobody is."""
        return self._call(self._lead)

    def publish(self, snapshot: Snapshot) -> bool:
        """Publish a snapshot; return whether this process still leads."""
        # Dated before the claim is checked, so that a late snapshot is seen to be late.
        return self._call(partial(self._publish, replace(snapshot, at=monotonic())))

    def read(self) -> tuple[Snapshot, float] | None:
        """Return a new snapshot and the monotonic time until which it is trusted, or ``None``."""
        snapshot = self._call(self._receive)
        if snapshot is None:
            return None
        trusted_until = snapshot.at + TRUSTED_INTERVALS * self._interval
        return (snapshot, trusted_until) if trusted_until > monotonic() else None

    @property
    def has_failed(self) -> bool:
        """Whether heartbeats have been missing for so long that the election itself must have failed."""
        limit = 2 * TRUSTED_INTERVALS * self._interval + self.lease_seconds
        return monotonic() - self._heartbeat_at > limit

    def close(self) -> None:
        """Give up what is held. In a forked child this does not affect the parent."""
        raise NotImplementedError

    def _claim(self) -> bool:
        """Try to become the leader."""
        raise NotImplementedError

    def _renew(self) -> bool:
        """Whether this process is still the leader, if it was."""
        raise NotImplementedError

    def _send(self, snapshot: Snapshot) -> None:
        raise NotImplementedError

    def _receive(self) -> Snapshot | None:
        """Return the leader's snapshot if it is new."""
        raise NotImplementedError

    def _call(self, function: Callable[[], _T]) -> _T:
        """Return what ``function`` returns; raise :class:`CannotShareError` for its errors."""
        raise NotImplementedError

    def _is_silent(self) -> bool:
        return monotonic() - self._heartbeat_at > SILENT_INTERVALS * self._interval

    def _lead(self) -> bool:
        # The others see that somebody leads before it has probed, and can date what it probes.
        return self._renew() or (self._claim() and self._publish(Snapshot(at=monotonic())))

    def _publish(self, snapshot: Snapshot) -> bool:
        if not self._renew():
            return False
        self._send(snapshot)
        return True


class HostElection(Election):
    """An election by a lock on a file in a directory that the processes of one user share."""

    def __init__(self, topology: Topology, interval: float) -> None:
        """Open the directory; raises :class:`CannotShareError`."""
        if fcntl is None:
            raise CannotShareError("this system has no file locks of the kind that is needed")
        super().__init__(interval)
        namespaces = [_namespace(name) for name in _NAMESPACES]
        self._key = settings_key(topology, user=os.geteuid(), namespaces=namespaces, boot=_boot_id())
        self._lock_name, self._snapshot_name = f"{self._key}.lock", f"{self._key}.json"
        self._lock: int | None = None
        self._seen = (0, 0, 0)
        """Identity of the snapshot file that was read last."""
        self._made_at = -math.inf
        """When the newest snapshot was made that was read (monotonic seconds)."""
        self._directory = self._call(partial(RuntimeDirectory, location()))

    def close(self) -> None:
        """Release everything. In a forked child this does not affect the parent."""
        self._step_down()
        with suppress(OSError):
            self._directory.close()

    def _call(self, function: Callable[[], _T]) -> _T:
        try:
            return function()
        except OSError as error:
            raise CannotShareError(reason_of(error)) from error

    # --- the leader ---------------------------------------------------------------------------------

    def _claim(self) -> bool:
        self._lock = self._try_to_lock()
        if self._lock is None and self._is_silent():
            self._look()  # This process may have stood still itself.
            if self._is_silent():
                # Of two that do so at once the later one wins, and the other finds out when it publishes.
                self._directory.remove(self._lock_name)
                self._lock = self._try_to_lock()
        if self._lock is None:
            return False
        self._directory.sweep(self._key)
        return True

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

    def _renew(self) -> bool:
        if self._lock is None:
            return False
        own = os.fstat(self._lock)
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

    def _send(self, snapshot: Snapshot) -> None:
        self._directory.replace(self._snapshot_name, encode(snapshot, float))

    # --- a follower ---------------------------------------------------------------------------------

    def _receive(self) -> Snapshot | None:
        file = self._directory.identity(self._snapshot_name)
        if file == self._seen:
            return None
        self._seen = file
        return self._look()

    def _look(self) -> Snapshot | None:
        """Return the snapshot in the file, and note when it was made."""
        snapshot = decode(from_bytes(self._directory.read(self._snapshot_name)), float)
        # A former leader that stood still may write after its successor.
        if snapshot is None or not self._made_at <= snapshot.at <= monotonic():
            return None
        self._made_at = snapshot.at
        self._heartbeat_at = max(self._heartbeat_at, snapshot.at)
        return snapshot


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
