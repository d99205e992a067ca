"""The database router: passes Django's questions to the routing rules."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from django_rwrouter import process
from django_rwrouter.conf import require_app
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.model_labels import is_historical, label_of
from django_rwrouter.routing.decision_cache import route_read, route_write

if TYPE_CHECKING:
    from django.db.models import Model

require_app()

_WRITING_COMMANDS: Final = {
    f"django.core.management.commands.{command}": command for command in ("loaddata", "flush")
}
"""By module, the commands that ask for the project's current models in order to write."""


def refuse_migrating(using: str, **_kwargs: object) -> None:
    """Refuse ``migrate`` on a replica, before it does anything (a receiver of ``pre_migrate``)."""
    if not _has_tables_of_its_own(using):
        _refuse("migrate", using)


def _has_tables_of_its_own(alias: str) -> bool:
    """Whether a replica is a test database without replication, whose tables Django creates."""
    return process.in_test_environment() and not connections.settings[alias]["TEST"]["MIRROR"]


def _refuse_writing_command(alias: str) -> None:
    """Refuse the running command if it writes. Django does not tell a router who asks; the stack shows it."""
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
    """Routes writes to the primary, and reads as the rules decide.

    One stateless instance serves the whole process. Every method returns ``None`` for models and databases
    outside the setting, so that other routers and Django's default apply.
    """

    # Asked for each query: nothing stands between Django and the answer.
    db_for_read = staticmethod(route_read)
    db_for_write = staticmethod(route_write)

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

        Commands that ask with the project's current models work on rows: ``dumpdata`` may read them from a
        replica, while those that would write there are refused.
        """
        try:
            topology = get_topology()
        except ImproperlyConfigured:
            # Django's checks of the models ask, too: an error here would hide this package's check of the
            # setting. Migrations ask with historical models, or with none, and do get the error.
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
