"""Installs the execute wrapper that observes statements on every routed connection.

The wrapper itself (:func:`django_rwrouter.execution.hook.observe`) belongs to a higher layer, so the app
config registers it here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

_wrapper: Callable[..., Any] | None = None


def register(wrapper: Callable[..., Any]) -> None:
    """Have :func:`install` put this execute wrapper on connections."""
    global _wrapper  # noqa: PLW0603
    _wrapper = wrapper


def install(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Put the wrapper on a connection, once, and return the connection.

    At the front: ``connection.execute_wrapper()`` takes the last one off when its block ends, whoever put it
    there in the meantime.
    """
    if _wrapper is not None and _wrapper not in connection.execute_wrappers:
        connection.execute_wrappers.insert(0, _wrapper)
    return connection
