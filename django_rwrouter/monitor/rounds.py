"""Rounds of probes: all servers at once, each in a thread of its own."""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Topology
from django_rwrouter.conf.options import MonitorSettings
from django_rwrouter.events.causes import TIMEOUT
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import (
    QUESTIONS,
    Answers,
    PrimarySample,
    ProbeQuestion,
    ProbeResult,
    take_in,
)
from django_rwrouter.monitor.schedule import Turn, next_deadline, woke
from django_rwrouter.monitor.snapshot import Snapshot
from django_rwrouter.monitor.verdicts import Verdicts
from django_rwrouter.servers import pools, sockets
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import loads

logger = logging.getLogger("django_rwrouter")
JITTER: Final = 0.1
"""Part of an interval by which it is varied at random, so that processes that started together do not probe
at the same moments."""
MISSED_ROUNDS: Final = 3
"""Intervals without an answer after which the primary, or the monitor itself, counts as gone."""
HEAD_START: Final = 0.1
"""Seconds that probes of replicas wait for the primary's sample at most, so that they come after it. A
primary that was away in the last round is not waited for."""
SECOND_CHANCE: Final = 1.0
"""Seconds that a server gets after a missed deadline, on a new connection where the old one could be closed.
If it misses that, too, the reads that hang on it are cut off."""


def make_probers(topology: Topology, timeout: float) -> dict[str, Prober]:
    """Return a prober for each server, by alias, primaries first."""
    watched = {
        alias: cluster.primary
        for cluster in topology.clusters.values()
        if cluster.replicas
        for alias in cluster.aliases
    }
    # The database with this app's tables may belong to a cluster without replicas, or to no cluster.
    questions: dict[str, list[ProbeQuestion]] = {}
    for question in QUESTIONS:
        questions.setdefault(question.database(), []).append(question)
    for alias in questions:
        watched.setdefault(alias, alias)
    return {
        alias: Prober(alias, primary, timeout, questions.get(alias, ()))
        for alias, primary in sorted(watched.items(), key=lambda item: item[0] != item[1])
    }


def cut_off(alias: str, hung_for: float = 0.0) -> int:
    """Shut down this process's connections to a server that cannot be reached; log and return how many hung.

    psycopg has no read timeout, and mysqlclient's is often long for the sake of slow queries. A statement, a
    ping, a probe or a pool's check on a frozen server would otherwise wait for very long. Statements younger
    than ``hung_for`` seconds are spared.
    """
    load = loads[alias]
    running = [connection for connection, _began in list(load.running.values())]
    severed = sockets.sever_all(alias, spare=load.younger_than(hung_for) if hung_for else ())
    pools.end_unused(alias)
    ended = sum(connection in severed for connection in running)
    if ended:
        logger.warning("%d statements that hung on %r were ended.", ended, alias, extra={"alias": alias})
    return ended


def end_hung_probes(alias: str, hung_for: float) -> None:
    """Cut off this package's own probes on an ejected replica that are older than ``hung_for`` seconds.

    A pooler accepts connections for a frozen server, which is therefore never found unreachable. A read that
    waits for a probe goes elsewhere. The site's statements are spared: they may be queued in the pooler.
    """

    def hangs(connection: BaseDatabaseWrapper) -> bool:
        return connection in loads[alias].hung_probes(hung_for)

    for connection in loads[alias].hung_probes(hung_for):
        # If it was answered meanwhile, the site's own statement may run there by now.
        sockets.sever(connection.connection, partial(hangs, connection))


class ErrorReports:
    """Logs errors of the monitor itself, each kind once."""

    def __init__(self) -> None:
        self._reported: set[tuple[str, str]] = set()

    def __call__(self, error: Exception) -> None:
        """Log an error."""
        kind = (type(error).__name__, str(error.__traceback__ and error.__traceback__.tb_lineno))
        level = logging.DEBUG if kind in self._reported else logging.ERROR
        self._reported.add(kind)
        logger.log(level, "The monitor of the databases has met an error, and goes on.", exc_info=error)


Inbox: TypeAlias = "queue.SimpleQueue[ProbeResult | Answers | None]"
"""Results and answers of the workers, and ``None`` to wake the thread that waits for them."""


class _Worker:
    """Probes one server in a thread of its own, so that a frozen server delays no other probe."""

    def __init__(self, prober: Prober, inbox: Inbox) -> None:
        self.prober = prober
        self.turn = Turn()
        self._inbox = inbox
        self._orders: queue.SimpleQueue[tuple[PrimarySample, float, bool] | None] = queue.SimpleQueue()
        self.probing = threading.Lock()
        """Held while the thread works; free while it waits for an order."""
        name = f"rwrouter-probe-{prober.alias}"
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def ask(
        self, deadline: float, sample: PrimarySample | None = None, patience: float = 0.0, *, fresh: bool
    ) -> None:
        self.turn.begin(deadline)
        self._orders.put((sample or PrimarySample(), patience, fresh))

    def stop(self) -> None:
        self._orders.put(None)

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            sample, patience, fresh = order
            with self.probing:
                finding = self.prober.probe(sample, patience=patience, fresh=fresh)
                self._inbox.put(finding)
                if not finding.failure and (answers := self.prober.ask_more()):
                    self._inbox.put(answers)
        with self.probing:
            self.prober.close()


