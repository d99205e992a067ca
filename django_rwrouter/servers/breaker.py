"""Which servers may be used, as this process knows it: who is ejected, drained, away or switched off.

The breaker of a replica opens at its first failed connection. It closes again when the replica has proved
that it is back: to the monitor, by several probes in a row, or, where no monitor watches, to one request that
tries it. A replica that fails again soon after it was taken back is left alone for longer each time, so that
one which comes and goes does not flap.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from django_rwrouter import process
from django_rwrouter.servers.server_state import Condition, ServerState

Difference = tuple[Collection[str], Collection[str]]
"""What is new, and what is not there any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a replica's breaker opens, and when it closes again. Times are in seconds."""

    first_pause: float = 1.0
    """For how long a replica is left alone after its first failure, and a primary taken for away."""
    slow_pause: float = 10.0
    """For how long a slow replica gets no reads at least. Whatever slows it needs time to pass, and only
    reads show whether it has."""
    longest_pause: float = 60.0
    """What no pause exceeds, before the jitter; nor the time between two inline probes of a server that does
    not answer."""
    retry_growth: float = 2.0
    """By how much the pause grows with each trial in vain."""
    flap_growth: float = 4.0
    """By how much it grows when a replica fails again that had not been well for ``steady_seconds``."""
    steady_seconds: float = 60.0
    jitter: float = 0.2
    """The part of a pause that is added at random, so that processes do not return all at once."""
    proofs: int = 2
    """How many probes in a row must succeed before a watched replica is taken back."""
    proof_pause: float = 0.5
    """The part of the monitor's interval after which a replica that answers again is asked for the proof that
    it lacks. On PostgreSQL the first may come two seconds late: so long an attempt to connect may hang that
    began before the server's return. So it is back within three seconds all the same."""

    slow_factor: float = 3.0
    """How many times the median of its peers a slow replica takes. Replicas that share one load, drawn at
    random, differ by much less over some tens of reads; twice as long may be an older machine, which a WEIGHT
    provides for."""
    slow_excess: float = 0.05
    """By how much it is slower at least: what a visitor begins to notice. Where reads take a millisecond,
    thrice that harms nobody."""
    slow_probe_excess: float = 0.25
    """The same for the monitor's probe, which asks for next to no work: longer than any network takes, so
    that a replica on another continent is not taken for one in trouble."""
    reads_per_sample: int = 20
    """How many reads make a sample of a replica's speed. Fewer are collected over several rounds, so that one
    slow report is not taken for a slow replica."""
    slow_samples: int = 3
    """How many samples in a row must find it slow: a checkpoint, a backup's start or a cold cache passes."""
    sample_rounds: int = 10
    """After how many rounds a sample says nothing any more."""


POLICY: Final = BreakerPolicy()
"""The policy in force: it was found by experiment, and no setting changes it."""


@dataclass(slots=True)
class CircuitBreaker:
    """One replica's: open while the replica is left alone. Times are monotonic; callers hold a lock."""

    is_open: bool = False
    since: float = -math.inf
    """When it opened last."""
    since_unix: float = 0.0
    why: str = ""
    proofs: int = 0
    """How many probes in a row have succeeded since the last failure."""
    until: float = 0.0
    """Nobody takes the replica back before."""
    pause: float = 0.0
    closed_at: float = -math.inf

    def trip(self, now: float, why: str, pause: float, spread: float) -> bool:
        """Open it or, if it is open, lengthen its pause; return whether it was closed.

        ``spread`` is the random part of the pause's jitter, from 0 to 1.
        """
        was_closed = not self.is_open
        if was_closed:
            if now - self.closed_at < POLICY.steady_seconds:
                pause = max(self.pause * POLICY.flap_growth, pause)
            self.is_open, self.since, self.since_unix, self.why = True, now, time.time(), why
        else:
            pause = self.pause * POLICY.retry_growth
        self.pause = min(pause, POLICY.longest_pause)
        self.until = now + self.pause * (1 + POLICY.jitter * spread)
        return was_closed


