"""The token in a header of request and response: for clients that keep no cookies, such as API clients.

The client sends back, with each request, the value that it received last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from django_rwrouter.conf import get_settings
from django_rwrouter.stores import keep_private

MOST: Final = 4
"""Tokens that are read of one header: each takes time, and the client chooses how many there are."""


class HeaderStore:
    """Keeps the token in the header that ``HEADER`` names."""

    blocks = False

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the header's value; a header that was sent twice arrives as one, with a comma."""
        value = request.headers.get(get_settings().header, "")
        return [part.strip() for part in value.split(",", MOST)[:MOST]] if value else ()

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str, max_age: float) -> None:
        """Set the header, and keep shared caches from handing it to others."""
        name = get_settings().header
        response[name] = token
        patch_vary_headers(response, (name,))
        keep_private(response)
