"""Matches each statement to the router's decision that led to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.model_labels import table_name
from django_rwrouter.databases.sql import Statement
from django_rwrouter.decision import Decision
from django_rwrouter.scope.state import RoutingState

if TYPE_CHECKING:
    from django.db.models import Model

DECISION: Final = "rwrouter_decision"
"""Where other execute wrappers find, in their ``context``, the decision on the statement that they run."""
RAW_DECISION: Final = "_rwrouter_decision"
"""Under this name a cursor keeps the decision of ``read_connection()``."""


def announced(state: RoutingState, context: dict[str, Any], statement: Statement) -> Decision | None:
    """Return the router's decision that led to this statement, if there is one.

    Django asks the router more and less often than it queries (a cached content type: once, and no query; a
    generic foreign key: a query, and never), so decisions are matched by database and table. A read's is used
    up by its statement; a write's stays, since one ``save()`` or ``bulk_create()`` runs several statements,
    and covers one read before them (``get_or_create()``, ``select_for_update()``). What ``read_connection()``
    decided holds for all that its first cursor reads.
    """
    connection: BaseDatabaseWrapper = context["connection"]
    alias = connection.alias
    reads = state.announced_reads[alias] if alias in state.announced_reads else {}  # noqa: SIM401  (no call)
    if not statement.writes:
        for table in statement.tables:
            try:
                read = reads[table]
                del reads[table]
            except KeyError:  # Another thread of the request may use it up meanwhile.
                continue
            return read
        cursor: dict[str, Decision] = context["cursor"].__dict__
        raw = reads.pop("", None)
        if raw is None:
            return cursor.get(RAW_DECISION) or _announced_by_other_end(reads, statement)
        cursor[RAW_DECISION] = raw
        return raw
    writes = state.announced_writes.get(alias)
    if not writes:
        return None
    for table in statement.tables:
        if (write := writes.get(table)) is not None:
            if (before := reads.get(table)) is not None and before.operation == "write":
                reads.pop(table, None)  # What it writes was not read first, and will not be.
            return write
    # A cascade, or the parent tables of multi-table inheritance: one call, several tables.
    # Listed first: another thread of the request may announce a write meanwhile.
    return next(reversed(list(writes.values())), None) if connection.in_atomic_block else None


def _announced_by_other_end(reads: dict[str, Decision], statement: Statement) -> Decision | None:
    """Return the write that a read through a many-to-many relation precedes.

    ``tag.books.get_or_create()`` asks the router for the model of ``tag``, and looks for a book.
    """
    for table, decision in list(reads.items()):  # Other threads of the request announce reads meanwhile.
        if (
            decision.operation == "write"
            and decision.model is not None
            and not _tables_between(decision.model).isdisjoint(statement.tables)
        ):
            return reads.pop(table, None)
    return None


def _tables_between(model: type[Model]) -> set[str]:
    """Return the tables of a model's many-to-many relations, from either end."""
    relations: list[Any] = [field for field in model._meta.get_fields() if field.many_to_many]
    return {
        table_name((getattr(relation, "through", None) or relation.remote_field.through)._meta.db_table)
        for relation in relations
    }
