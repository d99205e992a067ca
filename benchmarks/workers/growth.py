"""One process of a site with many replicas or clusters: what its decisions, memory and monitor cost.

Prints JSON when it has timed its decisions, and then lets its monitor run, and nothing else, until its input
ends.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.workers.scenes import set_up

TURNS = 9


def main(loops: int) -> dict[str, float]:
    """Return nanoseconds of decisions, and the process's memory before and after in megabytes."""
    set_up()
    from django.db import router

    from benchmarks.website.models import Item
    from django_rwrouter import current_token, routing_scope

    bare = _resident()
    with routing_scope():
        Item.objects.filter(pk=1).update(text=str(time.time()))
        token = current_token()
    found = {}
    with routing_scope(safe=True, token=token):
        for _ in range(3):
            Item.objects.filter(pk=1).first()  # Opens what there is to open, and asks what has to be asked.
        found["again_ns"] = _time(lambda: router.db_for_read(Item), loops * 10)

    def first_of_a_request() -> None:
        with routing_scope(safe=True, token=token):
            router.db_for_read(Item)

    found["first_ns"] = _time(first_of_a_request, loops)
    return found | {"bare_mb": bare, "memory_mb": _resident()}


def _time(ask: Callable[[], object], loops: int) -> float:
    best = float("inf")
    for _turn in range(TURNS):
        started = time.perf_counter()
        for _ in range(loops):
            ask()
        best = min(best, time.perf_counter() - started)
    return best / loops * 1e9


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1024**2


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))), flush=True)
    sys.stdin.read()
