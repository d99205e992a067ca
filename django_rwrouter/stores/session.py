"""The token in the user's session: nothing in the browser, works with every session backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from django.conf import settings as django_settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.backends.signed_cookies import SessionStore as SessionInCookie
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from django_rwrouter.conf import SETTING
from django_rwrouter.scope.token import Token
from django_rwrouter.stores import NotKept, keep_private
from django_rwrouter.stores.cookie import CookieStore

KEY: Final = "_rwrouter"
_SALT: Final = "django_rwrouter.stores.session"
_MOST: Final = 4
"""How many tokens of responses made at the same time are kept side by side."""


class SessionStore:
    """Keeps the token in the stored session, as a plain string that every serializer takes.

    A session is loaded whole and saved whole, so one of two concurrent requests overwrites what the other has
    put into it. The token is therefore put into a copy loaded just now: saving ``request.session`` would
    bring back what was there when the request began. A request that saves its session itself first takes over
    the tokens that others have put there meanwhile. When a session is deleted, its tokens are left in another
    one, whose key follows from its own: requests that are under way bring the old key.
    """

    blocks = True

    def knows(self, request: HttpRequest) -> bool:
        """Whether the client has a session."""
        return _session(request).session_key is not None

    def moves(self, request: HttpRequest, response: HttpResponseBase) -> bool:
        """Whether the client's session is gone, or another one of which it does not learn after an error."""
        key = (session := _session(request)).session_key
        if key is not None and response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        return _key_brought(request) not in {None, key} and not isinstance(session, SessionInCookie)

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the tokens in the session, and those of one that the request brought and that is gone."""
        session = _session(request)
        if isinstance(session, SessionInCookie):
            return CookieStore().load(request)
        brought = _key_brought(request)
        if session.session_key is None and not brought and not session.modified:
            return ()
        loaded = hasattr(session, "_session_cache")
        is_another = session.session_key != brought
        tokens = _tokens(session)  # Loads it: one that is not stored has no key any more.
        if not brought or session.session_key == brought:
            return tokens
        if is_another:
            tokens = [*tokens, *_missing(tokens, session.__class__(brought))]
        tokens = [*tokens, *_missing(tokens, _as_stored(session, brought))]
        if not loaded:
            _unload_if_gone(session, brought)
        return tokens

    def leave(
        self, session: SessionBase, key: str | None, accept: Callable[[str], Token], max_age: float
    ) -> None:
        """Keep the tokens of a session that is about to be deleted, for requests that still bring its key."""
        if key is None or isinstance(session, SessionInCookie):
            return
        if tokens := [value for value in _tokens(session.__class__(key)) if accept(value)]:
            _add_to_remains(session, key, tokens, max_age)

    def save(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        token: str,
        max_age: float,
    ) -> None:
        """Put the token into the stored session; a client without one gets one from SessionMiddleware.

        That saves nothing after a server error, and sends no cookie, to drop what the failed view left in the
        session. The write that came before the error stands, though.
        """
        session = _session(request)
        if isinstance(session, SessionInCookie):
            raise NotKept("The session is in the browser, where a slower response would overwrite the token.")
        loaded = hasattr(session, "_session_cache")
        carried, brought = _tokens(session), _key_brought(request)
        failed = response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
        if session.get_expiry_age() <= 0:
            raise NotKept("The session expires at once, and nobody can load it again.")
        if session.session_key is None:
            if failed or brought is not None or not _has_session(request):
                if brought and not loaded:
                    _unload_if_gone(session, brought)
                raise NotKept("The client's session has ended, or it gets none after a server error.")
            session[KEY] = token
            keep_private(response)
            return
        stored = _as_stored(session, brought)
        value = _joined([*_missing(carried, stored), token])
        _put_quietly(session, value)
        if failed and session.session_key != brought:
            if brought:
                _add_to_remains(session, brought, [token], max_age)
            raise NotKept("The client does not learn of its new session after a server error.")
        if stored.session_key is None and brought in {None, session.session_key}:
            # If the request saves it, Django puts an error (SessionInterrupted) in place of the response.
            _add_to_remains(session, session.session_key, [token], max_age)
            raise NotKept("The session was deleted meanwhile.")
        if session_is_saved(session) and not failed and _has_session(request):
            return
        _save_stored(stored, value)

    def refresh(self, request: HttpRequest) -> None:
        """Take over the tokens that other responses have stored since this request loaded its session."""
        session = _session(request)
        if (
            session.session_key is None
            or not session_is_saved(session)
            or isinstance(session, SessionInCookie)
        ):
            return
        carried = _tokens(session)
        if missing := _missing(carried, _as_stored(session, _key_brought(request))):
            _put_quietly(session, _joined([*carried, *missing]))


def session_is_saved(session: SessionBase) -> bool:
    """Whether SessionMiddleware is going to save what the request has in its session."""
    if getattr(session, "modified", False):
        return True
    return bool(django_settings.SESSION_SAVE_EVERY_REQUEST) and hasattr(session, "_session_cache")


def _tokens(session: SessionBase) -> list[str]:
    # Looking for the token must not make SessionMiddleware say ``Vary: Cookie`` on every page.
    accessed = session.accessed
    value = session.get(KEY, "")
    session.accessed = accessed
    return value.split()[-_MOST:] if isinstance(value, str) else []


def _unload_if_gone(session: SessionBase, brought: str) -> None:
    """Undo that a session was loaded for its token alone, and found to be gone.

    SessionMiddleware would delete the client's cookie, which may be that of a newer session by now.
    """
    if session.session_key is None and hasattr(session, "_session_cache"):
        session._session_key = brought  # noqa: SLF001
        del session._session_cache  # noqa: SLF001


def _missing(carried: Sequence[str], stored: SessionBase) -> list[str]:
    return [token for token in _tokens(stored) if token not in carried]


def _as_stored(session: SessionBase, brought: str | None) -> SessionBase:
    """Return what is stored of a request's session now; of one that is gone, what was left of it."""
    if brought and session.session_key != brought:
        return _remains_of(session, brought)
    return session.__class__(session.session_key)


