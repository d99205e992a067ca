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
from collections.abc import Callable, Collection, Iterable, Mapping
from time import monotonic
from typing import Final

from django_rwrouter import process
from django_rwrouter.servers.breaker import POLICY, CircuitBreaker
from django_rwrouter.servers.server_state import Condition, ServerState

Difference = tuple[Collection[str], Collection[str]]
"""What is new, and what is not there any more."""


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
