"""``manage.py replicate_sqlite``: keep the SQLite replicas fresh, beside a server of your choice."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sqlite_replication.configured import configured_simulator
from sqlite_replication.simulator import AlreadyReplicatingError


class Command(BaseCommand):
    """Runs the simulator until it is interrupted."""

    help = "Copies the primary's SQLite file to its replicas, with a lag, until interrupted."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run in the foreground."""
        simulator = configured_simulator()
        if simulator is None:
            raise CommandError("DATABASE_URL is set: its databases have to replicate by themselves.")
        try:
            simulator.start()
        except AlreadyReplicatingError as error:
            raise CommandError(str(error)) from error
        interrupted = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: interrupted.set())
        self.stdout.write(f"Replicating {simulator.primary} with a lag of {simulator.lag:g} s.")
        try:
            interrupted.wait()
        finally:
            simulator.stop()
