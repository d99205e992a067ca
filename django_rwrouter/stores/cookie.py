"""The token in a cookie of its own: no round trip, and no session needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from django_rwrouter.conf import get_settings
from django_rwrouter.stores import keep_private


class CookieStore:
    """Keeps the token in the cookie that ``COOKIE`` describes."""

    blocks = False

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the cookie's value."""
        value = request.COOKIES.get(get_settings().cookie.name, "")
        return (value,) if value else ()

    def save(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        token: str,
        max_age: float,
    ) -> None:
        """Set the cookie, and keep shared caches from handing it to others."""
        cookie = get_settings().cookie
        secure = django_settings.SESSION_COOKIE_SECURE if cookie.secure is None else cookie.secure
        response.set_cookie(
            cookie.name,
            token,
            max_age=math.ceil(max_age),
            path=cookie.path,
            domain=cookie.domain,
            secure=secure,
            httponly=cookie.httponly,
            samesite=cookie.samesite,
        )
        patch_vary_headers(response, ("Cookie",))
        keep_private(response)
