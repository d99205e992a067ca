"""The least that a router for replicas can be; decisions are compared with it."""

from __future__ import annotations

import random

from benchmarks.contestants import REPLICAS


class RandomRouter:
    """Reads from any replica, writes to the primary."""

    def db_for_read(self, model: object, **hints: object) -> str:
        """Draw a replica."""
        return random.choice(REPLICAS)

    def db_for_write(self, model: object, **hints: object) -> str:
        """Return the primary."""
        return "default"
