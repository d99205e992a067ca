"""Latencies, counted in buckets on a logarithmic scale: cheap to count, exact to add up.

A percentile is interpolated within the bucket that holds it, so the error is bounded by the bucket: between
0.1 ms and 63 s, what is returned and the true value are never more than a factor of :data:`GROWTH` apart,
whatever the distribution; smooth distributions come much closer. The bounds are the preferred numbers R5
(ISO 3): five to a decade.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Final

GROWTH: Final = 1.6
"""The most by which a bound exceeds the one before."""
BOUNDS: Final = tuple(
    float(f"{step}e{decade}") for decade in range(-4, 2) for step in ("1", "1.6", "2.5", "4", "6.3")
)
"""Upper bounds in seconds, each part of its bucket, as in Prometheus. What is slower has one more bucket."""
BUCKETS: Final = len(BOUNDS) + 1
"""How many buckets there are."""


def percentile(counts: Sequence[int], fraction: float) -> float | None:
    """Return the latency in seconds that ``fraction`` of all (0.95) did not exceed; ``None`` of nothing.

    ``counts`` has one number for each bucket; those missing at the end are 0. More than the last bound
    cannot be told: then it is the last bound.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below = fraction * total, 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            part = max(0.0, (rank - below) / count)
            if index == 0:
                return BOUNDS[0] * part
            # At this part of the bucket, on the scale of the bounds.
            low, high = BOUNDS[index - 1], BOUNDS[min(index, len(BOUNDS) - 1)]
            return float(low * (high / low) ** part)
        below += count
    return BOUNDS[-1]


def add(into: list[int], counts: Sequence[int]) -> None:
    """Add the counts of buckets to others, in place."""
    if len(counts) > len(into):
        into.extend([0] * (len(counts) - len(into)))
    into[: len(counts)] = map(operator.add, into, counts)


def trimmed(counts: Sequence[int]) -> list[int]:
    """Return the counts without the zeros at their end, as they are stored."""
    kept = list(counts)
    while kept and not kept[-1]:
        kept.pop()
    return kept
