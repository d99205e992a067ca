"""The token in Django's cache, on the server's side: one for all devices and tabs of a user.

A client is known by its session cookie, else by its ``Authorization`` header, hashed with the secret key. A
client with neither, as after a logout, gets its token in the cookie.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache import cache
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

from django_rwrouter.stores import NotKept

_Identity = tuple[str, str]
"""Of what kind it is, and its value."""

_SALT: Final = "django_rwrouter.stores.cache"
_SLOTS: Final = 16
"""How many parallel responses of one client may be saved without one overwriting another."""


class CacheStore:
    """Keeps the token in the default cache, which all processes must share.

    One key that everybody reads, changes and writes back would lose one of two writes made at the same time.
    So each response writes to the next of a few slots, and a request reads them all: a token holds all that
    was known when it was made, and those made at the same time are in different slots.
    """

    blocks = True
    on_server = True
    """What is saved reaches the client also when the response has been sent."""

    def knows(self, request: HttpRequest) -> bool:
        """Whether the request says who its client is."""
        return _identity(request) is not None

    def moves(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        """Whether the client will be known by something else than before, or by nothing."""
        if django_settings.SESSION_COOKIE_NAME not in response.cookies:
            return False
        before = _identity(request)
        return before is not None and _identity_after(request, response) != before

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return what is stored for the client, also under the hash of a secret key that was replaced."""
        identity = _identity(request)
        if identity is None:
            return ()
        secrets = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
        clients = [_hashed(identity, secret) for secret in secrets]
        stored = cache.get_many([_slot(client, number) for client in clients for number in range(_SLOTS)])
        return [value for value in stored.values() if isinstance(value, str)]

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str, max_age: float) -> None:
        """Store the token for the client, and for what it will be known by after the response."""
        seconds = math.ceil(max_age)
        proven, after = _proven_identity(request), _identity_after(request, response)
        is_new = django_settings.SESSION_COOKIE_NAME in response.cookies
        identities = {identity for identity in (proven, after if is_new else proven) if identity is not None}
        for identity in identities:
            client = _hashed(identity, django_settings.SECRET_KEY)
            turn = f"{client}:turn"
            # Nothing lives longer than the token. add() does nothing where the key is there already, and
            # incr() is one atomic step.
            if not cache.add(turn, 0, timeout=seconds):
                cache.touch(turn, timeout=seconds)
            try:
                number = cache.incr(turn)
            except ValueError:  # Evicted in between.
                number = 0
            cache.set(_slot(client, number % _SLOTS), token, timeout=seconds)
        if after not in identities:
            raise NotKept("The client's next request names no session that exists, and no account.")


def _slot(client: str, number: int) -> str:
    return f"{client}:{number}"


def _identity(request: HttpRequest) -> _Identity | None:
    """Return what the client is known by."""
    return _session_or_account(request.COOKIES.get(django_settings.SESSION_COOKIE_NAME), request)


def _session_or_account(session: str | None, request: HttpRequest) -> _Identity | None:
    if session:
        return "session", session
    authorization = request.headers.get("Authorization")
    return ("authorization", authorization) if authorization else None


def _proven_identity(request: HttpRequest) -> _Identity | None:
    """Return the same, but take no session cookie whose session does not exist: anybody can make those up."""
    session = getattr(request, "session", None)
    if not isinstance(session, SessionBase) or django_settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return _identity(request)
    accessed = session.accessed
    session.get("")  # Loads it; one that does not exist loses its key.
    session.accessed = accessed
    return _identity(request) if session.session_key else _session_or_account(None, request)


def _identity_after(request: HttpRequest, response: HttpResponseBase) -> _Identity | None:
    """Return what the client will be known by, as the response may give it another session, or end it."""
    cookie = response.cookies.get(django_settings.SESSION_COOKIE_NAME)
    return _identity(request) if cookie is None else _session_or_account(cookie.value, request)


def _hashed(identity: _Identity, secret: str) -> str:
    kind, value = identity
    digest = salted_hmac(f"{_SALT}.{kind}", value, secret=secret, algorithm="sha256")
    return f"rwrouter:{digest.hexdigest()}"
