"""The thread that keeps this process's knowledge of its servers up to date.

As the elected leader it probes the servers; otherwise it reads the snapshots that the leader publishes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

from django_rwrouter.conf.clusters import Topology
from django_rwrouter.conf.options import MonitorSettings
from django_rwrouter.events.emit import emitted_elsewhere, own_ejections
from django_rwrouter.monitor.cache_election import CacheElection
from django_rwrouter.monitor.election import CannotShareError, Election, HostElection
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import take_in
from django_rwrouter.monitor.rounds import MISSED_ROUNDS, ErrorReports, Rounds, cut_off, end_hung_probes
from django_rwrouter.monitor.snapshot import Snapshot
from django_rwrouter.monitor.verdicts import Verdicts
from django_rwrouter.servers import asking
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import ServerState

logger = logging.getLogger("django_rwrouter")
READS_PER_INTERVAL: Final = 4
"""How many times per interval a follower looks for a new snapshot: each costs a ``stat()`` or a look
into the cache."""
ALONE_SECONDS: Final = 60.0
"""For how long a process that cannot share probes by itself before it tries to share again."""


class Watcher:
    """Watches the servers in a thread, alone or with other processes."""

    def __init__(self, topology: Topology, settings: MonitorSettings) -> None:
        self._topology, self._settings = topology, settings
        self._verdicts = Verdicts(topology, MISSED_ROUNDS * settings.interval + settings.timeout)
        self._election: Election | None = None
        self._alone_until = float("inf") if settings.share == "none" else 0.0
        self._alone_because = ""
        self._rounds: Rounds | None = None
        self._heard: dict[str, float] = {}
        """By alias, the start of the newest probe that was read from a snapshot."""
        self._cut_off: dict[str, float] = {}
        self._stopped = False
        self._woken = threading.Event()
        self._report = ErrorReports()
        self._handling = threading.Lock()
        """Held while the thread works; free while it waits."""
        self.thread = threading.Thread(target=self._run, name="rwrouter-monitor", daemon=True)
        self.thread.start()

    @property
    def probers(self) -> Mapping[str, Prober]:
        """The prober of each server, by alias; empty in a follower."""
        rounds = self._rounds
        return {} if rounds is None else rounds.probers

    def stop(self) -> None:
        """Tell the threads to end, and do not wait for them."""
        self._stopped = True
        self._woken.set()
        rounds = self._rounds
        if rounds is not None:
            rounds.wake()
        health.watch(0.0)

    def join(self, seconds: float) -> None:
        """Wait at most ``seconds`` for all threads to end."""
        until = monotonic() + seconds
        rounds = self._rounds
        workers = () if rounds is None else [worker.thread for worker in rounds.workers.values()]
        for thread in (self.thread, *workers):
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - monotonic()))

    def locks(self) -> Iterator[threading.Lock]:
        """Yield the locks under which the threads work, that of this one first: it may make others."""
        yield self._handling
        if (rounds := self._rounds) is not None:
            yield from [worker.probing for worker in list(rounds.workers.values())]

    def abandon(self) -> None:
        """Let go of the parent's connections and lock, in a forked child."""
        for prober in self.probers.values():
            prober.disarm()
        election = self._election
        if election is not None:
            election.close()

    def snapshot(self) -> Mapping[str, ServerState]:
        """Return the state of each server, by alias."""
        return self._verdicts.snapshot()

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopped:
                try:
                    self._step()
                except CannotShareError as error:
                    self._be_alone(str(error))
                except Exception as error:
                    if isinstance(error, RuntimeError) and "thread" in str(error):
                        raise
                    self._report(error)
                    self._woken.wait(self._settings.interval / READS_PER_INTERVAL)
        except RuntimeError as error:
            # The system allows no more threads, or the interpreter is going. Requests do without a monitor.
            logger.warning("The databases are not monitored: %s.", error)
        finally:
            self._end_rounds()
            self._leave_election()

    def _step(self) -> None:
        """Run one round as the leader, or read once as a follower."""
        with self._handling:
            for alias in health.ejections():
                end_hung_probes(alias, self._settings.timeout)
            leads = self._leads()
        if leads:
            self._ask()
        else:
            self._follow()

    def _leads(self) -> bool:
        if monotonic() < self._alone_until:
            return True
        if self._election is None:
            kind, _, alias = self._settings.share.partition(":")
            interval = self._settings.interval
            self._election = (
                CacheElection(self._topology, interval, alias)
                if kind == "cache"
                else HostElection(self._topology, interval)
            )
        return self._election.leads()

    def _ask(self) -> None:
        if self._rounds is None:
            own_ejections.lead()
            self._verdicts.ejected_elsewhere = frozenset()
            rounds = Rounds(self._topology, self._settings, self._verdicts, self._handling, self._report)
            self._rounds = rounds
            rounds.start()
        if self._stopped:  # stop() may have come before there were rounds to wake.
            return
        self._rounds.run(self._publish)

    def _publish(self, snapshot: Snapshot) -> bool:
        if self._election is None:
            return True
        still_leads = self._election.publish(snapshot)
        self._alone_because = ""
        return still_leads

    def _follow(self) -> None:
        with self._handling:
            election = self._election
            if election is None:
                return
            self._end_rounds()
            own_ejections.follow()
            news = election.read()
            if news is not None:
                self._alone_because = ""
                snapshot, trusted_until = news
                health.watch(trusted_until - monotonic())
                with emitted_elsewhere():
                    self._take_in(snapshot)
                own_ejections.settle(self._heard, snapshot.ejected)
            elif election.has_failed:
                raise CannotShareError("no process publishes what it knows, and none can take over")
        self._woken.wait(self._settings.interval / READS_PER_INTERVAL)

    def _take_in_ejections(self, snapshot: Snapshot) -> None:
        for alias, why in snapshot.ejected.items():
            if not health.is_ejected(alias):
                asking.trip(alias, why)
        # A new leader may not have probed them yet, and then does not know of the ejection.
        answering = {finding.alias for finding in snapshot.findings if not finding.failure}
        restored = (self._verdicts.ejected_elsewhere - snapshot.ejected.keys()) & answering
        for alias in restored:
            health.restore(alias)
        self._verdicts.ejected_elsewhere = (self._verdicts.ejected_elsewhere - restored).union(
            snapshot.ejected
        )

    def _take_in(self, snapshot: Snapshot) -> None:
        self._take_in_ejections(snapshot)
        for finding in snapshot.findings:
            if finding.began > self._heard.get(finding.alias, float("-inf")):
                self._heard[finding.alias] = finding.began
                if finding.alias in snapshot.ejected and finding.reading is not None:
                    # The position may have been measured before the ejection.
                    reading = replace(finding.reading, position=None)
                    finding = replace(finding, reading=reading)  # noqa: PLW2901
                self._verdicts.heard(finding, finding.began)
        for alias, at in snapshot.cut_off.items():
            if at > self._cut_off.get(alias, float("-inf")):
                self._cut_off[alias] = at
                cut_off(alias, self._settings.timeout)
        take_in(snapshot.answers, self._report)
        self._verdicts.end_round()

    def _be_alone(self, why: str) -> None:
        self._leave_election()
        self._alone_until = monotonic() + ALONE_SECONDS
        if why != self._alone_because:
            self._alone_because = why
            logger.warning(
                "This process asks the servers by itself, as it cannot share what it knows with others: %s."
                " RWROUTER['MONITOR'] with 'SHARE': 'none' says that this is meant.",
                why,
            )

    def _end_rounds(self) -> None:
        rounds, self._rounds = self._rounds, None
        if rounds is not None:
            rounds.end()

    def _leave_election(self) -> None:
        election, self._election = self._election, None
        if election is not None:
            election.close()
        own_ejections.following = False
