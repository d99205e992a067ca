"""One routing scope for each request, and the client's token on the way in and out."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseServerError
from django.http.response import HttpResponseBase
from django.utils.translation import get_language_from_path

from django_rwrouter import monitor, stats
from django_rwrouter.conf import require_app
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.routing import transactions
from django_rwrouter.scope import streaming
from django_rwrouter.scope.context import SAFE_METHODS, entered, in_force
from django_rwrouter.scope.state import RoutingState
from django_rwrouter.stores import exchange

UNCOUNTED: Final = "rwrouter_uncounted"
"""Attribute of a view whose requests and statements the statistics leave out."""

require_app()

GetResponse = Callable[[HttpRequest], "HttpResponseBase | Awaitable[HttpResponseBase]"]


class ReadWriteMiddleware:
    """Gives each request a routing scope.

    Put it first in ``MIDDLEWARE``, so that whatever the others write is seen; with the store ``session``,
    right after ``SessionMiddleware``.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
            # Django would hand the sync one to a thread, once for each request.
            self.process_view = self.aprocess_view  # type: ignore[method-assign,assignment]

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if get_topology().inert:
            return self.get_response(request)
        if self.is_async:
            return self.__acall__(request)
        state = _begin(request)
        try:
            with entered(state):
                response: HttpResponseBase = self.get_response(request)  # type: ignore[assignment]
                if exchange.must_save(state, request, response):
                    exchange.save(state, request, response)
                if response.streaming:
                    _keep(state, request, response)
        finally:
            if not state.uncounted:  # The view tells, so it is asked at the end.
                stats.count_event(EventKind.REQUEST.code)
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        """Handle one request on the event loop; a thread is used only where a store may block."""
        state = _begin(request)
        try:
            with entered(state):
                try:
                    response = await cast("Awaitable[HttpResponseBase]", self.get_response(request))
                except CancelledError:
                    # The client has gone, and may be back at once: stores on the server can still tell.
                    if exchange.in_use().may_block:
                        with suppress(Exception):  # A server that stops has no more threads to run it in.
                            await sync_to_async(_save)(state, request, HttpResponseServerError())
                    raise
                if exchange.must_save(state, request, response):
                    if exchange.may_wait(state):
                        await sync_to_async(exchange.save)(state, request, response)
                    else:
                        exchange.save(state, request, response)
                if response.streaming:
                    _keep(state, request, response)
        finally:
            if not state.uncounted:  # The view tells, so it is asked at the end.
                stats.count_event(EventKind.REQUEST.code)
        return response

    def process_view(self, request: HttpRequest, view: Callable[..., object], *_arguments: object) -> None:
        """Note the view before ``ATOMIC_REQUESTS`` opens its transaction."""
        state = in_force().state
        if state is None or state.outside:
            return
        if state.may_block:
            exchange.watch_session(state, request)
        if state.safe and get_topology().unsafe_views and _is_unsafe_view(request):
            state.safe = False
            state.settled = {}
        if request.resolver_match is not None:
            state.view_name = request.resolver_match.view_name
        state.uncounted = getattr(view, UNCOUNTED, False)
        if state.safe:
            transactions.note_view(state, view)

    async def aprocess_view(self, *view: Any) -> None:
        """Do what ``process_view`` does, which never waits."""
        ReadWriteMiddleware.process_view(self, *view)


def _begin(request: HttpRequest) -> RoutingState:
    stats.start()
    monitor.ensure_running()
    safe = request.method in SAFE_METHODS
    unsafe_paths = get_topology().unsafe_paths
    if unsafe_paths and safe:
        safe = not _has_prefix(request.path_info, unsafe_paths)
    state = RoutingState(safe=safe)
    state.is_request = True
    # Looked at only when a read depends on it: most requests never need to know.
    state.token = None
    state.load_token = partial(exchange.load, request)
    state.may_block = exchange.in_use().may_block
    if state.may_block:
        exchange.begin(state, request)
    return state


def _save(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    if exchange.must_save(state, request, response):
        exchange.save(state, request, response)


def _has_prefix(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a path begins with one of the prefixes, also behind the language of ``i18n_patterns()``."""
    if path.startswith(prefixes):
        return True
    if get_language_from_path(path) is None:
        return False
    return f"/{path[1:].partition('/')[2]}".startswith(prefixes)


def _is_unsafe_view(request: HttpRequest) -> bool:
    """Whether ``UNSAFE_VIEWS`` names the view, by the namespace of its app or of its instance."""
    match = request.resolver_match
    if match is None or not match.url_name:
        return False
    names = get_topology().unsafe_views
    return match.view_name in names or ":".join([*match.app_names, match.url_name]) in names


def _keep(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Keep the scope for the body of a streaming response."""
    state.sealed = True
    late = any(exchange.outlives_response(store) for store in exchange.in_use().stores)
    at_end = partial(exchange.save_late, state, request, response) if late else None
    streaming.keep(response, at_end=at_end)
