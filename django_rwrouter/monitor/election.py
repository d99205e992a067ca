"""Elects the process of a host that probes the servers: the leader holds a file lock and keeps publishing.

The kernel releases the lock of a process that ends. A stopped process (``SIGSTOP``) keeps its lock, so
another one that sees no heartbeat replaces the locked file. The former leader notices before it publishes
again, and steps down.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from django.conf import settings as django_settings
from django.db import connections

from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Topology
from django_rwrouter.monitor import snapshot as snapshots
from django_rwrouter.monitor.runtime_directory import RuntimeDirectory, location, reason_of
from django_rwrouter.monitor.snapshot import Snapshot

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


class HostElection:
    """An election by a lock on a file in a directory that the processes of one user share."""

    def __init__(self, topology: Topology, interval: float) -> None:
        """Open the directory; raises :class:`CannotShareError`."""
        if fcntl is None:
            raise CannotShareError("this system has no file locks of the kind that is needed")
        self._interval = interval
        key = settings_key(topology, user=os.geteuid(), namespaces=[_namespace(name) for name in _NAMESPACES])
        self._lock_name, self._guard_name, self._snapshot_name = (
            f"{key}.{ending}" for ending in ("lock", "takeover", "json")
        )
        self._boot = _boot_id()
        self._lock: int | None = None
        self._own_lock = (0, 0)
        self._seen = (0, 0, 0)
        """Identity of the snapshot file that was read last."""
        self._heartbeat_at = monotonic()
        """The leader's last heartbeat (monotonic seconds)."""
        self._term = 0
        try:
            self._directory = RuntimeDirectory(location())
        except OSError as error:
            raise CannotShareError(reason_of(error)) from error

    def leads(self) -> bool:
        """Whether this process is the leader; tries to become it where nobody is."""
        try:
            return self._still_leads() if self._lock is not None else self._try_to_lead()
        except OSError as error:
            raise CannotShareError(reason_of(error)) from error

    def publish(self, snapshot: Snapshot) -> bool:
        """Publish a snapshot; return whether this process still leads."""
        at = monotonic()  # Before the lock is checked, so that a late snapshot is seen to be late.
        try:
            if self._lock is None or not self._still_leads():
                return False
            data = snapshots.encode(snapshot, float) | {"boot": self._boot, "term": self._term, "at": at}
            self._directory.replace(self._snapshot_name, snapshots.to_bytes(data))
        except OSError as error:
            raise CannotShareError(reason_of(error)) from error
        return True

    def read(self) -> tuple[Snapshot, float] | None:
        """Return a new snapshot and the monotonic time until which it is trusted, or ``None``."""
        try:
            file = self._directory.identity(self._snapshot_name)
            if file == self._seen:
                return None
            data = snapshots.from_bytes(self._directory.read(self._snapshot_name))
        except OSError as error:
            raise CannotShareError(reason_of(error)) from error
        self._seen = file
        now = monotonic()
        try:
            at, term = float(data["at"]), int(data["term"])
            is_late = not now - TRUSTED_INTERVALS * self._interval < at <= now
            if data["boot"] != self._boot or is_late or term < self._term:
                return None
        except (LookupError, TypeError, ValueError):
            return None
        self._heartbeat_at, self._term = max(self._heartbeat_at, at), term
        snapshot = snapshots.decode(data, float)
        return None if snapshot is None else (snapshot, at + TRUSTED_INTERVALS * self._interval)

    @property
    def has_failed(self) -> bool:
        """Whether heartbeats have been missing for so long that the election itself must have failed."""
        return monotonic() - self._heartbeat_at > 2 * TRUSTED_INTERVALS * self._interval

    def close(self) -> None:
        """Release everything. In a forked child this does not affect the parent."""
        with suppress(OSError):
            self._step_down()
        with suppress(OSError):
            self._directory.close()

    # --- the lock -----------------------------------------------------------------------------------

    def _step_down(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _try_to_lead(self) -> bool:
        lock = self._directory.open(self._lock_name)
        try:
            if not _locked(lock):
                self._read_heartbeat(lock)
                return self._is_silent() and self._take_over()
            if _file(os.fstat(lock)) != self._directory.identity(self._lock_name)[:2]:
                return False  # The file was replaced meanwhile.
            self._begin_term(lock)
            lock = -1
            return True
        finally:
            if lock >= 0:
                os.close(lock)

    def _take_over(self) -> bool:
        """Replace the lock file of a silent leader by one of this process's; one process at a time."""
        guard = self._directory.open(self._guard_name)
        try:
            if not _locked(guard):
                return False
            # Another process may have taken over since the last look.
            self.read()
            current = self._directory.open(self._lock_name)
            try:
                self._read_heartbeat(current)
            finally:
                os.close(current)
            if not self._is_silent():
                return False
            temporary = f"{self._lock_name}.{os.getpid()}"
            self._directory.remove(temporary)
            lock = self._directory.open(temporary, os.O_EXCL)
            try:
                if not _locked(lock):
                    raise BlockingIOError(f"{temporary} is locked")
                self._begin_term(lock)
                self._directory.rename(temporary, self._lock_name)
            except OSError:
                self._lock = None
                os.close(lock)
                raise
            return True
        finally:
            os.close(guard)

    def _begin_term(self, lock: int) -> None:
        self._read_heartbeat(lock)
        self._term += 1
        self._heartbeat_at = monotonic()
        os.pwrite(lock, b"%-19d %-30.6f" % (self._term, self._heartbeat_at), 0)
        self._lock, self._own_lock = lock, _file(os.fstat(lock))

    def _read_heartbeat(self, lock: int) -> None:
        """Read when the leader's term began: it may not have published anything yet."""
        try:
            term, at = os.pread(lock, 64, 0).split()
            began = float(at)
            if began <= monotonic():  # Else it was written before the host was started anew.
                self._term = max(self._term, int(term))
                self._heartbeat_at = max(self._heartbeat_at, began)
        except ValueError:
            pass

    def _is_silent(self) -> bool:
        return monotonic() - self._heartbeat_at > SILENT_INTERVALS * self._interval

    def _still_leads(self) -> bool:
        if self._directory.identity(self._lock_name)[:2] == self._own_lock:
            self._heartbeat_at = monotonic()
            return True
        self._step_down()
        return False


def settings_key(topology: Topology, **place: object) -> str:
    """Return a key that is the same for processes that may share: by settings, environment and place."""
    options = ("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS")
    common = {
        "version": snapshots.VERSION,
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


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
