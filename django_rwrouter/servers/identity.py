"""Which server a connection has reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def is_primary(connection: BaseDatabaseWrapper, primary: BaseDatabaseWrapper) -> bool:
    """Whether an alias is another name of the primary, as in a test run or on a developer's machine.

    Not by the address alone: a proxy may tell primary and replicas apart by the user, and PostgreSQL's
    library by ``target_session_attrs``.
    """
    own, target = connection.settings_dict, primary.settings_dict
    same = all(own[key] == target[key] for key in ("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS"))
    return same or is_test_mirror(connection)


def is_new(connection: BaseDatabaseWrapper) -> bool:
    """Whether nobody has asked yet which server a connection has reached."""
    return server_of(connection) is None


def is_test_mirror(connection: BaseDatabaseWrapper) -> bool:
    """Whether a replica's connection has been pointed at the primary itself by the running tests."""
    mirrored = connection.settings_dict["TEST"].get("MIRROR")
    if not mirrored or not process.in_test_environment():
        return False
    target = connections[mirrored].settings_dict
    own = connection.settings_dict
    return all(own[key] == target[key] for key in ("ENGINE", "NAME", "HOST", "PORT"))


_SERVER: Final = "_rwrouter_server"


def server_of(connection: BaseDatabaseWrapper) -> str | None:
    """Return the server that a connection has reached, if it was asked."""
    server: str | None = getattr(connection, _SERVER, None)
    return server


def set_server(connection: BaseDatabaseWrapper, server: str | None) -> None:
    """Note the server that a connection has reached; ``None`` for a new one, which nobody has asked."""
    setattr(connection, _SERVER, server)
