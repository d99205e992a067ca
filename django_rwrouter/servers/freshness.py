"""The positions that this process has measured, and how stale each server can be.

Positions are kept by server, not by alias: an alias may be an address with several servers behind it. Each
database connection therefore carries the name of the server that it leads to.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django_rwrouter import process

if TYPE_CHECKING:
    from django_rwrouter.databases.base import Position

TRUST_SECONDS: Final = 60.0
"""For how long a position is trusted: a server may be restored from an older copy meanwhile."""
_MAX_SERVERS: Final = 512
_MAX_SAMPLES: Final = 512
_SAMPLE_GAP: Final = 0.02
"""Least number of seconds between two samples of a primary that are kept."""


class PositionSample(NamedTuple):
    """A server's position at one moment."""

    at: float
    """Monotonic seconds, before it was asked: the position covers everything committed by then."""
    position: Any


class _Freshness(NamedTuple):
    """The newest sample of a primary that a server has reached, and the samples it was computed from."""

    own: PositionSample
    newest: PositionSample
    at: float
    """When that sample was taken; minus infinity if the server has reached none."""


class Knowledge:
    """Measured positions by server, and samples of the primaries by cluster.

    Written by any thread without a lock: each step is one operation on a dict or a deque, and losing one of
    two simultaneous measurements costs one more query.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._servers: OrderedDict[str, PositionSample] = OrderedDict()
        self._behind: dict[str, str] = {}
        self._samples: dict[str, deque[PositionSample]] = {}
        self._without: dict[str, float] = {}
        """By cluster, when its primary last answered that it has no position (monotonic seconds)."""
        self._refusing: dict[str, float] = {}
        """By alias, when a replica last refused to tell its position (monotonic seconds)."""
        self._freshness: dict[tuple[str, str], _Freshness] = {}
        self._primaries: dict[str, tuple[str | None, float]] = {}

    def learn_replica(self, alias: str, server: str, position: Position | None, began: float) -> None:
        """Record a replica's answer to a question that was asked at ``began``."""
        self._behind[alias] = server
        self._refusing.pop(alias, None)
        measured = self._servers.get(server)
        if measured is not None and measured.at > began:
            return  # A newer answer is recorded already.
        if position is None:
            self._servers.pop(server, None)
            return
        # A lower position than before means that the server was restored: it replaces the higher one.
        self._servers[server] = PositionSample(began, position)
        while len(self._servers) > _MAX_SERVERS:
            self._servers.popitem(last=False)
            self._freshness.clear()

    def learn_refusal(self, alias: str, began: float) -> None:
        """Record that a replica answers but refuses to tell its position."""
        self.forget(alias)
        self._refusing[alias] = began

    def position(self, server: str | None) -> Any:
        """Return the last position measured on a server, or ``None``."""
        measured = None if server is None else self._servers.get(server)
        return None if measured is None else measured.position

    def age(self, server: str | None) -> float:
        """Return how many seconds ago a server's position was measured; infinity if it was not."""
        measured = None if server is None else self._servers.get(server)
        return math.inf if measured is None else monotonic() - measured.at

    def reached(self, server: str | None, position: Position) -> bool:
        """Whether a trusted measurement shows that the server has replayed ``position``."""
        try:
            measured = self._servers[server]  # type: ignore[index]
        except KeyError:
            return False
        return monotonic() - measured.at < TRUST_SECONDS and bool(measured.position.covers(position))

    def last_server(self, alias: str) -> str | None:
        """Return the server that an alias led to last: a guess, as the next connection may lead elsewhere."""
        return self._behind.get(alias)

    def learn_primary(self, cluster: str, position: Position | None, began: float) -> None:
        """Record the primary's answer to a question that was asked at ``began``.

        ``None`` says that the primary has no position: it keeps no log, the log is empty, or it refuses.
        """
        if position is None:
            self._without[cluster] = began
            return
        self._without.pop(cluster, None)
        samples = self._samples.setdefault(cluster, deque(maxlen=_MAX_SAMPLES))
        if samples and began < samples[-1].at:
            return  # A newer answer is recorded already.
        if (
            samples
            and type(samples[-1].position) is type(position)
            and not position.covers(samples[-1].position)
        ):
            samples.clear()  # Another history: samples of the old one do not compare with it.
        if not samples or began - samples[-1].at >= _SAMPLE_GAP:
            samples.append(PositionSample(began, position))

    def learn_primary_server(self, cluster: str, server: str | None, seconds: float = TRUST_SECONDS) -> None:
        """Record which server the primary is (``None``: unknown), trusted for ``seconds``."""
        self._primaries[cluster] = server, monotonic() + seconds

    def primary_server(self, cluster: str) -> tuple[str | None, bool]:
        """Return which server the primary is, and whether that is still trusted."""
        server, until = self._primaries.get(cluster, (None, -math.inf))
        return (server, True) if monotonic() < until else (None, False)

    def recent_primary(self, cluster: str, seconds: float) -> Any:
        """Return the primary's newest position if it is at most ``seconds`` old, or ``None``."""
        samples = self._samples.get(cluster)
        if not samples:
            return None
        newest = samples[-1]
        return newest.position if monotonic() - newest.at <= seconds else None

    def has_positions(self, cluster: str, replicas: Collection[str]) -> bool:
        """Whether the cluster's primary and at least one of its replicas give positions, as far as is known.

        A single answer without a position does not disable a level if the primary gave one recently.
        """
        if not self._without and not self._refusing:  # The usual case, on the path of every read.
            return True
        if replicas and all(map(self.refuses, replicas)):
            return False
        return not self.lacks_position(cluster) or self.recent_primary(cluster, TRUST_SECONDS) is not None

    def lacks_position(self, cluster: str) -> bool:
        """Whether a cluster's primary answered recently that it has no position."""
        return monotonic() - self._without.get(cluster, -math.inf) < TRUST_SECONDS

    def refuses(self, alias: str) -> bool:
        """Whether a replica refused recently to tell its position."""
        return monotonic() - self._refusing.get(alias, -math.inf) < TRUST_SECONDS

    def knows(self, cluster: str, replicas: Iterable[str]) -> bool:
        """Whether the primary and at least one of the replicas have been measured."""
        return cluster in self._samples and any(alias in self._behind for alias in replicas)

    def staleness(self, cluster: str, server: str | None) -> float:
        """Return by how many seconds a server is stale at most; infinity if that is not known.

        This is the age of the newest sample of the primary that the server is known to have reached.
        """
        # On the path of every read, for every replica: plain look-ups, and no call but the clock's.
        try:
            own, samples = self._servers[server], self._samples[cluster]  # type: ignore[index]
            newest = samples[-1]
        except (KeyError, IndexError):
            return math.inf
        try:
            freshness = self._freshness[cluster, server]  # type: ignore[index]
        except KeyError:
            freshness = None
        if freshness is None or freshness.own is not own or freshness.newest is not newest:
            at = next(
                (sample.at for sample in reversed(list(samples)) if own.position.covers(sample.position)),
                -math.inf,
            )
            freshness = self._freshness[cluster, server] = _Freshness(own, newest, at)  # type: ignore[index]
        now: float = monotonic()
        return now - freshness.at

    def forget(self, alias: str) -> None:
        """Forget the position of the server that an alias led to last."""
        server = self._behind.pop(alias, None)
        if server is not None:
            self._servers.pop(server, None)


knowledge: Final = Knowledge()
"""The measurements of this process."""
process.owns(knowledge.reset)
