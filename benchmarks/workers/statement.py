"""Times a primary-key SELECT with and without this package, by turns in one process; prints JSON.

``cursor``: the hook alone, on a cursor of a replica. ``orm``: the same through the ORM, so the router's
decision and the hook, against the replica named in the code.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from benchmarks.workers.scenes import set_up


def main(turns: int, statements: int) -> dict[str, list[tuple[float, float]]]:
    """Return, for each kind, the microseconds of a statement without and with, turn by turn."""
    set_up()
    from django.db import connections, router

    from benchmarks.website.models import Item
    from django_rwrouter import routing_scope

    found: dict[str, list[tuple[float, float]]] = {}
    with routing_scope(safe=True):
        alias = router.db_for_read(Item)
        connection = connections[alias]
        table, key = Item._meta.db_table, Item._meta.pk.column
        sql = f"SELECT version, text FROM {table} WHERE {key} = %s"  # noqa: S608

        def by_cursor() -> None:
            with connection.cursor() as cursor:
                cursor.execute(sql, [1])
                cursor.fetchone()

        kinds: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "cursor": (by_cursor, by_cursor),
            "orm": (lambda: Item.objects.using(alias).get(pk=1), lambda: Item.objects.get(pk=1)),
        }
        wrappers = list(connection.execute_wrappers)
        for kind, (plain, ours) in kinds.items():
            found[kind] = []
            for turn in range(turns):
                times = {}
                for with_us in (False, True) if turn % 2 else (True, False):
                    connection.execute_wrappers[:] = wrappers if with_us else []
                    times[with_us] = _time(ours if with_us else plain, statements)
                found[kind].append((times[False], times[True]))
    return found


def _time(ask: Callable[[], object], statements: int) -> float:
    started = time.perf_counter()
    for _ in range(statements):
        ask()
    return (time.perf_counter() - started) / statements * 1e6


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
