"""The token in the user's session: nothing in the browser, works with every session backend."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_rwrouter.conf import SETTING

KEY: Final = "_rwrouter"


class SessionStore:
    """Keeps the token in ``request.session``, as a plain string that every serializer takes."""

    blocks = True

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the token in the session; a client without a session has none."""
        session = _session(request)
        if session.session_key is None and not session.modified:
            return ()
        # Looking for the token must not make SessionMiddleware say ``Vary: Cookie`` on every page.
        accessed = session.accessed
        value = session.get(KEY, "")
        session.accessed = accessed
        return (value,) if value and isinstance(value, str) else ()

    def save(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        token: str,
        max_age: float,
    ) -> None:
        """Put the token into the session, which SessionMiddleware then saves.

        It does not save after a server error, to drop what the failed view left in the session. The write
        that came before the error stands, though, so the token goes into the stored session alone.
        """
        session = _session(request)
        session[KEY] = token
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and session.session_key:
            stored = type(session)(session.session_key)
            stored[KEY] = token
            with contextlib.suppress(UpdateError):  # Deleted meanwhile: the client has logged out.
                stored.save()


def _session(request: HttpRequest) -> SessionBase:
    session: SessionBase | None = getattr(request, "session", None)
    if session is None:
        raise ImproperlyConfigured(
            f"{SETTING}['STORE'] has 'session', but the request has no session: put"
            " 'django_rwrouter.middleware.ReadWriteMiddleware' right after"
            " 'django.contrib.sessions.middleware.SessionMiddleware' in MIDDLEWARE."
        )
    return session
