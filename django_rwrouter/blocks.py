"""Blocks, decorators and functions that control how an application's reads and writes are routed."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, TypeVar, cast, overload

from asgiref.sync import iscoroutinefunction
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet
from django.db.models.query import RawQuerySet
from django.http.response import HttpResponseBase
from django.template.response import SimpleTemplateResponse

from django_rwrouter import databases, monitor, stats
from django_rwrouter.conf import validators
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.options import DEFAULT_CLUSTER
from django_rwrouter.decision import Level
from django_rwrouter.execution import writes
from django_rwrouter.routing import rules
from django_rwrouter.routing.decision_cache import decide_read
from django_rwrouter.scope import streaming
from django_rwrouter.scope.context import (
    Paused,
    begin_block,
    begin_scope,
    begin_untracked,
    close_region,
    current_scope,
    current_state,
    in_any_state,
    open_region,
)
from django_rwrouter.scope.state import Block, BlockKind, RoutingState
from django_rwrouter.stores import exchange

F = TypeVar("F", bound=Callable[..., Any])

used_levels: Final[set[Level]] = set()
"""Levels that blocks have been made for; those of decorators are in it once their modules are imported."""


class Region:
    """A part of the code that is treated in one way: a ``with`` block, or a decorated function or view.

    One object may be entered many times, nested and by many threads and tasks. As a decorator it serves
    functions, sync and async, and views, also with ``method_decorator``; it stays in force for what a view
    leaves to be done later, that is a ``TemplateResponse`` that is yet to be rendered and a streaming body.
    """

    def __init__(self, begin: Callable[[], object], *, concerns_reads: bool = True) -> None:
        self._begin = begin
        self._concerns_reads = concerns_reads

    def __enter__(self) -> None:
        """Begin."""
        open_region(self, self._begin, sys._getframe(1))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, and restore what was before."""
        close_region(self)

    def __call__(self, function: F) -> F:
        """Decorate a function or a view; raises ``TypeError`` for a class and a generator function."""
        if isinstance(function, type):
            raise TypeError(
                f"{function.__qualname__} is a class, whose methods this would not reach. Decorate a method,"
                ' or write @method_decorator(..., name="dispatch") for a view (django.utils.decorators).'
            )
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__}() is a generator, which runs when it is consumed, not when it is"
                " called. Put the with block inside it."
            )
        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return self._returned(await function(*args, **kwargs), function)

            return cast("F", awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with self:
                result = function(*args, **kwargs)
                # An async class-based view's dispatch() is a plain function that returns a coroutine.
                if inspect.iscoroutine(result):
                    return _finish(result, Paused())
                return self._returned(result, function)

        return cast("F", called)

    def _returned(self, result: Any, function: Callable[..., Any]) -> Any:
        if self._concerns_reads and isinstance(result, (QuerySet, RawQuerySet)):
            _warn_of_unevaluated(result, function)
        return _with_leftovers(result)


@functools.cache
def _warn_once(path: str, line: int, name: str) -> None:
    warnings.warn_explicit(
        f"{name}() returns a queryset that is evaluated when the block around the function has ended: the"
        " block does nothing for it. Decorate what evaluates it, such as the view, or evaluate it inside.",
        RuntimeWarning,
        path,
        line,
    )


def _warn_of_unevaluated(result: QuerySet[Any] | RawQuerySet[Any], function: Callable[..., Any]) -> None:
    """Warn, once for each function, that what it returns has not been read yet."""
    if result._result_cache is None:  # type: ignore[union-attr]  # noqa: SLF001
        code = getattr(inspect.unwrap(function), "__code__", None)
        path, line = ("", 0) if code is None else (code.co_filename, code.co_firstlineno)
        _warn_once(path, line, getattr(function, "__qualname__", repr(function)))


async def _finish(pending: Awaitable[Any], paused: Paused) -> Any:
    with paused.resumed():
        return _with_leftovers(await pending)


def _with_leftovers(result: Any) -> Any:
    """Let what is in force now stay so for what a response does after its view has returned."""
    if isinstance(result, SimpleTemplateResponse) and not result.is_rendered:
        render, paused = result.render, Paused()

        def render_inside() -> SimpleTemplateResponse:
            vars(result).pop("render", None)  # Only this once; and caches pickle responses.
            with paused.resumed():
                return render()

        result.render = render_inside  # type: ignore[method-assign]
    elif isinstance(result, HttpResponseBase) and result.streaming:
        streaming.keep(result)
    return result


@overload
def use_primary(function: F, /) -> F: ...
@overload
def use_primary(*, cluster: str | None = None) -> Region: ...
def use_primary(function: F | None = None, /, *, cluster: str | None = None) -> F | Region:
    """Read from the primary inside; as a decorator, also without parentheses.

    ``cluster`` limits it to one; entering it raises ``ValueError`` for an unknown one.
    """
    region = _block_region(kind=BlockKind.PRIMARY, cluster=cluster)
    return region if function is None else region(function)


@overload
def use_replica(function: F, /) -> F: ...
@overload
def use_replica(*, cluster: str | None = None, strict: bool = False) -> Region: ...
def use_replica(
    function: F | None = None, /, *, cluster: str | None = None, strict: bool = False
) -> F | Region:
    """Read from a replica inside, however far behind it is; writes go to the primary, and pin as always.

    Inside ``atomic()`` and where no replica is usable, reads go to the primary all the same; with
    ``strict=True`` they raise ``NoReplicaAvailable`` instead.
    """
    region = _block_region(kind=BlockKind.REPLICA, cluster=cluster, strict=strict)
    return region if function is None else region(function)


def consistency(
    level: Level | str,
    *,
    max_staleness: float | None = None,
    cluster: str | None = None,
    strict: bool = False,
) -> Region:
    """Read with this level inside, also in requests and scopes that may write.

    The level ``bounded`` needs ``max_staleness``, in seconds: it admits replicas known to be that fresh. With
    ``strict=True``, a read that would go to the primary raises ``NoReplicaAvailable`` instead. Raises
    ``ValueError`` for an unknown level and a bad bound.
    """
    try:
        wanted = Level(level)
    except ValueError:
        levels = ", ".join(repr(one.value) for one in Level)
        raise ValueError(f"{level!r} is not a level of consistency; the levels are: {levels}.") from None
    if (wanted is Level.BOUNDED) != (max_staleness is not None):
        raise ValueError("consistency('bounded', max_staleness=2.0): the two go together, in seconds.")
    try:
        bound = 0.0 if max_staleness is None else validators.at_least_zero(max_staleness)
    except ValueError as error:
        raise ValueError(f"max_staleness is {max_staleness!r}, which {error.args[0]}, in seconds.") from None
    used_levels.add(wanted)
    return _block_region(
        kind=BlockKind.CONSISTENCY, level=wanted, max_staleness=bound, cluster=cluster, strict=strict
    )


def _block_region(**options: Any) -> Region:
    return Region(functools.partial(_begin_block, Block(**options)))


def _begin_block(block: Block) -> None:
    if block.cluster is not None:
        get_topology().check_cluster(block.cluster)
    begin_block(block)
    if in_any_state():
        if block.level in rules.NEEDS_POSITION:
            current_state().wants_position = True
    else:
        # Outside any scope nothing is remembered; a block remembers at least what was written in it.
        begin_scope(RoutingState(safe=False, outside=True))


def untracked_writes() -> Region:
    """Let the writes inside pin nobody: audit rows, counters, what no reader waits for."""
    return Region(begin_untracked, concerns_reads=False)


def routing_scope(*, safe: bool = False, token: str = "") -> Region:
    """Treat the code inside like a request of its own, in a worker, a consumer or a script.

    ``safe=True`` treats it like a GET, whose reads may go to replicas; otherwise it is like a POST, whose
    reads go to the primary. ``token`` is what :func:`current_token` returned elsewhere: the reads inside see
    what was written there. What is written inside counts for the scope around it, too.
    """

    def begin() -> None:
        stats.start()
        monitor.ensure_running()
        state = RoutingState(safe=safe, outer=current_scope())
        state.token = exchange.accept(token)
        begin_scope(state)

    return Region(begin)


def mark_written(cluster: str = DEFAULT_CLUSTER) -> None:
    """Count a write that Django's cursors do not show: ``callproc()``, ``copy()``, another driver.

    Raises ``ValueError`` for an unknown cluster.
    """
    get_topology().check_cluster(cluster)
    writes.note_write(current_state(), cluster)


def read_connection(cluster: str = DEFAULT_CLUSTER) -> BaseDatabaseWrapper:
    """Return the connection that a read would use now, for raw SQL.

    Raises ``ValueError`` for an unknown cluster.
    """
    topology = get_topology()
    route = topology.raw_route(cluster)
    decision = None if topology.inert else decide_read(route)
    return connections[route.cluster.primary if decision is None else decision.alias]


def current_token() -> str:
    """Return what :func:`restore_token` needs to see this scope's writes in another process.

    An opaque signed string; empty where nothing was written, and outside any scope. To be taken after the
    commit: inside ``atomic()`` it carries the time alone, and so it does on an event loop's own thread, where
    nobody can be asked (``await sync_to_async(current_token)()`` asks in a thread).
    """
    state = current_scope()
    return "" if state is None else exchange.issue(state).encode(databases.encode)


def restore_token(value: str) -> None:
    """Let the reads of this scope see what was written where :func:`current_token` returned ``value``.

    A value that is no good is counted, and is as none at all. Raises ``RuntimeError`` outside any scope.
    """
    if get_topology().inert:
        return
    state = current_scope()
    if state is None:
        raise RuntimeError(
            "restore_token() needs a request, a task or a scope to restore the token into. Use"
            " `with routing_scope(token=value):` around the code that reads."
        )
    state.add_token(exchange.accept(value))
