"""Helpers for the tests of projects that use this package."""

from __future__ import annotations

import inspect
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import asgiref
import django
from django.db import connections

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.sql import classify
from django_rwrouter.decision import Decision, Reason
from django_rwrouter.routing.ladder import CLOCK_MARGIN
from django_rwrouter.scope.context import current_scope, writes_are_tracked
from django_rwrouter.scope.state import RoutingState
from django_rwrouter.scope.token import Mark
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.identity import is_primary, server_of
from django_rwrouter.signals import statement_routed

_MACHINERY: Final = tuple(
    str(Path(file).parent)
    for file in (django.__file__, asgiref.__file__, __file__, threading.__file__)
    if file is not None
)
"""Directories of code that is not the user's: Django, asgiref, this package, the standard library."""


@contextmanager
def capture_routing() -> Iterator[list[Decision]]:
    """Collect the decisions taken inside, in all threads: one for each statement that the router routed.

    Statements on a database that the code named itself are not among them. The list grows while the block
    runs::

        with capture_routing() as decisions:
            client.get("/")
        assert {decision.alias for decision in decisions} == {"replica1"}
    """
    decisions: list[Decision] = []

    def collect(*, decision: Decision, **_kwargs: object) -> None:
        if decision.reason is not Reason.EXPLICIT:
            decisions.append(decision)

    with _listening(collect):
        yield decisions


@contextmanager
def assert_no_stale_reads(*, allow_eventual: bool = False) -> Iterator[None]:
    """Fail if anything inside reads from a replica what its own client or scope has just written.

    That is: a client or scope with an unexpired write reads a model whose table was written, from a replica
    not known to have reached that write. It is an error even if the replica happens to be level, and under
    the level ``eventual`` too, unless ``allow_eventual=True``. Raises ``AssertionError`` at the end of the
    block, which names each write, the read, and both places in the code.
    """
    auditor = _Auditor(allow_eventual=allow_eventual)
    with _listening(auditor.listen):
        yield
    if auditor.findings:
        raise AssertionError("\n\n".join(auditor.findings))


@contextmanager
def _listening(receiver: object) -> Iterator[None]:
    statement_routed.connect(receiver, weak=False)  # type: ignore[arg-type]
    try:
        yield
    finally:
        statement_routed.disconnect(receiver)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Write:
    at: float
    cluster: str
    alias: str
    tables: frozenset[str]
    sql: str
    place: str


class _Auditor:
    """Records the writes of each scope, and follows them through the tokens made of them."""

    def __init__(self, *, allow_eventual: bool) -> None:
        self.findings: list[str] = []
        self._allow_eventual = allow_eventual
        self._writes: dict[RoutingState, list[_Write]] = {}
        self._lock = threading.Lock()

    def listen(self, *, alias: str, decision: Decision, sql: str, wrote: bool, **_kwargs: object) -> None:
        """Record a statement, and check a read (receiver of ``statement_routed``)."""
        state = current_scope()
        if state is None:
            return
        topology = get_topology()
        cluster = topology.by_alias[alias]
        statement = classify(sql, connections[alias].vendor)
        if wrote:
            pinless = topology.primary_only_tables - topology.tables_on_primary
            if statement.target not in pinless and writes_are_tracked():
                tables = statement.tables | ({statement.target} if statement.target else set())
                write = _Write(time.time(), cluster.name, alias, tables, sql, _place())
                with self._lock:
                    while state is not None:  # It counts for the scopes around it, too.
                        self._writes.setdefault(state, []).append(write)
                        state = state.outer
            return
        if alias == cluster.primary or (self._allow_eventual and decision.reason is Reason.EVENTUAL):
            return
        with self._lock:
            writes = self._writes_seen(state, cluster.name, None, set())
        for write, mark in writes:
            if self._is_stale(write, mark, alias, statement.tables):
                self.findings.append(_finding(write, alias, decision, sql))
                return

    def _is_stale(self, write: _Write, mark: Mark | None, alias: str, tables: frozenset[str]) -> bool:
        """Whether a replica may lack a write that a read of these tables should see."""
        topology = get_topology()
        cluster = topology.by_alias[alias].name
        if write.cluster != cluster or not write.tables & tables:
            return False
        if mark is None:  # Written in this very scope: that never expires.
            return True
        if time.time() - write.at >= mark.lifetime(topology.lifetimes[cluster]):
            return False
        connection, primary = connections[alias], connections[topology.by_alias[alias].primary]
        if mark.blind_at:
            limit = time.time() - mark.blind_at - CLOCK_MARGIN
            if knowledge.staleness(cluster, server_of(connection)) > limit:
                return True
        elif mark.position is None:
            return True
        if mark.position is None or is_primary(connection, primary):
            return False
        return not knowledge.reached(server_of(connection), mark.position)

    def _writes_seen(
        self, state: RoutingState, cluster: str, mark: Mark | None, visited: set[int]
    ) -> list[tuple[_Write, Mark | None]]:
        """Return the writes of a scope and those that its client brought along, with the mark that did."""
        visited.add(id(state))
        writes = [(write, mark) for write in self._writes.get(state, [])]
        brought = state.known_token().marks.get(cluster)
        for other in () if brought is None else list(self._writes):
            issued = any(token.marks.get(cluster) == brought for token in other.issued)
            if issued and id(other) not in visited:
                writes += self._writes_seen(other, cluster, brought, visited)
        return writes


def _finding(write: _Write, alias: str, decision: Decision, sql: str) -> str:
    return (
        f"A read from {alias!r} ({decision.reason.value}) may miss what the same client wrote to"
        f" {write.alias!r} {time.time() - write.at:.3f} s before.\n"
        f"  The write: {write.sql[:300]}\n    {write.place}\n"
        f"  The read:  {sql[:300]}\n    {_place()}\n"
        "  Read it from the primary (use_primary()), or with a level that remembers writes; or pass"
        " allow_eventual=True if this read may be stale."
    )


def _place() -> str:
    """Return the innermost line of the user's own code that is running."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None:
        if not frame.f_code.co_filename.startswith((*_MACHINERY, "<frozen")):
            summary = traceback.extract_stack(frame, limit=1)[0]
            return f"{summary.filename}:{summary.lineno} in {summary.name}: {summary.line}"
        frame = frame.f_back
    return "called from async code: the place is not known to the thread that ran the query"
