"""The chapters of a walk, one after another, and the shortest way to what went wrong."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proofs.walk.clock import Clock
from proofs.walk.programs import Configuration, Event, Visit, Writer, configuration, smaller
from proofs.walk.world import World, prepare

HAPPENINGS = 150
"""Of a chapter: requests, and what is between them."""
SHORTENING_SECONDS = 60
Happenings = Sequence[Visit | Event]


@dataclass(frozen=True)
class Failure:
    """What went wrong in a chapter."""

    chapter: int
    chosen: Configuration
    error: BaseException
    way: Happenings
    """What leads there."""

    def text(self, seed: int) -> str:
        """Return it for people."""
        lines = [
            f"{type(self.error).__name__}: {self.error}",
            f"again: python -m proofs walk --seed {seed} --chapter {self.chapter}",
            f"settings: {self.chosen}",
            *(f"  {happening}" for happening in self.way),
        ]
        return "\n".join(lines)


def walk(
    numbers: Iterable[int], requests: int, seed: int, level: str | None, clock: Clock
) -> tuple[dict[str, Counter[str]], list[str]]:
    """Play chapters until there were enough requests. Returns counts, by level, and the failures."""
    prepare()
    totals: dict[str, Counter[str]] = {}
    failures: list[str] = []
    for number in numbers:
        draw = random.Random(f"{seed}:{number}")
        chosen = configuration(draw, level)
        writer = Writer(draw, chosen)
        happenings = [writer.next() for _happening in range(HAPPENINGS)]
        world, failed = played(number, chosen, happenings, clock)
        totals.setdefault(chosen.level, Counter()).update(world.counts, chapters=1)
        if failed is not None:
            failures.append(shortened(failed, clock).text(seed))
            print(failures[-1], end="\n\n", flush=True)
        if sum(total["requests"] for total in totals.values()) >= requests:
            break
    return totals, failures


def played(
    number: int, chosen: Configuration, happenings: Happenings, clock: Clock
) -> tuple[World, Failure | None]:
    """Play a chapter; it goes the same way each time."""
    random.seed(number)
    world = World(chosen, clock)
    failed = world.play(happenings)
    if failed is None:
        return world, None
    at, error = failed
    return world, Failure(number, chosen, error, happenings[: at + 1])


def shortened(failure: Failure, clock: Clock) -> Failure:
    """Leave out whatever the failure does not need."""
    until = time.perf_counter() + SHORTENING_SECONDS

    def still_fails(way: Happenings) -> Failure | None:
        if time.perf_counter() > until or not way:
            return None
        _world, again = played(failure.chapter, failure.chosen, way, clock)
        return again if again is not None and type(again.error) is type(failure.error) else None

    best = failure
    for size in (64, 32, 16, 8, 4, 2, 1, 1):
        at = 0
        while at < len(best.way):
            shorter = still_fails([*best.way[:at], *best.way[at + size :]])
            if shorter is None:
                at += size
            else:
                best = shorter
    at = 0
    while at < len(best.way):
        for less in smaller(best.way[at]):
            shorter = still_fails([*best.way[:at], less, *best.way[at + 1 :]])
            if shorter is not None:
                best = shorter
                break
        else:
            at += 1
    return best
