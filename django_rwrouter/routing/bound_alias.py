"""Aliases that Django may compare: the databases of one cluster hold the same objects."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from django_rwrouter.conf.clusters import get_topology

if TYPE_CHECKING:
    from django.db.models import Model

    from django_rwrouter.scope.state import RoutingState

_COMPARING: Final = frozenset(
    {
        # A subquery that is bound to another database than the query around it is refused.
        ("django.db.models.lookups", "process_rhs"),
        # So are objects from another database than that of the relation.
        ("django.db.models.fields.related_descriptors", "add"),
        ("django.contrib.contenttypes.fields", "add"),
        # An object from there is copied as a whole, deferred fields included.
        ("django.db.models.base", "save"),
    }
)
"""The module and the name of the functions in which Django compares aliases, and the same data is meant."""


class BoundAlias(str):
    """An alias that is equal, where Django compares databases, to any other of its cluster.

    The subquery of a generic relation is bound when it is built, and goes where the query around it is routed
    later; an object that was read from a replica is the primary's. To everybody else this is a string like
    any other.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True or self._means(other, sys._getframe(1))

    def __ne__(self, other: object) -> bool:
        return str.__eq__(self, other) is not True and not self._means(other, sys._getframe(1))

    def _means(self, other: object, caller: FrameType) -> bool:
        if not isinstance(other, str):
            return False
        if (caller.f_globals.get("__name__"), caller.f_code.co_name) not in _COMPARING:
            return False
        topology = get_topology()
        own = topology.cluster_of(str(self))
        return own is not None and topology.cluster_of(str(other)) is own

    def __deepcopy__(self, _memo: dict[int, Any]) -> BoundAlias:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def alias_to_write(alias: str, instance: Model, state: RoutingState) -> str:
    """Return the primary's alias, as one that Django may compare if there are objects from replicas."""
    origin = instance._state.db
    is_copy = origin is not None and origin != alias
    return BoundAlias(alias) if is_copy or state.routed_reads or state.outer is not None else alias


def is_generic(instance: Model, model: type[Model] | None) -> bool:
    """Whether an object leads to a model by a generic relation, whose querysets Django binds."""
    return any(field.one_to_many and field.related_model is model for field in instance._meta.private_fields)
