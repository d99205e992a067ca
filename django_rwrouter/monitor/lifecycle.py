"""Starts and stops the monitor of this process, and carries it over forks and changes of settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Final

from django_rwrouter import process
from django_rwrouter.conf import SETTING, get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor.inline import InlineRounds
from django_rwrouter.monitor.watcher import Watcher
from django_rwrouter.servers.server_state import ServerState

logger = logging.getLogger("django_rwrouter")


class _Monitor:
    """The monitor of this process."""

    def __init__(self) -> None:
        self.in_tests = False
        """Whether to run in Django's test environment."""
        self._renew()

    def _renew(self) -> None:
        self.calls = True
        """Whether the start of a request still has to call :meth:`called`."""
        self._starting = threading.Lock()
        self.rounds: Watcher | InlineRounds | None = None

    def called(self) -> None:
        """Start the monitor if it does not run; inline, run a round if one is due."""
        # While another thread starts it, this one goes on.
        starting = self._starting  # A change of the settings puts another in its place.
        if self.rounds is None and starting.acquire(blocking=False):
            try:
                if self.calls and self.rounds is None:
                    self._start()
            finally:
                starting.release()
        if isinstance(rounds := self.rounds, InlineRounds):
            rounds.run_if_due()

    def _start(self) -> None:
        if process.in_test_environment() and not self.in_tests:
            return  # The threads would meet the tests' transactions.
        topology = get_topology()
        settings = get_settings().monitor
        watches = not topology.inert and any(cluster.replicas for cluster in topology.clusters.values())
        if watches and settings.mode == "inline":
            self.rounds = InlineRounds(topology, settings)
            return
        self.calls = False
        if watches and settings.mode == "thread":
            try:
                self.rounds = Watcher(topology, settings)
            except RuntimeError as error:
                # The system allows no more threads, or the interpreter is going.
                logger.warning("The databases are not monitored: %s.", error)
            else:
                process.call_at_exit(self.stop)

    def stop(self) -> None:
        """Tell the monitor to end, and do not wait for it."""
        if (rounds := self.rounds) is not None:
            rounds.stop()

    def forget(self, patience: float = 0.0) -> None:
        """Stop, so that the next call starts with fresh settings; join for at most ``patience`` seconds."""
        self.stop()
        rounds = self.rounds
        self._renew()
        if isinstance(rounds, Watcher) and patience:
            rounds.join(patience)

    def locks(self) -> Iterable[threading.Lock]:
        """Return the locks under which the monitor's threads work."""
        return self.rounds.locks() if isinstance(self.rounds, Watcher) else ()

    def after_fork_in_child(self) -> None:
        """Start afresh, without touching the parent's connections."""
        if self.rounds is not None:
            self.rounds.abandon()
        self._renew()


_monitor: Final = _Monitor()


def ensure_running() -> None:
    """Start the monitor if it does not run; called wherever a request, a task or a scope begins.

    Does nothing if ``MONITOR["MODE"]`` is ``"off"``, if there are no replicas, and in Django's test
    environment. In ``"inline"`` mode, runs a round if one is due.
    """
    if _monitor.calls:
        _monitor.called()


def snapshot() -> Mapping[str, ServerState]:
    """Return the state of each server as of its last probe, by alias; empty where nothing is watched."""
    rounds = _monitor.rounds
    return {} if rounds is None else rounds.snapshot()


def reset(patience: float = 5.0) -> None:
    """Stop and start afresh; join for at most ``patience`` seconds. For tests."""
    _monitor.forget(patience)


process.owns(reset, in_child=_monitor.after_fork_in_child)
process.on_change(_monitor.forget, [SETTING])
process.rests_for_forks(_monitor.locks)
