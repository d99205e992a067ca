"""Rounds of probes on the path of requests (``MONITOR["MODE"]`` is ``"inline"``)."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from time import monotonic

from django_rwrouter.conf.clusters import Topology
from django_rwrouter.conf.options import MonitorSettings
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import PrimarySample, take_in
from django_rwrouter.monitor.rounds import JITTER, MISSED_ROUNDS, ErrorReports, make_probers
from django_rwrouter.monitor.verdicts import Verdicts
from django_rwrouter.scope.state import running_loop
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import ServerState


class InlineRounds:
    """Probes the servers one after another, on the path of requests."""

    def __init__(self, topology: Topology, settings: MonitorSettings) -> None:
        self._topology = topology
        self._interval, self._timeout = settings.interval, settings.timeout
        self._verdicts = Verdicts(topology, MISSED_ROUNDS * self._interval + POLICY.longest_pause)
        self._probers = make_probers(topology, self._timeout)
        self._turn = threading.Lock()
        self._next = 0.0
        self._rests: dict[str, tuple[float, float]] = {}
        """Of servers that have failed, for how long they rest, and until when."""
        self._stopped = False
        self._report = ErrorReports()

    def stop(self) -> None:
        """Stop probing, and close the connections unless a round is under way."""
        self._stopped = True
        health.watch(0.0)
        if self._turn.acquire(blocking=False):
            self._close()
            self._turn.release()

    def abandon(self) -> None:
        """Let go of the parent's connections, in a forked child."""
        for prober in self._probers.values():
            prober.disarm()

    def snapshot(self) -> Mapping[str, ServerState]:
        """Return the state of each server, by alias."""
        return self._verdicts.snapshot()

    def run_if_due(self) -> None:
        """Run a round if one is due, no other thread runs one, and this is not the event loop."""
        if monotonic() < self._next or running_loop() or not self._turn.acquire(blocking=False):
            return
        try:
            self._round()
        finally:
            self._next = monotonic() + self._interval * random.uniform(1 - JITTER, 1 + JITTER)
            if self._stopped:
                self._close()
            self._turn.release()

    def _round(self) -> None:
        began = monotonic()
        health.watch(MISSED_ROUNDS * self._interval + self._timeout)
        samples: dict[str, PrimarySample] = {}
        # After the primaries, the servers probed longest ago come first, as time may run out.
        for alias, prober in list(self._probers.items()):
            if monotonic() - began >= self._timeout:
                break
            if monotonic() < self._rests.get(alias, (0.0, 0.0))[1]:
                continue
            cluster = self._topology.by_alias.get(alias)
            primary = alias if cluster is None else cluster.primary
            self._ask(prober, samples.setdefault(primary, PrimarySample()))
            if not prober.is_primary:
                self._probers[alias] = self._probers.pop(alias)
        for cluster in self._topology.clusters.values():
            if self._verdicts.must_place(cluster):
                self._ask(self._probers[cluster.primary], PrimarySample())
        self._verdicts.end_round()

    def _ask(self, prober: Prober, sample: PrimarySample) -> None:
        alias = prober.alias
        # psycopg bounds the time to connect, but not the time to read.
        finding = prober.probe(
            sample, fresh=self._verdicts.must_connect(alias) or not prober.reads_in_bounded_time
        )
        try:
            self._verdicts.heard(finding, monotonic())
            if not finding.failure:
                take_in(prober.ask_more(), self._report)
        except Exception as error:  # noqa: BLE001  (no reason to fail a request)
            self._report(error)
        if finding.failure:
            pause, _until = self._rests.get(alias, (self._interval / 2, 0.0))
            pause = min(2 * pause, POLICY.longest_pause)
            self._rests[alias] = pause, monotonic() + pause
        else:
            self._rests.pop(alias, None)

    def _close(self) -> None:
        for prober in self._probers.values():
            prober.close()
