"""Loads the classes that settings name: built-in ones by a short name, the project's by a dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_rwrouter.conf.parser import SETTING


def make(key: str, name: str, own: Mapping[str, str], *methods: str) -> Any:
    """Return an instance of the class that a setting names, with these methods.

    ``own`` has the dotted paths of this package's classes. Raises ``ImproperlyConfigured``.
    """
    where = f"{SETTING}[{key!r}] has {name!r}"
    if "." not in name and name not in own:
        raise ImproperlyConfigured(
            f"{where}; write one of {', '.join(map(repr, own))}, or the dotted path of a class."
        )
    try:
        plugin = import_string(own.get(name, name))()
    except Exception as error:  # A module of the project may raise anything.
        raise ImproperlyConfigured(
            f"{where}, which cannot be used: {type(error).__name__}: {error}"
        ) from error
    for method in methods:
        if not callable(getattr(plugin, method, None)):
            raise ImproperlyConfigured(f"{where}, which has no {method}().")
    return plugin
