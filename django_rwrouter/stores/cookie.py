"""The token in a cookie of its own: no round trip, and no session needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from django_rwrouter import process
from django_rwrouter.conf import SETTING, get_settings
from django_rwrouter.stores import keep_private


class CookieStore:
    """Keeps the token in the cookie that ``COOKIE`` describes."""

    blocks = False

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the cookie's value."""
        name = get_settings().cookie.name
        # To parse the header costs more than all the rest, and most clients bring no token.
        if "COOKIES" not in request.__dict__ and name not in request.META.get("HTTP_COOKIE", ""):
            return ()
        value = request.COOKIES.get(name, "")
        return (value,) if value else ()

    def save(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        token: str,
        max_age: float,
    ) -> None:
        """Set the cookie, and keep shared caches from handing it to others."""
        name, attributes = _attributes()
        response.cookies[name] = token
        # The names are those that Django has set: Morsel.update() would check each of them.
        dict.update(response.cookies[name], attributes, **{"max-age": math.ceil(max_age)})
        if "Vary" in response.headers:
            patch_vary_headers(response, ("Cookie",))
        else:
            response.headers["Vary"] = "Cookie"
        keep_private(response)


@cache
def _attributes() -> tuple[str, dict[str, Any]]:
    """Return the cookie's name, and its attributes as ``response.set_cookie()`` would set them."""
    cookie = get_settings().cookie
    secure = django_settings.SESSION_COOKIE_SECURE if cookie.secure is None else cookie.secure
    response = HttpResponse()
    response.set_cookie(
        cookie.name,
        path=cookie.path,
        domain=cookie.domain,
        secure=secure,
        httponly=cookie.httponly,
        samesite=cookie.samesite,
    )
    return cookie.name, {name: value for name, value in response.cookies[cookie.name].items() if value}


process.derives(_attributes.cache_clear, [SETTING, "SESSION_COOKIE_SECURE"])
