"""``manage.py runserver``, with replicas that follow."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.management.commands.runserver import (
    Command as RunserverCommand,
)

from sqlite_replication.configured import replicating


class Command(RunserverCommand):
    """Starts the simulator in the process that serves, which is one even under the reloader."""

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Serve, and replicate meanwhile."""
        with replicating():
            super().inner_run(*args, **options)
