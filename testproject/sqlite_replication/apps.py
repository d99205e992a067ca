"""The app, for the sake of its management commands."""

from django.apps import AppConfig


class SQLiteReplicationConfig(AppConfig):
    """Nothing but commands: no models, nothing at start-up."""

    name = "sqlite_replication"
    verbose_name = "SQLite replication simulator"
