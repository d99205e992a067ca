"""A replica's circuit breaker: it opens when the replica fails, for longer each time, so that none flaps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final


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
