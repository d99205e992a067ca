"""Inspects the settings of a project, and the objects that they refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.utils import load_backend
from django.utils.module_loading import import_string

from django_rwrouter.conf.options import Settings
from django_rwrouter.databases import by_name
from django_rwrouter.databases.base import Product
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.stores import get_store


def store_of(settings: Settings, kind: type[object]) -> str | None:
    """Return what ``STORE`` calls a store of this kind, or ``None`` if none is used."""
    for name in settings.stores:
        if flaw_of(get_store, name) is None and isinstance(get_store(name), kind):
            return name
    return None


def flaw_of(resolve: Callable[[str], object], name: str) -> str | None:
    """Return what is wrong with a name or dotted path, or ``None`` if it resolves."""
    try:
        resolve(name)
    except ImproperlyConfigured as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  (a module of the project may raise anything)
        return f"{type(error).__name__}: {error}"
    return None


def is_our_middleware(entry: str) -> bool:
    """Whether an entry of ``MIDDLEWARE`` is this package's, or a subclass of it."""
    middleware = _imported(entry)
    return isinstance(middleware, type) and issubclass(middleware, ReadWriteMiddleware)


def is_session_middleware(entry: str) -> bool:
    """Whether an entry of ``MIDDLEWARE`` provides sessions."""
    # By name: packages that replace Django's do not always inherit from it.
    bases = getattr(_imported(entry), "__mro__", ())
    return any(base.__name__ == "SessionMiddleware" for base in bases)


def _imported(path: str) -> object:
    return None if flaw_of(import_string, path) else import_string(path)


def installed_routers() -> Sequence[object]:
    """Return the routers that ``DATABASE_ROUTERS`` names; none where one of them cannot be made."""
    return () if flaw_of_routers() else list(router.routers)


def flaw_of_routers() -> str | None:
    """Return which entry of ``DATABASE_ROUTERS`` cannot be made, and why; ``None`` if all can."""
    for entry in django_settings.DATABASE_ROUTERS:
        if isinstance(entry, str) and (flaw := flaw_of(lambda path: import_string(path)(), entry)):
            return f"{entry!r}, which cannot be used ({flaw})"
    return None


def backend_of(alias: str) -> Any:
    """Return the class of a database's connections, or ``None`` if it cannot be loaded."""
    try:
        return load_backend(connections.settings[alias]["ENGINE"]).DatabaseWrapper
    except (ImproperlyConfigured, ImportError):
        return None  # The driver is missing: Django explains that at the first connection.


def vendor_of(alias: str) -> str | None:
    """Return a database's vendor as its backend names it, or ``None`` if that cannot be loaded."""
    return getattr(backend_of(alias), "vendor", None)


def product_of(alias: str) -> Product:
    """Return what is known of a database's product without connecting to it: MariaDB counts as MySQL."""
    return by_name(vendor_of(alias) or "")
