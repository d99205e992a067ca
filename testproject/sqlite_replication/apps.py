"""The app: SQLite's positions, and management commands."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db import connections
from django.db.models.signals import post_migrate

from sqlite_replication import positions


class SQLiteReplicationConfig(AppConfig):
    """No models; where SQLite's replicas are simulated, the router is taught their positions."""

    name = "sqlite_replication"
    verbose_name = "SQLite replication simulator"

    def ready(self) -> None:
        """Register the positions, and have tables counted that a migration creates."""
        if settings.SQLITE_REPLICATION is not None:
            positions.register()
            # Sent once for each app with models, after all tables are there: for one of them is enough.
            post_migrate.connect(_count_new_tables, sender=apps.get_app_config("django_rwrouter"))


def _count_new_tables(*, using: str, **_kwargs: Any) -> None:
    if using != settings.RWROUTER["PRIMARY"]:
        return
    connection = connections[using]
    connection.ensure_connection()
    positions.install(connection.connection)
