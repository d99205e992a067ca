"""The chapters of a walk, one after another, and the shortest way to what went wrong."""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import django

from proofs.walk.clock import Clock
from proofs.walk.programs import Configuration, Event, Visit, Writer, configuration, smaller
from proofs.walk.world import World, prepare

HAPPENINGS = 150
"""Of a chapter: requests, and what is between them."""
SHORTENING_SECONDS = 60
HEADINGS = (
    "level",
    "chapters",
    "requests",
    "writes",
    "reads",
    "answered by a replica",
    "older than the primary",
    "missed",
)
WHAT_WAS_DONE = """\
Random requests of a few clients to a small site in one process, with two clusters of SQLite's files whose
replicas are copied now and then, by a clock that is put forward by hand. Each chapter has settings of its
own: the level, the stores, the engine of the sessions, the monitor, transactions around views. A read shows
what is older than the primary where that is allowed: somebody else has written, or a block says that any
replica will do. It has missed something where the promise forbids it. A chapter fails also if a replica was
written to, or if a request has left anything behind: a scope, a block, an open transaction, a slot on the
primary, a session that is read-only or is not."""
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


def walk(options: argparse.Namespace, command: str, clock: Clock) -> bool:
    """Play chapters until there were enough requests. Returns whether all went as promised."""
    began = time.perf_counter()
    prepare()
    totals: dict[str, Counter[str]] = {}
    failures: list[Failure] = []
    requests = 0
    for number in chapter_numbers(options.chapter):
        draw = random.Random(f"{options.seed}:{number}")
        chosen = configuration(draw, options.level)
        writer = Writer(draw, chosen)
        happenings = [writer.next() for _happening in range(HAPPENINGS)]
        world, failed = played(number, chosen, happenings, clock)
        requests += world.counts["requests"]
        total = totals.setdefault(chosen.level, Counter())
        total.update(world.counts, chapters=1)
        if failed is not None:
            failures.append(shortened(failed, clock))
            print(failures[-1].text(options.seed), end="\n\n", flush=True)
        if requests >= options.requests or options.chapter is not None:
            break
    report = written(totals, failures, options, command, time.perf_counter() - began)
    if options.output is None:
        print(report)
    else:
        options.output.write_text(report, encoding="utf-8")
    return not failures and all(total["missed"] for level, total in totals.items() if level == "eventual")


def chapter_numbers(only: int | None) -> Iterator[int]:
    """Yield the numbers of the chapters to play."""
    number = 1 if only is None else only
    while True:
        yield number
        number += 1


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


def written(
    totals: dict[str, Counter[str]],
    failures: Sequence[Failure],
    options: argparse.Namespace,
    command: str,
    seconds: float,
) -> str:
    """Return the report."""
    counted = ("chapters", "requests", "writes", "reads", "on replicas", "older", "missed")
    rows = [[level, *(f"{total[name]:,}" for name in counted)] for level, total in sorted(totals.items())]
    whole = sum(totals.values(), Counter())
    rows.append(["all", *(f"{whole[name]:,}" for name in counted)])
    table = [HEADINGS, ["---"] * len(HEADINGS), *rows]
    made = (
        f"Made by `{command}` on {datetime.now(timezone.utc):%Y-%m-%d}, in {seconds / 60:.0f} minutes, with"
        f" Python {platform.python_version()} and Django {django.get_version()}."
    )
    lines = [
        "# Whatever a request does: the walk",
        "",
        made,
        "",
        WHAT_WAS_DONE,
        "",
        *("| " + " | ".join(cells) + " |" for cells in table),
        "",
        f"Failures: {len(failures)}.",
        "",
        *(f"```text\n{failure.text(options.seed)}\n```\n" for failure in failures),
    ]
    return "\n".join(lines)
