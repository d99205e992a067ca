"""The token in Django's cache, on the server's side: one for all devices and tabs of a user.

A client is known by its session cookie, else by its ``Authorization`` header, hashed with the secret key. A
client with neither has no token here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from django.conf import settings as django_settings
from django.core.cache import cache
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

_SALT: Final = "django_rwrouter.stores.cache"
_TURN_SECONDS: Final = 86400
"""How long the count of a client's slots is kept; starting again from 0 does no harm."""
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

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return what is stored for the client."""
        client = _client_of_request(request)
        if client is None:
            return ()
        found = cache.get_many([_slot(client, number) for number in range(_SLOTS)])
        return [value for value in found.values() if isinstance(value, str)]

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str, max_age: float) -> None:
        """Store the token for the client; where the response makes a new session, for that one, too."""
        seconds = math.ceil(max_age)
        for client in dict.fromkeys((_client_of_request(request), *_client_of_response(response))):
            if client is None:
                continue
            turn = f"{client}:turn"
            # add() does nothing where the key is there already; incr() is one atomic step.
            cache.add(turn, 0, timeout=_TURN_SECONDS)
            try:
                number = cache.incr(turn)
            except ValueError:  # Evicted in between.
                number = 0
            cache.set(_slot(client, number % _SLOTS), token, timeout=seconds)


def _slot(client: str, number: int) -> str:
    return f"{client}:{number}"


def _client_of_request(request: HttpRequest) -> str | None:
    session = request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)
    if session:
        return _hashed("session", session)
    authorization = request.headers.get("Authorization")
    return _hashed("authorization", authorization) if authorization else None


def _client_of_response(response: HttpResponseBase) -> Iterator[str]:
    cookie = response.cookies.get(django_settings.SESSION_COOKIE_NAME)
    if cookie is not None and cookie.value:
        yield _hashed("session", cookie.value)


def _hashed(kind: str, value: str) -> str:
    return "rwrouter:" + salted_hmac(f"{_SALT}.{kind}", value, algorithm="sha256").hexdigest()