class Rounds:
    """Runs the rounds and passes the results to the verdicts. Used by one thread."""

    def __init__(
        self,
        topology: Topology,
        settings: MonitorSettings,
        verdicts: Verdicts,
        handling: threading.Lock,
        report: ErrorReports,
    ) -> None:
        """Make the probers; ``handling`` is held while the thread works, and free while it waits."""
        self._topology = topology
        self._interval, self._timeout = settings.interval, settings.timeout
        self._verdicts = verdicts
        self._handling = handling
        self._report = report
        self._second_chance = min(self._timeout, SECOND_CHANCE)
        self._end_primary = settings.end_primary_statements
        self._cut_off_at: dict[str, float] = {}
        """When statements on a server were last cut off, by alias (monotonic seconds)."""
        self._answers: Answers = {}
        self._inbox: Inbox = queue.SimpleQueue()
        self._ended = False
        self._until = 0.0
        """End of the current round (monotonic seconds)."""
        self.probers = make_probers(topology, self._timeout)
        self.workers: dict[str, _Worker] = {}

    def start(self) -> None:
        """Start a thread for each server; raises ``RuntimeError`` if the system allows no more."""
        with self._handling:
            for alias, prober in self.probers.items():
                self.workers[alias] = _Worker(prober, self._inbox)

    def wake(self) -> None:
        """Have :meth:`run` return soon; called by any thread."""
        self._ended = True
        self._inbox.put(None)

    def end(self) -> None:
        """End the threads, without waiting for them."""
        for worker in self.workers.values():
            worker.stop()
            if worker.turn.deadline is not None:
                worker.prober.abort()

    def run(self, publish: Callable[[Snapshot], bool]) -> None:
        """Run one round; ``publish`` takes each new snapshot and returns whether to go on."""
        self._until = monotonic() + self._interval * random.uniform(1 - JITTER, 1 + JITTER)
        with self._handling:
            self._begin()
        turns = [worker.turn for worker in self.workers.values()]
        while not self._ended and (now := monotonic()) < self._until:
            wake = next_deadline(turns, min(self._until, now + self._interval / 2))
            try:
                item = self._inbox.get(timeout=max(0.0, wake - now))
            except queue.Empty:
                item = None
                woke(turns, wake, monotonic(), self._timeout)
            with self._handling:
                try:
                    self._take(item)
                except Exception as error:  # noqa: BLE001  (one server must not stop the round)
                    self._report(error)
                if self._inbox.empty() and not publish(self._snapshot()):
                    return
        with self._handling:
            self._verdicts.end_round()

    def _begin(self) -> None:
        if not self._ended:
            health.watch(MISSED_ROUNDS * self._interval + self._timeout)
        samples = {cluster: PrimarySample() for cluster in self._topology.clusters}
        for alias, worker in self.workers.items():
            if worker.turn.deadline is not None:
                worker.turn.is_passed_over = True
                continue
            cluster = self._topology.by_alias.get(alias)
            sample = None if cluster is None else samples[cluster.name]
            is_awaited = cluster is not None and not self._verdicts.is_lost(cluster.name)
            patience = min(HEAD_START, self._timeout / 4) if is_awaited else 0.0
            fresh = self._verdicts.must_connect(alias)
            worker.ask(monotonic() + self._timeout, sample, patience, fresh=fresh)

    def _take(self, item: ProbeResult | Answers | None) -> None:
        if isinstance(item, ProbeResult):
            self._hear(item)
        elif item is not None:
            self._answers = {**self._answers, **item}
            take_in(item, self._report)
        elif self._inbox.empty():
            self._look_for_overdue()

    def _snapshot(self) -> Snapshot:
        findings = self._verdicts.findings
        return Snapshot(
            findings=tuple(findings[alias] for alias in self.probers if alias in findings),
            ejected=health.ejections(),
            cut_off=self._cut_off_at,
            answers=self._answers,
        )

    def _hear(self, finding: ProbeResult) -> None:
        alias, worker = finding.alias, self.workers[finding.alias]
        turn = worker.turn
        if turn.is_out_of_reach(unreachable=finding.unreachable):
            self._cut_off(worker.prober)
        if not turn.end():
            # The probe missed its deadline, so its answer is old: a new connection tells the present state.
            # A server that a round passed over is probed again at once, too: the attempt to connect could not
            # be aborted, and the server may have come back since it began.
            if turn.is_passed_over or turn.misses == 1:
                worker.ask(monotonic() + self._second_chance, fresh=True)
            return
        now = monotonic()
        self._verdicts.heard(finding, now)
        if health.lacks_one_proof(alias) and not finding.failure:
            self._until = min(self._until, now + POLICY.proof_pause * self._interval)
        cluster = self._topology.by_alias.get(alias)
        if (
            cluster is not None
            and self._verdicts.must_place(cluster)
            and self.workers[cluster.primary].turn.deadline is None
        ):
            self.workers[cluster.primary].ask(now + self._timeout, fresh=False)

    def _look_for_overdue(self) -> None:
        for alias, worker in self.workers.items():
            now = monotonic()
            if worker.turn.miss(now, self._second_chance):
                self._verdicts.heard(ProbeResult(alias=alias, began=now, failure=TIMEOUT), now)
                worker.prober.abort()
                # The driver may still be connecting, but the bare connection has failed.
                if worker.prober.unreachable and worker.turn.misses > 1:
                    self._cut_off(worker.prober)

    def _cut_off(self, prober: Prober) -> None:
        """Cut off what hangs on a replica: reads can be run again elsewhere.

        A primary is spared unless the settings say otherwise: the outcome of a commit would be unknown.
        """
        if self._end_primary or not prober.is_primary:
            self._cut_off_at[prober.alias] = monotonic()
            cut_off(prober.alias, self._timeout)
