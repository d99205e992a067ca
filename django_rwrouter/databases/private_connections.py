"""Dedicated connections with short timeouts, for querying the state of a server."""

from __future__ import annotations

import math
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.databases import timeouts_of

_POOL_OPTIONS: Final = ("pool", "MAX_CONNS", "REUSE_CONNS")
"""What Django's pool and that of ``django_db_geventpool`` take; no driver knows them."""


def own_connection(alias: str, timeout: float | None = None) -> BaseDatabaseWrapper:
    """Make a connection to a database by its driver, past every pool, for the caller alone.

    A pool shares what it holds: short timeouts would reach whoever draws the connection next. ``timeout``
    bounds what the driver can bound, in seconds, rounded up: drivers of MySQL connecting and answering, those
    of PostgreSQL connecting alone, so whoever must not wait longer asks in a thread. The connection is not
    open yet, and the caller closes it.
    """
    connection = connections.create_connection(alias)
    options = dict(connection.settings_dict["OPTIONS"])
    for option in _POOL_OPTIONS:
        options.pop(option, None)
    if timeout is not None:
        library = getattr(connection, "Database", None)
        driver = getattr(library, "__name__", "").partition(".")[0]
        # Older versions of mysql.connector do not have them all, and say so.
        accepted = getattr(getattr(library, "constants", None), "DEFAULT_CONFIGURATION", None)
        options |= {
            option: math.ceil(timeout)
            for option in timeouts_of(driver)
            if accepted is None or option in accepted
        }
    connection.settings_dict = {
        **connection.settings_dict,
        "ATOMIC_REQUESTS": False,
        "AUTOCOMMIT": True,
        "CONN_HEALTH_CHECKS": False,
        "CONN_MAX_AGE": None,
        "OPTIONS": options,
    }
    return _without_pool(connection)


def _without_pool(connection: BaseDatabaseWrapper) -> BaseDatabaseWrapper:
    """Return the connection as Django's own backend makes it, where another one is built on that.

    Pools sit between the two (``dj_db_conn_pool``, ``django_db_geventpool``), keyed by the alias alone. What
    to connect with is asked of the outer backend, which may know more, such as a password that expires.
    """
    outer = type(connection)
    backend = next((base for base in outer.__mro__ if base.__module__.startswith("django.")), outer)
    if backend is outer or backend is BaseDatabaseWrapper:
        return connection
    inner: BaseDatabaseWrapper = backend(connection.settings_dict, connection.alias)
    own_parameters = inner.get_connection_params

    def get_connection_params() -> dict[str, Any]:
        own_parameters()  # Backends keep some of what they read for when they are connected.
        parameters: dict[str, Any] = connection.get_connection_params()
        return parameters

    inner.get_connection_params = get_connection_params  # type: ignore[method-assign]
    return inner
