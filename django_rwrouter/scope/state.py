"""The state of one scope: what it has written and read, cluster by cluster, and what it has settled."""

from __future__ import annotations

import threading
from asyncio import _get_running_loop  # In asyncio.events.__all__; get_running_loop() raises instead.
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from django_rwrouter import process
from django_rwrouter.scope.token import EMPTY, Token

if TYPE_CHECKING:
    from django_rwrouter.databases.base import Position
    from django_rwrouter.decision import Decision, Level


class BlockKind(Enum):
    """What an explicit block asks for."""

    __hash__ = object.__hash__  # Enum's own is Python code.

    PRIMARY = "use_primary"
    REPLICA = "use_replica"
    CONSISTENCY = "consistency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One ``with`` block in force; the innermost that speaks of a cluster decides."""

    kind: BlockKind
    level: Level | None = None
    """The level, for ``CONSISTENCY``."""
    max_staleness: float = 0.0
    """Seconds, for the level ``bounded``."""
    cluster: str | None = None
    """The only cluster that it speaks of, or ``None`` for all."""
    strict: bool = False
    """Rather raise ``NoReplicaAvailable`` than read from the primary."""
    entry: object = None
    """Stands for one entry of the block: a ``strong`` block asks the primary once for each."""
    outer: Block | None = None


class ClusterScope:
    """What a scope knows of one cluster. All of it ends with the scope."""

    __slots__ = (
        "floors",
        "gave_up",
        "pinned",
        "read_primary",
        "read_to_write",
        "replica",
        "steps",
        "view",
        "view_block",
        "wrote",
        "wrote_late",
    )

    def __init__(self) -> None:
        self.wrote = False
        """Whether the scope has written."""
        self.wrote_late = False
        """Whether it has written after the response's headers were gone."""
        self.read_primary = False
        """Whether a read went to the primary that might have gone to a replica."""
        self.read_to_write = False
        """Whether it has read from the primary as part of a write that need not follow: it has locked a row,
        or looked for one to create it."""
        self.pinned = False
        """Whether the client arrived with a token that sends its reads to the primary."""
        self.replica: str | None = None
        """The replica drawn for the whole scope."""
        self.floors: dict[object, Position | None] = {}
        """Where the primary stood when a read that is bound to it (``strong``, or a client's write without a
        position) first asked, by the entry of the block in force."""
        self.gave_up = False
        """Whether a replica was waited for in vain."""
        self.steps: list[tuple[str, str, float]] = []
        """What the newest decision took beyond knowledge: each step's name, its database, and seconds."""
        self.view: Callable[..., object] | None = None
        """The view that Django is about to wrap in a transaction, because of ``ATOMIC_REQUESTS``."""
        self.view_block: object | None = None
        """That transaction, once it was seen."""


