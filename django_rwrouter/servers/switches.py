"""What operators have taken out of use, as this process has read it last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from django_rwrouter.servers.server_state import Condition, ServerState

Difference = tuple[Collection[str], Collection[str]]
"""What is new, and what is not there any more."""


@dataclass(slots=True)
class Switches:
    """Replicas that are drained, and clusters whose kill switch is thrown."""

    changed: Callable[[], None]
    """Called after each change."""
    drained: Mapping[str, ServerState] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    """The clusters."""

    def set_drained(self, drained: Iterable[tuple[str, float, str]]) -> Difference:
        """Replace the drained replicas: alias, since when (Unix time) and why."""
        new = {
            alias: ServerState(alias=alias, condition=Condition.DRAINED, since=since, why=why)
            for alias, since, why in drained
        }
        old, self.drained = self.drained, new
        self.changed()
        return new.keys() - old.keys(), old.keys() - new.keys()

    def set_off(self, clusters: Iterable[str]) -> Difference:
        """Replace the clusters that are switched off."""
        old, self.off = self.off, frozenset(clusters)
        self.changed()
        return self.off - old, old - self.off
