"""The app configuration: registers checks, hooks and receivers."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.signals import connection_created
from django.db.models.signals import pre_migrate
from django.utils.translation import gettext_lazy as _

from django_rwrouter import monitor, stats
from django_rwrouter.execution import hook, new_connections
from django_rwrouter.router import refuse_migrating
from django_rwrouter.scope.context import current_state
from django_rwrouter.servers import wrapper_installation


class ReadWriteConfig(AppConfig):
    """Configuration of ``django_rwrouter``."""

    name = "django_rwrouter"
    verbose_name = _("Read/write routing")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks and the hooks; asks no database."""
        from django_rwrouter import checks  # noqa: F401  (they need the app registry)
        from django_rwrouter.operations import overrides, status

        wrapper_installation.register(hook.observe)
        monitor.also_ask(
            monitor.ProbeQuestion(
                name="overrides",
                database=overrides.database,
                ask=overrides.load,
                take_in=overrides.take_in,
            )
        )
        stats.describe_servers_with(status.own_states)

        connection_created.connect(new_connections.prepare, dispatch_uid="django_rwrouter")
        pre_migrate.connect(refuse_migrating, dispatch_uid="django_rwrouter")
        user_logged_out.connect(_look_at_token, dispatch_uid="django_rwrouter")
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:  # Opened by an app that is ready earlier.
                try:
                    new_connections.prepare(connection=connection)
                except ImproperlyConfigured:
                    return  # The system checks report it.


def _look_at_token(**_kwargs: object) -> None:
    """Look at the client's token while it is still there: logging out empties the session next."""
    current_state().known_token()
