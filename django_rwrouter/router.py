"""The database router: hands each question to where it is decided."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from django_rwrouter import process
from django_rwrouter.conf import require_app
from django_rwrouter.conf.clusters import get_topology, is_historical, label_of
from django_rwrouter.routing.decide import decide_read, decide_write
from django_rwrouter.routing.decision_cache import recall, recall_write

if TYPE_CHECKING:
    from django.db.models import Model

require_app()

_WRITING_COMMANDS: Final = {
    f"django.core.management.commands.{command}": command for command in ("loaddata", "flush")
}
"""By module, the commands that ask for the models of the project in order to write."""


def refuse_migrating(using: str, **_kwargs: object) -> None:
    """Refuse ``migrate`` on a replica, before it does anything (a receiver of ``pre_migrate``)."""
    if not _has_tables_of_its_own(using):
        _refuse("migrate", using)


def _has_tables_of_its_own(alias: str) -> bool:
    """Whether a replica is a test database that nothing is replicated to: Django makes its tables."""
    return process.in_test_environment() and not connections.settings[alias]["TEST"]["MIRROR"]


def _refuse_writing_command(alias: str) -> None:
    """Refuse the command that asks, if it writes. No router is told who asks, but the stack shows it."""
    frame = inspect.currentframe()
    while frame is not None:
        command = _WRITING_COMMANDS.get(frame.f_globals.get("__name__", ""))
        if command is not None:
            _refuse(command, alias)
        frame = frame.f_back


def _refuse(command: str, alias: str) -> None:
    cluster = get_topology().by_alias.get(alias)
    if cluster is not None and alias != cluster.primary:
        raise CommandError(
            f"{alias!r} is a replica, to which `{command}` must not write."
            f" Use --database={cluster.primary}, and it is replicated."
        )


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
        """Keep migrations off the replicas, and each model on its own cluster's primary.

        Who asks for the models that the project has now wants their rows: ``dumpdata`` reads them from a
        replica, too; those that would write them there are refused.
        """
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
            if model is None or is_historical(model) or _has_tables_of_its_own(db):
                return False
            _refuse_writing_command(db)
        if model is not None:
            app_label, model_name = label_of(model)
        owners = topology.owners(app_label, model_name)
        return None if not owners or cluster in owners else False
