"""Times one contestant's decisions in one situation, by pyperf: ``BENCH_SCENE`` names it."""

from __future__ import annotations

import os
import time

import pyperf

from benchmarks.workers.scenes import scene, set_up

INNER = 10


def time_decisions(loops: int) -> float:
    """Return the seconds that ``loops`` times ten decisions took."""
    set_up()
    with scene(os.environ["BENCH_SCENE"]) as ask:
        numbers = range(loops)
        started = time.perf_counter()
        for _ in numbers:
            ask()
            ask()
            ask()
            ask()
            ask()
            ask()
            ask()
            ask()
            ask()
            ask()
        return time.perf_counter() - started


if __name__ == "__main__":
    pyperf.Runner().bench_time_func(os.environ["BENCH_NAME"], time_decisions, inner_loops=INNER)
