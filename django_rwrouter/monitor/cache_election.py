"""Elects the process that probes the servers for containers of one process each, or for several hosts.

The leader holds a lease in Django's cache, renews it and publishes under a key of its term. Hosts share no
clock, so the leader writes each time as seconds after it had published a version of its snapshot. A reader
counts them from its last look that did not show that version yet: nothing seems younger than it is, however
long a process stands still or the cache takes.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, Final, TypeVar

from django.core.cache import caches

from django_rwrouter import process
from django_rwrouter.conf.clusters import Topology
from django_rwrouter.monitor.election import SILENT_INTERVALS, CannotShareError, Election, settings_key
from django_rwrouter.monitor.snapshot import Snapshot, decode, encode, from_bytes

_REMEMBERED: Final = 64
"""Versions whose times are remembered: older ones date nothing that matters."""
_SNAPSHOT_SECONDS: Final = 600
"""For how long the cache keeps the snapshots of a term that has ended."""
_PATIENT_INTERVALS: Final = 3.0
_LEAST_PATIENCE: Final = 3.0
"""For how long the cache is waited for: intervals, and seconds at least. A busy host is slow, too."""
_T = TypeVar("_T")


class _CacheThread:
    """Asks the cache in a thread of its own: nobody else hangs where the cache does."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the thread, as in a forked child."""
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._last: Future[Any] | None = None

    def call(self, function: Callable[[], _T], seconds: float) -> _T:
        """Return what ``function`` returns; raises ``TimeoutError``, at once while an earlier call hangs."""
        if self._last is None:
            threading.Thread(
                target=self._run, args=(self._calls,), name="rwrouter-cache", daemon=True
            ).start()
        elif wait([self._last], seconds).not_done:
            raise TimeoutError
        self._last = answer = Future[_T]()
        self._calls.put((function, answer))
        return answer.result(seconds)

    @staticmethod
    def _run(calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]]) -> None:
        while True:
            function, answer = calls.get()
            try:
                answer.set_result(function())
            except Exception as error:  # noqa: BLE001  (it is raised where the answer is waited for)
                answer.set_exception(error)


_thread: Final = _CacheThread()
process.owns(_thread.reset)


class CacheElection(Election):
    """An election by a lease in a cache that the processes of all hosts share."""

    def __init__(self, topology: Topology, interval: float, alias: str) -> None:
        """Use the cache of that alias; raises :class:`CannotShareError`."""
        super().__init__(interval)
        self._alias = alias
        self._thread = _thread
        self._cache = self._call(partial(caches.__getitem__, alias))
        self.lease_seconds = math.ceil(SILENT_INTERVALS * interval)
        self._lease_key = f"rwrouter:{settings_key(topology)}"
        self._pid = os.getpid()
        self._own_term = ""
        """Value of the lease while this process leads."""
        self._published: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """Versions of this process's term, and when they had been published (monotonic seconds)."""
        self._term = ""
        """Value of the lease that was read last."""
        self._looks: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        """Versions of the leader's term, and when the last look began that showed each."""
        self._looked_at: float | None = None

    def close(self) -> None:
        """Give up the lease. In a forked child this does not affect the parent."""
        term, self._own_term = self._own_term, ""
        if term and os.getpid() == self._pid:
            with suppress(CannotShareError):
                self._call(partial(self._give_up, term))

    def _call(self, function: Callable[[], _T]) -> _T:
        try:
            return self._thread.call(function, max(_LEAST_PATIENCE, _PATIENT_INTERVALS * self._interval))
        except CannotShareError:
            raise
        except Exception as error:
            # Each backend raises errors of its own library. Their texts may have an address.
            raise CannotShareError(
                f"the cache {self._alias!r} cannot be used ({type(error).__name__})"
            ) from error

    # --- the leader ---------------------------------------------------------------------------------

    def _claim(self) -> bool:
        began = monotonic()
        if self._term and not self._is_silent():
            return False
        term = uuid.uuid4().hex
        if not self._cache.add(self._lease_key, term, self.lease_seconds):
            return False
        if self._cache.get(self._lease_key) != term:
            if monotonic() - began < self.lease_seconds / 2:
                raise CannotShareError(f"the cache {self._alias!r} does not keep what is put there")
            return False  # This process stood still meanwhile.
        self._own_term, self._term = term, ""
        self._published.clear()
        return True

    def _renew(self) -> bool:
        is_own = self._own_term and self._cache.get(self._lease_key) == self._own_term
        if is_own and self._cache.touch(self._lease_key, self.lease_seconds):
            self._heartbeat_at = monotonic()
            return True
        self._own_term = ""
        return False

    def _send(self, snapshot: Snapshot) -> None:
        number = self._published[-1][0] + 1 if self._published else 0
        data = encode(snapshot, self._encode_time, number=number)
        self._cache.set(self._snapshot_key(self._own_term), data, _SNAPSHOT_SECONDS)
        self._published.append((number, monotonic()))

    def _give_up(self, term: str) -> None:
        if self._cache.get(self._lease_key) == term:
            self._cache.delete(self._lease_key)

    def _encode_time(self, time: float) -> tuple[int, float]:
        """Return the last version that had been published at that time, and the seconds since then."""
        for number, at in reversed(self._published):
            if at <= time:
                return number, time - at
        return -1, 0.0

    # --- a follower ---------------------------------------------------------------------------------

    def _receive(self) -> Snapshot | None:
        began = monotonic()
        key = self._snapshot_key(self._term)
        entries = self._cache.get_many([self._lease_key, key])
        term, text = entries.get(self._lease_key, ""), entries.get(key)
        if term not in {"", self._term}:
            # The last look found another lease, so it was before all versions of this term.
            self._looks.clear()
            if self._looked_at is not None:
                self._looks.append((-1, self._looked_at))
            self._term = term
            text = self._cache.get(self._snapshot_key(term))
        self._looked_at = began
        data: Any = from_bytes(text) if term and isinstance(text, bytes) else None
        try:
            number = int(data["number"])
        except (LookupError, TypeError, ValueError):
            return None
        newest = self._looks[-1][0] if self._looks else -1
        if number < newest:
            raise CannotShareError(f"the cache {self._alias!r} reads from copies that lag")
        if number == newest:
            self._looks[-1] = number, began
            return None
        self._looks.append((number, began))
        self._heartbeat_at = monotonic()
        return decode(data, self._decode_time)

    def _decode_time(self, time: Any) -> float:
        """Return a time that is not later than the one that the leader meant, by this process's clock."""
        published, seconds = time
        for number, looked_at in reversed(self._looks):
            if number < published:
                return looked_at + float(seconds)
        return -math.inf

    def _snapshot_key(self, term: str) -> str:
        return f"{self._lease_key}:{term}"
