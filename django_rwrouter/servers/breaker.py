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
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from django_rwrouter import process
from django_rwrouter.servers.breaker_policy import POLICY
from django_rwrouter.servers.server_state import Condition, ServerState


@dataclass(slots=True)
class _Breaker:
    """One replica's."""

    ejected: bool = False
    since: float = 0.0
    """Monotonic, when it was ejected."""
    since_unix: float = 0.0
    why: str = ""
    pause: float = 0.0
    until: float = 0.0
    """Nobody takes it back before."""
    proofs: int = 0
    restored: float | None = None


class Health:
    """What one process knows of the health of its servers.

    ``clock`` returns monotonic seconds, ``jitter`` a number from 0 to 1.
    """

    def __init__(
        self, clock: Callable[[], float] = monotonic, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._lock = threading.Lock()
        self._breakers: dict[str, _Breaker] = {}
        self._ejected: frozenset[str] = frozenset()
        self._drained: dict[str, ServerState] = {}
        self._away: dict[str, float] = {}
        self.watched_until = -1.0
        self.version = 0
        """Another one whenever a server, a switch or a setting changes, and when a monitor has looked."""
        self._switched_off: frozenset[str] = frozenset()

    @property
    def switched_off(self) -> frozenset[str]:
        """Clusters whose kill switch is thrown."""
        return self._switched_off

    @switched_off.setter
    def switched_off(self, clusters: frozenset[str]) -> None:
        self._switched_off = clusters
        self.version += 1

    # --- asked on the path of each read -----------------------------------------------------------

    def unusable(self) -> Collection[str]:
        """Return the aliases that take no reads now."""
        if not self._ejected and not self._drained:  # The usual case.
            return ()
        if not self._ejected or self.watched:
            return self._ejected.union(self._drained)
        now = self._clock()
        resting = {
            alias
            for alias, breaker in list(self._breakers.items())
            if breaker.ejected and now < breaker.until
        }
        return resting.union(self._drained)

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
        if alias in self._drained:
            return False
        if alias not in self._ejected:
            return True
        with self._lock:
            breaker = self._breakers[alias]
            now = self._clock()
            if breaker.ejected and (self.watched or now < breaker.until):
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
            now = self._clock()
            breaker = self._breakers.setdefault(alias, _Breaker())
            breaker.proofs = 0
            ejected_now = not breaker.ejected
            if not ejected_now:
                if self.watched:
                    return False
                breaker.pause = min(breaker.pause * POLICY.retry_growth, POLICY.longest_pause)
            else:
                flaps = breaker.restored is not None and now - breaker.restored < POLICY.steady_seconds
                breaker.pause = max(breaker.pause * POLICY.flap_growth, pause) if flaps else pause
                breaker.pause = min(breaker.pause, POLICY.longest_pause)
                breaker.ejected = True
                breaker.since, breaker.since_unix, breaker.why = now, time.time(), why
                self._ejected |= {alias}
                self.version += 1
            breaker.until = now + breaker.pause * (1 + POLICY.jitter * self._jitter())
            return ejected_now

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
        return breaker is not None and breaker.ejected and breaker.proofs == POLICY.proofs - 1

    def standing(self, alias: str) -> ServerState:
        """Return a replica's condition, since when it is so, and why."""
        breaker = self._breakers.get(alias)
        if breaker is not None and breaker.ejected:
            return ServerState(
                alias=alias, condition=Condition.EJECTED, since=breaker.since_unix, why=breaker.why
            )
        return self._drained.get(alias) or ServerState(alias=alias)

    def set_drained(self, drained: Iterable[tuple[str, float, str]]) -> tuple[set[str], set[str]]:
        """Say which replicas are drained: alias, since when (Unix time) and why.

        Returns those that were not before, and those that are not any more.
        """
        new = {
            alias: ServerState(alias=alias, condition=Condition.DRAINED, since=since, why=why)
            for alias, since, why in drained
        }
        old, self._drained = self._drained, new
        self.version += 1
        return new.keys() - old.keys(), old.keys() - new.keys()

    # --- the primary and the monitor --------------------------------------------------------------

    def lost_primary(self, cluster: str, seconds: float = POLICY.first_pause) -> bool:
        """Take a primary for away, for so long; return whether it was there until now."""
        was_there = not self.is_away(cluster)
        self._away[cluster] = self._clock() + seconds
        return was_there

    def found_primary(self, cluster: str) -> bool:
        """Note that a primary answers; return whether it was away."""
        return self._away.pop(cluster, None) is not None

    def watch(self, seconds: float) -> None:
        """Leave it to a monitor for so long; it has to say so again and again."""
        self.watched_until = self._clock() + seconds
        self.version += 1

    def reset(self) -> None:
        """Forget everything."""
        # New: in a forked child the old one may be held for ever, by a thread that is not there.
        self._lock = threading.Lock()
        self._breakers, self._ejected, self._drained, self._away = {}, frozenset(), {}, {}
        self.watched_until = -1.0
        self.switched_off = frozenset()

    def restore(self, alias: str) -> float | None:
        """Take a replica back; return for how many seconds it was out, ``None`` if it was not."""
        with self._lock:
            breaker = self._breakers.get(alias)
            if breaker is None or not breaker.ejected:
                return None
            now = self._clock()
            breaker.ejected, breaker.restored, breaker.proofs = False, now, 0
            self._ejected -= {alias}
            self.version += 1
            return now - breaker.since


health: Final = Health()
"""What this process knows."""

process.owns(health.reset)
