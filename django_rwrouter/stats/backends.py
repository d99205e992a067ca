"""The backends that ``STATS["BACKEND"]`` names: where statistics are written."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol

from django.db import connections

from django_rwrouter.conf import get_settings
from django_rwrouter.databases import get_product, private_connections
from django_rwrouter.databases.base import Busy
from django_rwrouter.stats.counters import Row

if TYPE_CHECKING:
    from django_rwrouter.stats.table import RoutingStatisticsQuerySet

logger: Final = logging.getLogger("django_rwrouter")

ROLL_UP_SECONDS: Final = 60.0
"""Seconds between two looks of one process whether rows are to be merged."""
WRITE_SECONDS: Final = 10.0
"""Seconds that a statement of a flush may take, where the driver can bound that."""
TIMES_IN_VAIN: Final = 3
"""How often in a row that may fail, as when two processes meet, before somebody is told."""


class StatisticsBackend(Protocol):
    """Where statistics are written: what ``STATS["BACKEND"]`` names by its dotted path.

    It is called without arguments, once for each process. Several processes write at the same time.
    """

    def write(self, process: str, rows: Sequence[Row]) -> None:
        """Store the rows of one process, each over the earlier row of the same resolution and start.

        The values are absolute: rows may come again, unchanged or grown, and a row may come back empty. When
        a row cannot change any more it comes once more with ``final`` set, after it was stored; rows that
        are final come apart from others.
        Any exception means that the rows are kept and offered again.
        """


class DatabaseBackend:
    """Writes to this package's table, on a primary, and now and then merges what is there."""

    def __init__(self) -> None:
        # At a random time within the first period: processes that start together take turns, and those
        # that never live long take theirs all the same.
        self._roll_up_at = time.monotonic() + random.uniform(0, ROLL_UP_SECONDS)
        self._in_vain = 0

    def write(self, process: str, rows: Sequence[Row]) -> None:
        """Write the rows with one statement, where the database has an upsert.

        Raises ``ImproperlyConfigured`` before ``manage.py migrate``, and
        :class:`~django_rwrouter.databases.base.Busy` where it would be in the site's way.
        """
        # Here, because this module is imported before the app registry is ready.
        from django_rwrouter.stats.table import RoutingStatistics

        table = RoutingStatistics.objects.on_primary()
        with temporary_connection(table.db) as is_own:
            with _writing(table) if is_own else nullcontext(), table.unseen():
                if rows[0].final:
                    table.finish(rows)
                else:
                    table.put(rows)
            # Never in a transaction of somebody else's: its locks would be held until that ends.
            if is_own and time.monotonic() >= self._roll_up_at:
                self._roll_up_at = time.monotonic() + ROLL_UP_SECONDS * random.uniform(0.9, 1.1)
                self._roll_up(table)

    def _roll_up(self, table: RoutingStatisticsQuerySet) -> None:
        from django_rwrouter.stats.rollup import roll_up

        try:
            with _writing(table):
                roll_up(table, retention=get_settings().stats.retention_days * 86_400)
        except Busy:
            self._roll_up_at = time.monotonic()
        except Exception as error:
            # Two that meet may get a deadlock, a serialization failure or a locked file: next time, then.
            self._in_vain += 1
            logger.log(
                logging.WARNING if self._in_vain == TIMES_IN_VAIN else logging.DEBUG,
                "The read/write routing statistics could not be merged: %r. They are kept as they are.",
                error,
                exc_info=self._in_vain != TIMES_IN_VAIN,
            )
        else:
            self._in_vain = 0


def _writing(table: RoutingStatisticsQuerySet) -> AbstractContextManager[None]:
    """Write where the site's own writes do not suffer, or raise ``Busy``."""
    connection = connections[table.db]
    return get_product(connection).writing(connection)


class NoBackend:
    """Keeps nothing."""

    def write(self, process: str, rows: Sequence[Row]) -> None:
        """Let the rows go."""


BACKENDS: Final = {"database": f"{__name__}.DatabaseBackend", "off": f"{__name__}.NoBackend"}
"""By the name in ``STATS["BACKEND"]``; any other name is a dotted path."""


@contextmanager
def temporary_connection(alias: str) -> Iterator[bool]:
    """Give this thread a fresh connection to ``alias``, then the previous one again; yield whether it did.

    So a flush neither joins nor ends what the thread has under way there (such as a transaction of a script
    that runs without autocommit), and holds no idle connection afterwards. Only inside ``atomic()`` is the
    connection shared: that is a test, whose database may not even be visible to another connection.
    """
    present = connections[alias]
    if present.in_atomic_block:
        yield False
        return
    own = private_connections.own_connection(alias, WRITE_SECONDS)
    connections[alias] = own
    try:
        yield True
    finally:
        connections[alias] = present
        own.close()