class RoutingState:
    """What one request, task or scope remembers."""

    __slots__ = (
        "__weakref__",
        "announced_reads",
        "announced_writes",
        "bound_to_replica",
        "clusters",
        "is_request",
        "issued",
        "load_token",
        "loading",
        "may_block",
        "outer",
        "outside",
        "routed_reads",
        "safe",
        "sealed",
        "settled",
        "settled_writes",
        "silent",
        "spilled",
        "token",
        "uncounted",
        "view_name",
        "wants_position",
    )

    def __init__(self, *, safe: bool, outside: bool = False, outer: RoutingState | None = None) -> None:
        self.safe = safe
        """Whether it is treated like a GET: reads may go to replicas."""
        self.outside = outside
        """Whether it stands for code outside any request, task or scope."""
        self.outer = outer
        """The scope around it, whose client has written when this one has."""
        self.token: Token | None = EMPTY
        """What the client brought; ``None`` while nobody has looked."""
        self.load_token: Callable[[], Token] | None = None
        """Looks."""
        self.loading = False
        """Whether somebody is looking: the session that holds the token may be in a database of ours."""
        self.may_block = False
        """Whether looking may wait for a server."""
        self.issued: list[Token] = []
        """The tokens that were made of what it wrote."""
        self.wants_position = False
        """Whether a block inside asked for a level that needs positions."""
        self.silent = False
        """Whether its statements are this package's own: not counted, and they pin nobody."""
        self.is_request = False
        """Whether it belongs to a request, and not to a task, a scope or a command."""
        self.uncounted = False
        """Whether the statistics leave it out: a page of the panel is no traffic of the site's."""
        self.view_name = ""
        """What the URLconf calls the view of a request."""
        self.sealed = False
        """Whether the response's headers are gone: what is written now cannot reach the client's token."""
        self.clusters: dict[str, ClusterScope] = {}
        """What it knows of each cluster that it has used. Other threads may add to it."""
        self.announced_reads: dict[str, dict[str, Decision]] = {}
        """By alias and table: reads that the router has decided and no statement has used yet."""
        self.announced_writes: dict[str, dict[str, Decision]] = {}
        """By alias and table: the same for writes, which often run several statements each."""

        self.routed_reads: dict[tuple[str, str], Decision] = {}
        """By alias and table: the newest read that was decided for that replica."""
        self.bound_to_replica = False
        """Whether the queryset of a generic relation was bound to a replica: to delete by it reads first."""
        self.settled: dict[object, Any] = {}
        """By model, the decision that holds for its reads until something changes (a
        ``decision_cache.Settled``); by cluster, the newest for a model like any other.

        A change replaces the dict and does not empty it: another thread that is deciding meanwhile stores its
        decision in the one that it began with, which nobody reads any more.
        """
        self.settled_writes: dict[object, Any] = {}
        """The same for its writes (a ``decision_cache.SettledWrite``)."""
        self.spilled: dict[tuple[object, str], object] = {}
        """By thread and cluster, the slot of a read that goes to the primary because replicas lag."""

    def scope(self, cluster: str) -> ClusterScope:
        """Return what is known of a cluster."""
        try:
            return self.clusters[cluster]
        except KeyError:
            return self.clusters.setdefault(cluster, ClusterScope())

    def scope_of_view(self, cluster: str) -> ClusterScope | None:
        """Return the scope, of this state or one around it, whose view Django wraps in a transaction."""
        state: RoutingState | None = self
        while state is not None:
            if cluster in state.clusters and (scope := state.clusters[cluster]).view is not None:
                return scope
            state = state.outer
        return None

    def note_write(self, cluster: str) -> None:
        """Remember that the scope, and every scope around it, has written to the cluster."""
        state: RoutingState | None = self
        while state is not None:
            state.scope(cluster).wrote = True
            state.settled = {}
            state = state.outer

    def note_read_to_write(self, cluster: str) -> None:
        """Remember that the scope, and every scope around it, has seen what it may write over."""
        state: RoutingState | None = self
        while state is not None:
            state.scope(cluster).read_to_write = True
            state.settled = {}
            state = state.outer

    def known_token(self) -> Token:
        """Return what the client brought, looking for it first if nobody has."""
        if self.token is None:
            self.loading = True
            if self.settled:
                self.settled.clear()  # Not replaced: the read that wants the token is to be stored in it.
            try:
                self.token = EMPTY if self.load_token is None else self.load_token()
            finally:
                self.loading = False
        return self.token

    def add_token(self, token: Token) -> None:
        """Merge a token into what the client brought, without looking at that if nobody has."""
        if self.token is not None:
            self.token = self.token.merge(token)
        else:
            load = self.load_token
            self.load_token = lambda: token if load is None else load().merge(token)
        for scope in list(self.clusters.values()):
            scope.floors = {}  # The primary was asked before it is known what the token speaks of.
        for reads in list(self.announced_reads.values()):
            reads.clear()  # What is bound, and has not run yet, is decided again.
        self.settled = {}


class _Outside(RoutingState):
    """Stands in where there is no scope: serves one call, and remembers only what was announced."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(safe=False, outside=True)

    def scope(self, cluster: str) -> ClusterScope:
        """Return a fresh scope each time: outside any scope, nothing is remembered."""
        return ClusterScope()


class _Life:
    """Lives as long as a thread, since nothing but the thread refers to it."""

    __slots__ = ("__weakref__",)


class _Thread(threading.local):
    """What belongs to each thread by itself."""

    def __init__(self) -> None:
        self.outside = _Outside()
        """The state where there is no scope: it carries an announcement to the statement that follows."""
        self.identity = object()
        """Stands for the thread: unlike its number, it is never used again."""
        self.standings: dict[str, Any] = {}
        """By cluster, what is known of the thread's connections (a ``pending_read.Standings``)."""
        self.life = _Life()
        """A weak reference to it calls back when the thread ends."""


THREAD: Final = _Thread()
"""What belongs to the running thread."""


running_loop: Final[Callable[[], object]] = _get_running_loop
"""Return the event loop on whose own thread this runs, where nothing may wait; ``None`` elsewhere."""


def this_thread() -> object:
    """Return an object that stands for the running thread; unlike its number, it is never used again."""
    return THREAD.identity


def _forget_standings() -> None:
    THREAD.standings.clear()


process.owns(_forget_standings)
