"""The ``Page`` class that describes a page of the panel, and the permissions that pages require."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

VIEW: Final = "django_rwrouter.view_routing"
CHANGE: Final = "django_rwrouter.change_routing"
"""The permission to drain replicas and to throw the kill switch; of no use without the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, reached from the navigation."""

    name: str
    """Part of its address and of its URL's name."""
    title: _StrPromise
    context: Callable[[HttpRequest], dict[str, Any]]
    refresh_seconds: int = 0
    """How often the page fetches itself anew, where there is JavaScript; 0 for never."""
    permission: str = VIEW

    @property
    def template(self) -> str:
        """The part of the page below the navigation."""
        return f"admin/django_rwrouter/{self.name}.html"
