"""What a server said of itself."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases.base import Product


@dataclass(slots=True, kw_only=True)
class Facts:
    """One server's answers; what it did not answer is left out."""

    cluster: Cluster
    alias: str
    product: Product
    options: Mapping[str, Any] = field(default_factory=dict)
    """The alias' own entry of ``DATABASES``."""
    version: str = ""
    """The product's name and version, or what Django calls it."""
    identity: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    log: Mapping[str, Any] = field(default_factory=dict)
    """The status of a primary's binary log, if that may be seen."""
    replication: Mapping[str, Any] | None = None
    """How a replica replicates; empty if it does not, ``None`` if that may not be seen."""
    follows: bool | None = None
    """Whether it replicates from another server; ``None`` if that may not be seen."""
    is_subscriber: bool = False
    """Whether it is a copy by logical replication, which has no position of its primary."""
    writes_anyway: bool | None = None
    """Whether the connection's user may write although the server is read-only; ``None`` if not known."""
    clock: float | None = None
    """By how many seconds the server's clock is ahead of ours; ``None`` if it was not asked."""
    clock_accuracy: float = 0.0
    position: Any = None
    """Where it stands; ``None`` if it does not say."""
    refused: str = ""
    """What the user lacks to be told the position: a function's name, or a privilege's."""
    caught_up: bool | None = None
    """Whether a replica has reached where its primary stood; ``None`` if that could not be tried."""

    @property
    def is_primary(self) -> bool:
        """Whether it is its cluster's primary, by the settings."""
        return self.alias == self.cluster.primary

    @property
    def is_delayed(self) -> bool:
        """Whether the settings say that it is late on purpose."""
        return any(replica.delayed and replica.alias == self.alias for replica in self.cluster.replicas)

    def ask_clock(self, cursor: Any, query: str) -> None:
        """Compare the clocks: the server's answer was made between our two looks at ours."""
        before = time.time()
        cursor.execute(query)
        after = time.time()
        (server,) = cursor.fetchone()
        self.clock = float(server) - (before + after) / 2
        self.clock_accuracy = (after - before) / 2

    def is_on(self, name: str) -> bool:
        """Whether a variable is on; not if it is not known."""
        return self.variables.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
