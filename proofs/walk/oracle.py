"""What each read must show at least: the package's promises once more, in a few plain rules.

Knows what was committed when, and what each client wrote. Knows nothing of tokens, positions or replicas.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

PIN_SECONDS = 5.0
TOKEN_SECONDS = 600.0
BOUND = 2.0
"""Seconds, of the blocks that ask for ``bounded``."""
ROUNDING = 0.01
"""Seconds that the package may err at the end of a promise."""


class Slot(NamedTuple):
    """A row, or rows, with a version."""

    cluster: str
    table: str
    key: int


class Commit(NamedTuple):
    """A version that everybody can see."""

    version: int
    number: int
    """Which commit of all it is."""
    at: float
    """Seconds on the walk's clock."""


NOTHING = Commit(0, 0, float("-inf"))
Needs = dict[Slot, Commit]
"""The newest write of a client to each slot."""


@dataclass(frozen=True)
class Block:
    """A ``with`` block of the package's."""

    kind: str
    """``primary``, ``replica``, ``untracked``, or the name of a level."""
    cluster: str | None = None
    """The only cluster that it speaks of."""
    entered: int = 0
    """How many commits there were when it was entered."""


@dataclass(eq=False)
class Scope:
    """A request, or a scope inside one."""

    safe: bool
    needs: Needs
    began: int
    """How many commits there were."""
    outer: Scope | None = None
    seen_before: Needs = field(default_factory=dict)
    """What the client's earlier requests have shown, with MONOTONIC_READS."""
    seen: Needs = field(default_factory=dict)
    """What its own reads have shown, in time for its client's token."""
    wrote: set[str] = field(default_factory=set)
    """Clusters."""
    touched: set[str] = field(default_factory=set)
    """The same, with those where its writes do not count."""
    own: Needs = field(default_factory=dict)
    """What it has written in time for its client's token."""
    own_late: Needs = field(default_factory=dict)
    """What it has written when the response's headers were gone."""
    sealed: bool = False

    def chain(self) -> list[Scope]:
        """Return the scope and those around it."""
        return [self, *(self.outer.chain() if self.outer else ())]


@dataclass(frozen=True)
class Place:
    """Where in a request some code runs."""

    scope: Scope | None
    blocks: tuple[Block, ...] = ()
    """The innermost is the last."""
    transactions: frozenset[str] = frozenset()
    """Clusters whose primary is in a transaction of the code's own, in this thread."""

    @property
    def tracked(self) -> bool:
        """Whether writes count."""
        return all(block.kind != "untracked" for block in self.blocks)

    def inside(self, block: Block) -> Place:
        """Return the place inside a further block."""
        return replace(self, blocks=(*self.blocks, block))

    def block_of(self, cluster: str) -> Block | None:
        """Return the innermost block that says where reads go."""
        for block in reversed(self.blocks):
            if block.kind != "untracked" and block.cluster in {None, cluster}:
                return block
        return None


class Oracle:
    """Says what has to be seen."""

    def __init__(self, level: str, now: Callable[[], float]) -> None:
        self.level = level
        """Of the project."""
        self._now = now
        self._versions = itertools.count(1)
        self._commits: dict[Slot, list[Commit]] = {}
        self.number = 0
        """How many commits there were."""
        self.unknown_lag: set[str] = set()
        """Clusters whose primary has been away: MAX_LAG gives way then."""

    def new_version(self) -> int:
        """Return the number of the next write."""
        return next(self._versions)

    def wrote(self, place: Place, slot: Slot) -> None:
        """Note that a statement has written, whatever becomes of its transaction."""
        for scope in place.scope.chain() if place.scope is not None else ():
            scope.touched.add(slot.cluster)
            if place.tracked:
                scope.wrote.add(slot.cluster)

    def committed(self, place: Place, slot: Slot, version: int) -> None:
        """Note that all can see a version from now on."""
        self.number += 1
        commit = Commit(version, self.number, self._now())
        self._commits.setdefault(slot, []).append(commit)
        if place.scope is not None and place.tracked:
            for scope in place.scope.chain():
                (scope.own_late if scope.sealed else scope.own)[slot] = commit

    def saw(self, place: Place, slot: Slot, version: int) -> None:
        """Note what a read has shown that went where the level sends it."""
        scope = place.scope
        if scope is None or scope.outer is not None or scope.sealed or place.blocks or place.transactions:
            return
        is_committed = any(commit.version == version for commit in self._commits.get(slot, ()))
        if is_committed and version > scope.seen.get(slot, NOTHING).version:
            scope.seen[slot] = Commit(version, self.number, self._now())

    def newest(self, slot: Slot) -> int:
        """Return what the primary shows."""
        commits = self._commits.get(slot)
        return commits[-1].version if commits else 0

    def needed(self, place: Place, slot: Slot) -> int:  # noqa: C901  (the promises, one after another)
        """Return the lowest version that a read may show here and now."""
        scope = place.scope
        if slot.cluster in place.transactions:
            return self.newest(slot)
        block = place.block_of(slot.cluster)
        if block is not None and block.kind == "replica":
            return 0
        if scope is not None and slot.cluster in scope.wrote:
            return self.newest(slot)
        if block is None:
            if scope is None or not scope.safe:
                return self.newest(slot)  # Outside any scope, as OUTSIDE_REQUEST is the primary.
            level, since = self.level, scope.began
        else:
            level, since = block.kind, block.entered
        if level == "primary":
            return self.newest(slot)
        if level == "strong":
            return self._as_of(slot, number=since)
        if level == "bounded":
            return self._as_of(slot, at=self._now() - BOUND - ROUNDING)
        if level == "eventual":
            return 0
        needed = max(self._own(scope, slot, level), self._seen(scope, slot))
        if level == "window" and slot.cluster not in self.unknown_lag:  # MAX_LAG is PIN_SECONDS.
            needed = max(needed, self._as_of(slot, at=self._now() - PIN_SECONDS - ROUNDING))
        return needed

    def _own(self, scope: Scope | None, slot: Slot, level: str) -> int:
        commit = None if scope is None else scope.needs.get(slot)
        if commit is None:
            return 0
        has_position = level == "causal" and self.level in {"causal", "strong"}
        life = TOKEN_SECONDS if has_position else PIN_SECONDS
        return commit.version if self._now() - commit.at < life - ROUNDING else 0

    def _seen(self, scope: Scope | None, slot: Slot) -> int:
        commit = NOTHING if scope is None else scope.seen_before.get(slot, NOTHING)
        return commit.version if self._now() - commit.at < TOKEN_SECONDS - ROUNDING else 0

    def _as_of(self, slot: Slot, *, number: float = float("inf"), at: float = float("inf")) -> int:
        for commit in reversed(self._commits.get(slot, ())):
            if commit.number <= number and commit.at <= at:
                return commit.version
        return 0
