"""The proof that no client misses its own write, whatever its requests do: a random walk in one process.

    python -m proofs walk --requests 100000 --output proofs/reports/walk.md
    python -m proofs walk --requests 2000 --level eventual
    python -m proofs walk --seed 7 --chapter 31

A small site with two clusters, each a primary and two replicas that are files, answers random requests of a
few clients: sync and async views under WSGI and ASGI, every store, several session engines, answers that
are 500s or redirects, bodies that nobody reads to their end, blocks, scopes, transactions, threads,
sessions that are flushed or cycled, requests of the same client in the middle of each other. Replicas are
copied when chance says so, primaries answer none of the package's questions for a while, or take no new
connections, and time is put forward by hand. What each read must show is said by a model of the promises
(``proofs/walk/oracle.py``), which knows nothing of tokens and positions. After each request, no replica may
have been written to, and nothing may be left of the request.

The walk goes in chapters, each with settings of its own. One that fails is played again with fewer and fewer
requests, and the shortest way to the failure is printed. At the level ``eventual`` reads that miss the
client's own write must be found. Exits with 0 if all that was so.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import platform
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import partial

import django

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
own: the level, the stores, the engine of the sessions, the monitor, transactions around views,
MONOTONIC_READS, SYNC_REPLICAS, and whether primaries do not say for a while where they stand, or take no
new connections either. A read shows what is older than the primary where that is allowed: somebody else
has written, or a block says that any replica will do. It has missed something where the promise forbids
it: what the client wrote or, with MONOTONIC_READS, has seen. A chapter fails also if a response left
before SYNC_REPLICAS had its writes, and before SYNC_TIMEOUT; if a replica was written to; or if a
request has left anything behind: a scope, a block, an open transaction, a slot on the primary, a session
that is read-only or is not."""
LEVELS = ("eventual", "window", "causal", "strong")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="at least so many")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another one is another walk")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the chapters")
    parser.add_argument("--chapter", type=int, metavar="N", help="of the walk, this chapter alone")
    parser.add_argument("--level", choices=LEVELS, help="of all chapters; else window, causal and strong")


def prove(options: argparse.Namespace, command: str) -> bool:
    """Go for the walk. Returns whether all of it went as promised."""
    began = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(partial(play_part, options), range(options.jobs)))
    totals: dict[str, Counter[str]] = {}
    for part, _failures in parts:
        for level, total in part.items():
            totals.setdefault(level, Counter()).update(total)
    failures = [failure for _totals, part in parts for failure in part]
    report = written(totals, failures, command, time.perf_counter() - began)
    if options.output is None:
        print(report)
    else:
        options.output.write_text(report, encoding="utf-8")
    return not failures and all(total["missed"] for level, total in totals.items() if level == "eventual")


def play_part(options: argparse.Namespace, job: int) -> tuple[dict[str, Counter[str]], list[str]]:
    """Play every so many-th chapter. Returns what was counted, by level, and the failures."""
    # Before anything of Django's or the package's is imported, as they keep the functions of `time`.
    from proofs.walk.clock import Clock

    clock = Clock()
    clock.install()
    os.environ["DJANGO_SETTINGS_MODULE"] = "proofs.walk.settings"
    django.setup()
    from proofs.walk.chapters import walk

    numbers = itertools.count(job + 1, options.jobs) if options.chapter is None else [options.chapter]
    return walk(numbers, math.ceil(options.requests / options.jobs), options.seed, options.level, clock)


def written(totals: dict[str, Counter[str]], failures: list[str], command: str, seconds: float) -> str:
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
        *(f"```text\n{failure}\n```\n" for failure in failures),
    ]
    return "\n".join(lines)
