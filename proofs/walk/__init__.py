"""The proof that no client misses its own write, whatever its requests do: a random walk in one process.

    python -m proofs walk --requests 100000 --output proofs/reports/walk.md
    python -m proofs walk --requests 2000 --level eventual
    python -m proofs walk --seed 7 --chapter 31

A small site with two clusters, each a primary and two replicas that are files, answers random requests of a
few clients: sync and async views under WSGI and ASGI, every store, several session engines, answers that are
500s or redirects, bodies that nobody reads to their end, blocks, scopes, transactions, threads, sessions that
are flushed or cycled, requests of the same client in the middle of each other. Replicas are copied when
chance says so, and time is put forward by hand. What each read must show is said by a model of the promises
(``proofs/walk/oracle.py``), which knows nothing of tokens and positions. After each request, no replica may
have been written to, and nothing may be left of the request.

The walk goes in chapters, each with settings of its own. One that fails is played again with fewer and fewer
requests, and the shortest way to the failure is printed. At the level ``eventual`` reads that miss the
client's own write must be found. Exits with 0 if all that was so.
"""

from __future__ import annotations

import argparse
import os

LEVELS = ("eventual", "window", "causal", "strong")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="at least so many")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="another one is another walk")
    parser.add_argument("--chapter", type=int, metavar="N", help="of the walk, this chapter alone")
    parser.add_argument("--level", choices=LEVELS, help="of all chapters; else window, causal and strong")


def prove(options: argparse.Namespace, command: str) -> bool:
    """Go for the walk. Returns whether all of it went as promised."""
    # Before anything of Django's or the package's is imported, as they keep the functions of `time`.
    from proofs.walk.clock import Clock

    clock = Clock()
    clock.install()
    os.environ["DJANGO_SETTINGS_MODULE"] = "proofs.walk.settings"
    import django

    django.setup()
    from proofs.walk.chapters import walk

    return walk(options, command, clock)
