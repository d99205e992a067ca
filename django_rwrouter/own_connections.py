"""Connections that nobody else uses, with short timeouts: to ask a server how it is."""

from __future__ import annotations

import math

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def own_connection(alias: str, timeout: float) -> BaseDatabaseWrapper:
    """Make a connection to a database that answers within some ``timeout`` seconds, or fails.

    It is not open yet, and the caller closes it. Drivers count in whole seconds, and PostgreSQL's bounds only
    the connecting: whoever must not wait longer asks in a thread.
    """
    connection = connections.create_connection(alias)
    options = dict(connection.settings_dict["OPTIONS"])
    seconds = math.ceil(timeout)
    if connection.vendor == "mysql":
        options |= {"connect_timeout": seconds, "read_timeout": seconds, "write_timeout": seconds}
    elif connection.vendor == "postgresql":
        options.pop("pool", None)
        options["connect_timeout"] = seconds
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    return connection
