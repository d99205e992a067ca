"""The simulator that the settings describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from sqlite_replication.simulator import AlreadyReplicatingError, SQLiteReplicationSimulator


def configured_simulator() -> SQLiteReplicationSimulator | None:
    """Return the simulator of ``SQLITE_REPLICATION``, or ``None`` where there is nothing to copy."""
    if settings.SQLITE_REPLICATION is None:
        return None
    return SQLiteReplicationSimulator(**settings.SQLITE_REPLICATION)


@contextmanager
def replicating() -> Iterator[bool]:
    """Replicate inside the block, unless somebody does so already.

    Yields whether it is this block that replicates.
    """
    simulator = configured_simulator()
    if simulator is None:
        yield False
        return
    try:
        simulator.start()
    except AlreadyReplicatingError:
        yield False
        return
    try:
        yield True
    finally:
        simulator.stop()
