"""The alias of a queryset that Django binds when it is built, though its statement may run elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from django.db.models.lookups import In

from django_rwrouter.conf.clusters import get_topology

if TYPE_CHECKING:
    from django.db.models import Model

_COMPARES: Final = In.process_rhs.__code__
"""Where Django refuses a subquery that is bound to another database than the query around it."""


class BoundAlias(str):
    """An alias that ``in`` accepts as a subquery's, on whatever database of the cluster the query runs.

    The queryset around a generic relation's is routed later, and may go elsewhere; the subquery goes with it,
    and the cursor judges both. To everybody else this is a string like any other.
    """

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        differs = str.__ne__(self, other)
        if not differs or sys._getframe(1).f_code is not _COMPARES:
            return differs
        topology = get_topology()
        return topology.cluster_of(str(other)) is not topology.cluster_of(self)

    def __deepcopy__(self, _memo: dict[int, Any]) -> BoundAlias:
        return self

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


def is_generic(instance: Model, model: type[Model] | None) -> bool:
    """Whether an object leads to a model by a generic relation, whose querysets Django binds."""
    return any(field.one_to_many and field.related_model is model for field in instance._meta.private_fields)