def _save_stored(stored: SessionBase, value: str) -> None:
    """Save the tokens in a stored session; raises :class:`NotKept` where none is stored."""
    if stored.session_key is None:
        raise NotKept("Nothing is stored under the key that the client brings.")
    stored[KEY] = value
    try:
        stored.save()
    except UpdateError as error:
        raise NotKept("The session was deleted meanwhile.") from error


def _add_to_remains(session: SessionBase, key: str, tokens: Sequence[str], max_age: float) -> None:
    """Leave tokens for requests that bring the key of a deleted session."""
    remains = _remains_of(session, key)
    left = _tokens(remains)
    is_new = remains.session_key is None
    if is_new:
        remains = _remains_of(session, key)
        remains.clear()  # And so does not look for what is there.
    remains[KEY] = _joined([*left, *tokens])
    remains.set_expiry(math.ceil(max_age))
    with suppress(CreateError, UpdateError):  # Another request deletes it, too.
        remains.save(must_create=is_new)


def _remains_of(session: SessionBase, key: str) -> SessionBase:
    """Return the session that keeps the tokens of a deleted one, under a key that nobody else can tell."""
    return session.__class__(salted_hmac(_SALT, key, algorithm="sha256").hexdigest()[:32])


def _joined(tokens: Sequence[str]) -> str:
    return " ".join(tokens[-_MOST:])


def _put_quietly(session: SessionBase, value: str) -> None:
    """Put it there for the case that the session is saved, and give no reason to do so."""
    modified, accessed = session.modified, session.accessed
    session[KEY] = value
    session.modified, session.accessed = modified, accessed


def _key_brought(request: HttpRequest) -> str | None:
    return request.COOKIES.get(django_settings.SESSION_COOKIE_NAME)


def _has_session(request: HttpRequest) -> bool:
    return isinstance(getattr(request, "session", None), SessionBase)


def _session(request: HttpRequest) -> SessionBase:
    """Return the request's session; where a middleware has put something else there, the stored one."""
    if _has_session(request):
        return request.session
    store = import_string(f"{django_settings.SESSION_ENGINE}.SessionStore")
    session: SessionBase = store(_key_brought(request))
    return session


def require_session(request: HttpRequest) -> None:
    """Raise ``ImproperlyConfigured`` where no middleware has given the request a session."""
    if not hasattr(request, "session"):
        raise ImproperlyConfigured(
            f"{SETTING}['STORE'] has 'session', but the request has no session: put"
            " 'django_rwrouter.middleware.ReadWriteMiddleware' right after"
            " 'django.contrib.sessions.middleware.SessionMiddleware' in MIDDLEWARE."
        )
