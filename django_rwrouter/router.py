"""The database router: hands each question to where it is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from django_rwrouter.conf.clusters import get_topology, is_historical, label_of
from django_rwrouter.routing.decide import decide_read, decide_write
from django_rwrouter.routing.decision_cache import recall, recall_write

if TYPE_CHECKING:
    from django.db.models import Model


class ReadWriteRouter:
    """Sends writes to the primary and reads where the rules say.

    It holds no state: one instance serves the whole process, and what is called for each query is static, as
    Django calls a plain function in less time than a method. Every method returns ``None`` for what is not
    ours, so that other routers and Django's own rule apply.
    """

    @staticmethod
    def db_for_read(model: type[Model] | Model, **hints: Any) -> str | None:
        """Return the alias to read the model from."""
        if not isinstance(model, type):  # Some packages ask with an object in place of its class.
            model = type(model)
        if not hints and (alias := recall(model)) is not None:
            return alias
        route = get_topology().route(model)
        decision = None if route is None else decide_read(route, hints.get("instance"))
        return None if decision is None else decision.alias

    @staticmethod
    def db_for_write(
        model: type[Model] | Model, instance: Model | None = None, **_hints: object
    ) -> str | None:
        """Return the alias to write the model to."""
        if not isinstance(model, type):
            model = type(model)
        if (alias := recall_write(model, instance)) is not None:
            return alias
        route = get_topology().route(model)
        decision = None if route is None else decide_write(route, instance)
        return None if decision is None else decision.alias

    def allow_relation(self, obj1: Model, obj2: Model, **_hints: object) -> bool | None:
        """Allow relations between objects that were loaded from databases of one cluster."""
        topology = get_topology()
        first = topology.home(obj1)
        return True if first is not None and first is topology.home(obj2) else None

    def allow_migrate(
        self,
        db: str,
        app_label: str,
        model_name: str | None = None,
        model: type[Model] | None = None,
        **_hints: object,
    ) -> bool | None:
        """Keep migrations off the replicas, and each model on its own cluster's primary."""
        try:
            topology = get_topology()
        except ImproperlyConfigured:
            # Django's checks of the models ask, too: an error here would hide what ours have to say about the
            # setting. Migrations ask with historical models, or with none, and get the error.
            if model is None or is_historical(model):
                raise
            return False
        cluster = topology.by_alias.get(db)
        if cluster is None:
            return None
        if db != cluster.primary:
            return False
        if model is not None:
            app_label, model_name = label_of(model)
        owners = topology.owners(app_label, model_name)
        return None if not owners or cluster in owners else False
