"""What a client brings with its request, and what it takes away."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_rwrouter import stats, token
from django_rwrouter.conf import get_settings
from django_rwrouter.state import RoutingState
from django_rwrouter.stores import Store, get_store
from django_rwrouter.token import EMPTY, Mark, Token
from django_rwrouter.topology import get_topology


def stores() -> Sequence[Store]:
    """Return the stores in use; raises ``ImproperlyConfigured``."""
    return _stores(get_settings().stores)


@lru_cache(maxsize=16)
def _stores(names: tuple[str, ...]) -> Sequence[Store]:
    return tuple(get_store(name) for name in names)


def accept(value: str) -> Token:
    """Read a token that came from outside; one that is no good is counted, and is as none at all."""
    if not value:
        return EMPTY
    found, flaw = token.decode(value, get_topology().lifetimes, time.time())
    if flaw is not None:
        stats.count_event("token_rejected", flaw)
    return found


def load(request: HttpRequest) -> Token:
    """Return what the client brought, from all stores together."""
    found = EMPTY
    for store in stores():
        found = found.merge(accept(store.load(request)))
    return found


def issue(state: RoutingState) -> Token:
    """Return the token for what the scope has brought and written, as of now.

    To be called after the outermost commit: ``wrote_at`` must not be earlier than the commit.
    """
    now = time.time()
    written = {name: Mark(round(now, 6)) for name, scope in state.scopes() if scope.wrote}
    if not written:
        return state.known_token()
    # The newest write of each cluster is what counts, so a merge drops nothing.
    made = state.known_token().merge(Token(written))
    state.issued.append(made)
    return made


def must_save(state: RoutingState) -> bool:
    """Whether the client has to be told anything."""
    return bool(state.token) or any(scope.wrote for _name, scope in state.scopes())


def save(state: RoutingState, request: HttpRequest, response: HttpResponseBase) -> None:
    """Give the client its token, if it wrote, or if a store has lost the one that it brought."""
    lifetimes = get_topology().lifetimes
    if any(scope.wrote for _name, scope in state.scopes()):
        made = issue(state)
        keepers = stores()
        stats.count_event("pin_set")
    else:
        made = state.token or EMPTY
        # Logging out empties the session; the client is still the one that wrote a moment ago.
        keepers = [store for store in stores() if store.blocks and not store.load(request)]
    if not keepers or not made:
        return
    value = made.encode()
    max_age = max(lifetimes.get(name, 0.0) for name in made.marks)
    for store in keepers:
        store.save(request, response, value, max_age)
