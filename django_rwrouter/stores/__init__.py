"""Where a client's token is kept between its requests.

A store is one module here with one class: the store ``cookie`` is ``stores/cookie.py`` with
``CookieStore``. Other packages give their store by its dotted path.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control

from django_rwrouter import process
from django_rwrouter.conf import SETTING, plugins


class NotKept(Exception):  # noqa: N818  (no failure: the client's cookie carries the token instead)
    """Raised by ``save`` where this client's token cannot be kept in the store."""


class Store(Protocol):
    """Keeps one string for each client. One instance serves all threads of a process.

    Where ``load`` raises, the request reads from the primary as if its client had just written. Where
    ``save`` raises, the token goes into the cookie of the ``cookie`` store.
    """

    blocks: bool
    """Whether ``load`` and ``save`` may wait for a server or a disk. They are then never called on an event
    loop's thread."""

    def load(self, request: HttpRequest) -> Sequence[str]:
        """Return the tokens that the client brought, unverified; most stores have one or none."""
        ...

    def save(self, request: HttpRequest, response: HttpResponseBase, token: str, max_age: float) -> None:
        """Keep the signed token for the client, for ``max_age`` seconds."""
        ...


def keep_private(response: HttpResponseBase) -> None:
    """Keep shared caches from storing a response that carries a token.

    Django's cache middleware says ``max-age`` of every response, which shared caches take for permission.
    Only what is said of this response for shared caches (``public``, ``s-maxage``), or is stricter, stays.
    """
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "private"
        return
    said = {part.partition("=")[0].strip().lower() for part in response.headers["Cache-Control"].split(",")}
    if said.isdisjoint(("public", "s-maxage", "private", "no-store")):
        patch_cache_control(response, private=True)


STORES: Final = {
    name: f"{__name__}.{name}.{name.title()}Store" for name in ("cache", "cookie", "header", "session")
}
"""The dotted paths of those that come with this package, by their names."""


@lru_cache(maxsize=16)
def get_store(name: str) -> Store:
    """Return the store of that name or dotted path; raises ``ImproperlyConfigured``."""
    store: Store = plugins.make("STORE", name, STORES, "load", "save")
    if not isinstance(getattr(store, "blocks", None), bool):
        raise ImproperlyConfigured(
            f"{SETTING}['STORE'] has {name!r}, which does not say whether it blocks (blocks = True or False)."
        )
    return store


process.derives(get_store.cache_clear, [SETTING])
