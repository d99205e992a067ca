"""The few statistics that the reports need."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that so many percent do not exceed (nearest rank), or ``None`` without values."""
    if not values:
        return None
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def per_million(count: int, of: int) -> float | None:
    """Return how many of a million, or ``None`` where there was nothing to count."""
    return None if of == 0 else count / of * 1e6


def share(count: int, of: int) -> float | None:
    """Return percent, or ``None`` where there was nothing to count."""
    return None if of == 0 else count / of * 100