class Health:
    """Which servers may be used: by their breakers, the operators' switches, and whether primaries answer.

    ``clock`` returns monotonic seconds, ``jitter`` a number from 0 to 1.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self.version = 0
        """Another one whenever a server, a switch or a setting changes, and when a monitor has looked."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        # New: in a forked child the old one may be held for ever, by a thread that is not there.
        self._lock = threading.RLock()
        self._breakers: dict[str, CircuitBreaker] = {}
        self._ejected: frozenset[str] = frozenset()
        self._away: dict[str, float] = {}
        self.drained: Mapping[str, ServerState] = {}
        """The replicas that operators have drained, as this process has read it last."""
        self.off: frozenset[str] = frozenset()
        """The clusters whose kill switch is thrown."""
        self.watched_until = -1.0
        self._invalidate()

    def _invalidate(self) -> None:
        with self._lock:  # Two threads that change something must not store what one of them saw before.
            self.all_well = not (self._ejected or self.drained or self.off)
            """Whether nothing is ejected, drained or switched off; plain, as each decision looks."""
            self.version += 1

    # --- asked on the path of each read -----------------------------------------------------------

    def unusable(self) -> Collection[str]:
        """Return the aliases that take no reads now."""
        if self.all_well:
            return ()
        ejected: Collection[str] = self._ejected
        if ejected and not self.watched:
            now, breakers = self._clock(), list(self._breakers.items())
            ejected = [alias for alias, breaker in breakers if breaker.is_open and now < breaker.until]
        return {*ejected, *self.drained}

    @property
    def watched(self) -> bool:
        """Whether a monitor looks after the servers, so that requests need not."""
        return self._clock() < self.watched_until

    def is_away(self, cluster: str) -> bool:
        """Whether a cluster's primary has not answered lately."""
        return bool(self._away) and self._clock() < self._away.get(cluster, 0.0)

    # --- replicas ---------------------------------------------------------------------------------

    def begin_trial(self, alias: str) -> bool:
        """Whether the caller may open the replica now.

        When the pause of one that failed is over, one caller tries it and the pause begins anew for all
        others, until that trial has succeeded: a frozen server costs one request its ``connect_timeout``,
        not all. A watched one is tried by the monitor alone.
        """
        if alias in self.drained:
            return False
        if alias not in self._ejected:
            return True
        with self._lock:
            breaker, now = self._breakers[alias], self._clock()
            if breaker.is_open and (self.watched or now < breaker.until):
                return False
            breaker.until = now + breaker.pause
            return True

    def ejections(self) -> dict[str, str]:
        """Return the replicas that are ejected, and why."""
        return {alias: self._breakers[alias].why for alias in self._ejected}

    def is_ejected(self, alias: str) -> bool:
        """Whether the replica has failed and not been taken back."""
        return alias in self._ejected

    def ejected_at(self, alias: str) -> float:
        """Return when the replica was last ejected (monotonic): what was asked before proves nothing."""
        breaker = self._breakers.get(alias)
        return -math.inf if breaker is None else breaker.since

    def failed(self, alias: str, why: str = "", *, pause: float = POLICY.first_pause) -> bool:
        """Leave a replica alone, at first for ``pause`` seconds; return whether it was in use until now."""
        with self._lock:
            breaker = self._breakers.setdefault(alias, CircuitBreaker())
            breaker.proofs = 0
            if breaker.is_open and self.watched:
                return False
            if not breaker.trip(self._clock(), why, pause, self._jitter()):
                return False
            self._ejected |= {alias}
            self._invalidate()
            return True

    def works(self, alias: str) -> float | None:
        """Take back a replica that a request's trial has opened.

        Returns for how many seconds it was out, or ``None`` if it was not.
        """
        return self.restore(alias) if alias in self._ejected and not self.watched else None

    def proved(self, alias: str) -> float | None:
        """Note that a probe has found a replica well, with a position that it has now.

        After some of them in a row it is taken back: then returns for how many seconds it was out.
        """
        if alias not in self._ejected:
            return None
        with self._lock:
            breaker = self._breakers[alias]
            breaker.proofs += 1
            if breaker.proofs < POLICY.proofs or self._clock() < breaker.until:
                return None
        return self.restore(alias)

    def lacks_one_proof(self, alias: str) -> bool:
        """Whether one more probe that succeeds is enough to take a replica back."""
        breaker = self._breakers.get(alias)
        return breaker is not None and breaker.is_open and breaker.proofs == POLICY.proofs - 1

    def standing(self, alias: str) -> ServerState:
        """Return a replica's condition, since when it is so, and why."""
        breaker = self._breakers.get(alias)
        if breaker is not None and breaker.is_open:
            return ServerState(
                alias=alias, condition=Condition.EJECTED, since=breaker.since_unix, why=breaker.why
            )
        return self.drained.get(alias) or ServerState(alias=alias)

    # --- the primary and the monitor --------------------------------------------------------------

    def lost_primary(self, cluster: str, seconds: float = POLICY.first_pause) -> None:
        """Take a primary for away, for so long."""
        self._away[cluster] = self._clock() + seconds

    def found_primary(self, cluster: str) -> None:
        """Note that a primary answers."""
        self._away.pop(cluster, None)

    def watch(self, seconds: float) -> None:
        """Leave it to a monitor for so long; it has to say so again and again."""
        self.watched_until = self._clock() + seconds
        self._invalidate()

    def restore(self, alias: str) -> float | None:
        """Take a replica back; return for how many seconds it was out, ``None`` if it was not."""
        with self._lock:
            breaker = self._breakers.get(alias)
            if breaker is None or not breaker.is_open:
                return None
            self._ejected -= {alias}
            self._invalidate()
            breaker.is_open, breaker.closed_at, breaker.proofs = False, self._clock(), 0
            return breaker.closed_at - breaker.since

    # --- the operators ----------------------------------------------------------------------------

    def set_drained(self, drained: Iterable[tuple[str, float, str]]) -> Difference:
        """Replace the drained replicas: alias, since when (Unix time) and why."""
        new = {
            alias: ServerState(alias=alias, condition=Condition.DRAINED, since=since, why=why)
            for alias, since, why in drained
        }
        old, self.drained = self.drained, new
        self._invalidate()
        return new.keys() - old.keys(), old.keys() - new.keys()

    def set_off(self, clusters: Iterable[str]) -> Difference:
        """Replace the clusters that are switched off."""
        old, self.off = self.off, frozenset(clusters)
        self._invalidate()
        return self.off - old, old - self.off


health: Final = Health()
"""What this process knows."""

process.owns(health.reset)
