"""Copies the primary's session state to a replica: search path, role, row-security variables, tenant.

Such state decides which rows a query sees, and code sets it on the primary's connection alone.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases.sql import Kind, Statement
from django_rwrouter.events import emit
from django_rwrouter.events.kinds import EventKind
from django_rwrouter.scope.context import current_state, silenced

_STATEMENTS: Final = "_rwrouter_statements"
"""On a primary's connection: how many statements have run there. Any of them may have changed the session."""
_FOLLOWS: Final = "_rwrouter_follows"
"""On a replica's connection: the scope and the state of the primary's session that it was prepared for."""
_SETTING: Final = re.compile(
    r"\s*(?:(?P<back>RESET)\s+|SET\s+(?:SESSION\s+|LOCAL\s+)?|SELECT\s+(?:pg_catalog\.)?set_config\s*\(\s*')"
    r"(?P<name>search_path|role|session[_\s]+authorization)\b(?!\s*(?:TO|=)?\s*(?:DEFAULT|NONE)\b)"
    r"|\s*(?:RESET|SET|DISCARD)\s+(?:SESSION\s+|LOCAL\s+)?(?:ALL|search_path|role|session\s+authorization)\b",
    re.IGNORECASE,
)
"""A statement that sets what decides which rows a session shows, or sets it back."""
_SET: Final = "_rwrouter_set"
"""On a connection: the driver's, and the statement by which its session was set apart from the login's."""
_TENANT: Final = ("schema_name", "include_public_schema")
"""What django-tenants' connections know of their tenant."""


def get_replica_session(path: str) -> Callable[[BaseDatabaseWrapper, BaseDatabaseWrapper], object]:
    """Return the function that ``REPLICA_SESSION`` names; raises ``ImproperlyConfigured``."""
    try:
        function: Callable[[BaseDatabaseWrapper, BaseDatabaseWrapper], object] = import_string(path)
    except Exception as error:  # A module of the project may raise anything.
        raise ImproperlyConfigured(
            f"{SETTING}['REPLICA_SESSION'] is {path!r}: {type(error).__name__}: {error}"
        ) from error
    if not callable(function):
        raise ImproperlyConfigured(f"{SETTING}['REPLICA_SESSION'] is {path!r}, which is no function.")
    return function


@cache
def has_tenants(backend: type[BaseDatabaseWrapper]) -> bool:
    """Whether the connections of a class are django-tenants'."""
    return hasattr(backend, "set_tenant")


set_apart: Final[set[str]] = set()
"""Databases of which a session was set apart in this process."""
process.owns(set_apart.clear)


def note_set(connection: BaseDatabaseWrapper, sql: str, params: Any) -> None:
    """Note a statement that sets a session apart from what its login has."""
    setting = _SETTING.match(sql)
    if setting is None:
        return
    if setting["name"] is None or setting["back"]:
        setattr(connection, _SET, None)
        return
    words = sql.split()
    values = tuple(params.values() if isinstance(params, Mapping) else params or ())
    # What is local is set back when the transaction ends.
    is_local = connection.in_atomic_block and (words[1].upper() == "LOCAL" or words[-1].lower() == "true)")
    name = " ".join(setting["name"].split())
    setattr(connection, _SET, (connection.connection, is_local, name, words, values))
    set_apart.add(connection.alias)


def _compare(replica: BaseDatabaseWrapper, cluster: Cluster) -> None:
    """Tell of a replica that answers while the primary's session was set apart, and its own was not."""
    primary = connections[cluster.primary]
    there = getattr(primary, _SET, None)
    if there is None or cluster.settings.replica_session is not None:
        return
    driver, is_local, name, *_values = there
    if driver is not primary.connection or (is_local and not primary.in_atomic_block):
        return
    here = getattr(replica, _SET, None)
    if here is None or here[0] is not replica.connection or here[2:] != there[2:]:
        emit.event(EventKind.SESSION_DIFFERS, replica.alias, what=name)


def following(execute: Callable[..., Any], statement: Statement, cluster: Cluster) -> Callable[..., Any]:
    """Return an ``execute`` that prepares a replica's session before it runs a statement there.

    Not before one that only sets the session: that may be django-tenants' own, which must not come last.
    """

    def run(sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
        connection: BaseDatabaseWrapper = context["connection"]
        if connection.alias == cluster.primary:
            setattr(connection, _STATEMENTS, getattr(connection, _STATEMENTS, 0) + 1)
        elif statement.kind is not Kind.CONTROL:
            _follow(connections[cluster.primary], connection, cluster.settings.replica_session)
            _compare(connection, cluster)
        return execute(sql, params, many, context)

    return run


def _follow(primary: BaseDatabaseWrapper, replica: BaseDatabaseWrapper, path: str | None) -> None:
    """Prepare a replica's session, unless this scope has, and nothing has run on the primary since."""
    if hasattr(primary, "set_tenant") and hasattr(replica, "set_tenant"):
        _follow_tenant(primary, replica)
    if path is None:
        return
    state = current_state()
    last = getattr(replica, _FOLLOWS, None)
    if last is not None and not state.outside and last[0]() is state and last[1:] == _now(primary, replica):
        return
    with silenced():
        get_replica_session(path)(primary, replica)
    setattr(replica, _FOLLOWS, (weakref.ref(state), *_now(primary, replica)))


def _now(primary: BaseDatabaseWrapper, replica: BaseDatabaseWrapper) -> tuple[object, ...]:
    # The end of a transaction may have taken back what was set inside it.
    statements = getattr(primary, _STATEMENTS, 0)
    return replica.connection, primary.connection, primary.in_atomic_block, statements


def _follow_tenant(primary: Any, replica: Any) -> None:
    """Give a replica's connection the primary's tenant (django-tenants' backend)."""
    wanted = [getattr(primary, name, None) for name in _TENANT]
    if [getattr(replica, name, None) for name in _TENANT] == wanted:
        return
    replica.set_tenant(primary.tenant, include_public=primary.include_public_schema)
    replica.cursor().close()  # It sets the search path when a cursor is opened, and this statement's is open.
