"""When the monitor starts, stops, forks and begins anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Final

from django_rwrouter import process
from django_rwrouter.conf import SETTING, get_settings
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor.inline import InlineRounds
from django_rwrouter.monitor.questions import ProbeQuestion, also_ask
from django_rwrouter.monitor.watcher import Watcher
from django_rwrouter.servers.server_state import ServerState

__all__ = ["ProbeQuestion", "ServerState", "also_ask", "ensure_running", "reset", "snapshot"]
logger = logging.getLogger("django_rwrouter")
FORK_PATIENCE: Final = 0.5
"""Seconds that a fork waits for the monitor's threads to hold no lock of anything."""


class _Monitor:
    """This process's."""

    def __init__(self) -> None:
        self.in_tests = False
        """Whether to run in Django's test environment, too."""
        self._held: dict[int, list[threading.Lock]] = {}
        """What holds up the monitor's threads, by the thread that is about to fork."""
        self._renew()

    def _renew(self) -> None:
        self.calls = True
        """Whether the begin of a request should call."""
        self._starting = threading.Lock()
        self._threaded: Watcher | None = None
        self._inline: InlineRounds | None = None

    def called(self) -> None:
        """Start, or make a round, whichever it is time for."""
        # Who comes while another starts it goes on.
        if self.rounds is None and self._starting.acquire(blocking=False):
            try:
                if self.calls and self.rounds is None:
                    self._start()
            finally:
                self._starting.release()
        if self._inline is not None:
            self._inline.run_if_due()

    def _start(self) -> None:
        if process.in_test_environment() and not self.in_tests:
            return  # Django's test environment: threads would meet the tests' transactions.
        topology = get_topology()
        settings = get_settings().monitor
        watches = not topology.inert and any(each.replicas for each in topology.clusters.values())
        if watches and settings.mode == "inline":
            self._inline = InlineRounds(topology, settings)
            return
        self.calls = False
        if watches and settings.mode == "thread":
            try:
                self._threaded = Watcher(topology, settings)
            except RuntimeError as error:
                # The system allows no more threads, or the interpreter is going.
                logger.warning("The databases are not monitored: %s.", error)
            else:
                process.call_at_exit(self.stop)

    @property
    def rounds(self) -> Watcher | InlineRounds | None:
        """What runs now."""
        return self._threaded or self._inline

    def stop(self) -> None:
        """End, without waiting for anything."""
        rounds = self.rounds
        if rounds is not None:
            rounds.stop()

    def forget(self, patience: float = 0.0) -> None:
        """End, and have the next call read the settings again; wait for the thread for so many seconds."""
        self.stop()
        threaded = self._threaded
        self._renew()
        if threaded is not None and patience:
            threaded.join(patience)

    def before_fork(self) -> None:
        """Have the threads hold no lock while the process forks: the child would have it for ever.

        Django holds one for a moment whenever a connection is opened (its signals'), Python whenever a module
        is imported.
        """
        threaded = self._threaded
        if threaded is not None:
            self._held[threading.get_ident()] = threaded.pause(FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Let them go on."""
        for lock in self._held.pop(threading.get_ident(), ()):
            lock.release()

    def after_fork_in_child(self) -> None:
        """Be as in a new process. Nothing of before is used, and no connection of the parent is touched."""
        rounds = self.rounds
        if rounds is not None:
            rounds.abandon()
        self._held.clear()
        self._renew()


_monitor: Final = _Monitor()


def ensure_running() -> None:
    """See to it that the servers are watched: called wherever a request, a task or a scope begins.

    Does nothing where that is done already, where ``MONITOR["MODE"]`` is ``"off"``, where there are no
    replicas, and in Django's test environment. With ``"inline"``, makes a round if it is time for one.
    """
    if _monitor.calls:
        _monitor.called()


def snapshot() -> Mapping[str, ServerState]:
    """Return the state of each server as of its last probe, by alias; empty where nothing is watched."""
    rounds = _monitor.rounds
    return {} if rounds is None else rounds.snapshot()


def reset(patience: float = 5.0) -> None:
    """Stop, and begin anew as in a new process; wait at most ``patience`` seconds for the end. For tests."""
    _monitor.forget(patience)


process.owns(reset, in_child=_monitor.after_fork_in_child)
process.on_change(_monitor.forget, [SETTING])
process.around_fork(_monitor.before_fork, _monitor.after_fork_in_parent)
