"""The proof that no read is stale, whichever question of the package's fails, hangs or is answered late.

    python -m proofs questions --seconds 1200 --output proofs/reports/questions.md
    python -m proofs questions --db postgresql --seconds 60 --without-margin

For each database: a primary with two replicas that are paused and let go at random, and clients in threads
of one process that write and read at ``causal`` and ``strong``. All the time, one of the questions that the
package asks servers (where the primary stands after a write, or for a read; where a replica is; whether it
has caught up; the monitor's) fails, hangs, or is answered late. Which and how changes every second or so. The
clocks of the hosts that write differ from that of the host that reads, by less than is allowed for.

``--without-margin`` allows for no difference of the clocks: stale reads must be found then. So that this does
not depend on chance, the clocks of those that write are then behind all the time, and they are not told where
the primary stands. Exits with 0 if all was so.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import platform
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import django
import environ
from django.conf import settings
from django.db import OperationalError, connections, transaction

from proofs.background import in_background
from proofs.board import CLUSTERS, new_cluster
from proofs.faults import Intensity, disturbed

ALIASES = ("default", "replica1", "replica2")
QUESTIONS = (
    "position of a write",
    "position for a read",
    "position of a replica",
    "wait for a replica",
    "probe of the primary",
    "probe of a replica",
)
WAYS = ("fails", "hangs", "late")
PIN_SECONDS = 1.0
SETTINGS = {
    "REPLICAS": list(ALIASES[1:]),
    "CONSISTENCY": "causal",
    "PIN_SECONDS": PIN_SECONDS,
    "WAIT_TIMEOUT": 0.02,
    "MONITOR": {"MODE": "thread", "INTERVAL": 0.3, "TIMEOUT": 1.0, "SHARE": "none"},
    "STATS": {"BACKEND": "off"},
}
SKEW_SECONDS = 1.8
"""By how much clocks differ at most; the package allows for 2 seconds."""
CLIENTS = 6
"""Of each thread."""
THREADS = 3
PAUSES = Intensity((2, 5, 0), 5.0)
TABLE = "rwrouter_questions"

HEADINGS = [
    "database",
    "seconds",
    "writes",
    "reads at `causal`",
    "at `strong`",
    "by a replica",
    "stale",
    "pauses",
    "",
]
Around = Callable[[str, str], AbstractContextManager[None]]


@contextmanager
def every_question(around: Around) -> Iterator[None]:
    """Let each question that is asked inside run in ``around(alias, asker)``.

    The asker is ``"ask"``, ``"wait"`` or ``"probe"``. What raises before the question is asked stands in for
    a server that does not answer; what waits after it, for one whose answer takes its time.
    """
    from django_rwrouter.monitor import probes
    from django_rwrouter.servers import asking, waiting

    def surrounded(asker: str, original: Any) -> Any:
        def asked(connection: Any, what: Any) -> Any:
            with around(connection.alias, asker):
                return original(connection, what)

        return asked

    with ExitStack() as stack:
        for module, asker in ((asking, "ask"), (waiting, "wait")):
            stack.enter_context(patch.object(module, "ask", surrounded(asker, asking.ask)))
        for name in ("_describe", "_read"):
            stack.enter_context(patch.object(probes, name, surrounded("probe", getattr(probes, name))))
        yield


@dataclass
class Outcome:
    """What came of a run."""

    database: str
    seconds: float = 0.0
    reads: Counter[str] = field(default_factory=Counter)
    """By level."""
    on_replicas: int = 0
    writes: int = 0
    stale: int = 0
    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By question and way."""
    pauses: int = 0
    errors: list[str] = field(default_factory=list)
    first_stale: str = ""


class Injector:
    """Lets one question after another go wrong."""

    def __init__(self, outcome: Outcome, draw: random.Random, *, margin: bool = True) -> None:
        self._outcome = outcome
        self._draw = draw
        self._margin = margin
        self.ended = threading.Event()
        self.thread = threading.local()
        self._wrong = ("", "")

    def change(self) -> None:
        """Let each question go wrong in each way, in a random order, again and again."""
        if not self._margin:
            self._wrong = QUESTIONS[0], WAYS[0]
            return
        wrong = list(itertools.product(QUESTIONS, WAYS))
        while True:
            self._draw.shuffle(wrong)
            for self._wrong in wrong:
                if self.ended.wait(self._draw.uniform(0.2, 2.0)):
                    return

    def draw_skew(self) -> float:
        """Return by how many seconds the clock of a host that writes is ahead."""
        return self._draw.uniform(-SKEW_SECONDS, SKEW_SECONDS if self._margin else -0.9 * SKEW_SECONDS)

    @contextmanager
    def around(self, alias: str, asker: str) -> Iterator[None]:
        """Stand around one question."""
        question, (wrong, way) = self._question(alias, asker), self._wrong
        if question != wrong or self._draw.random() < 0.2:
            yield
            return
        self._outcome.injected[question, way] += 1
        seconds = self._draw.uniform(0.05, 1.2)
        if way == "late":
            yield
            time.sleep(seconds)
            return
        if way == "hangs":
            time.sleep(seconds)
        raise OperationalError(2013, f"made up: the question {way}")

    def _question(self, alias: str, asker: str) -> str:
        is_primary = alias == ALIASES[0]
        if asker == "probe":
            return "probe of the primary" if is_primary else "probe of a replica"
        if asker == "wait":
            return "wait for a replica"
        if not is_primary:
            return "position of a replica"
        return "position of a write" if getattr(self.thread, "writes", False) else "position for a read"


class Clients:
    """A thread's clients, each with a row, a token, and the version that it wrote last."""

    def __init__(self, number: int, injector: Injector, outcome: Outcome, rows: dict[int, int]) -> None:
        self._draw = random.Random(f"{number}:{time.time()}")
        self._injector = injector
        self._outcome = outcome
        self._rows = rows
        """What is committed of every row, whoever wrote it."""
        self._own = [number * CLIENTS + client for client in range(CLIENTS)]
        self._tokens = dict.fromkeys(self._own, "")
        self._needs = dict.fromkeys(self._own, 0)

    def run(self) -> None:
        """Write and read until the end."""
        try:
            while not self._injector.ended.is_set():
                (self._write if self._draw.random() < 0.12 else self._read)()
                time.sleep(self._draw.uniform(0, 0.02))
        except Exception as error:  # noqa: BLE001  (whatever the package raises is an error of its own)
            self._outcome.errors.append(repr(error))
        finally:
            connections.close_all()

    def _write(self) -> None:
        from django_rwrouter import current_token, routing_scope

        row = self._draw.choice(self._own)
        version = self._rows[row] + 1
        self._injector.thread.writes = True
        self._injector.thread.skew = self._injector.draw_skew()
        in_transaction = self._draw.random() < 0.2
        began = time.monotonic()
        token = ""
        try:
            with routing_scope(token=self._tokens[row]):
                if in_transaction:
                    with transaction.atomic():
                        self._update(row, version)
                        token = current_token()
                else:
                    self._update(row, version)
                self._rows[row] = version
                if not in_transaction:
                    token = current_token()
        finally:
            self._injector.thread.writes = False
            self._injector.thread.skew = 0.0
        self._outcome.writes += 1
        self._tokens[row] = token
        # A token that was made before the commit expects that within PIN_SECONDS.
        if not in_transaction or time.monotonic() - began < PIN_SECONDS * 0.9:
            self._needs[row] = version

    @staticmethod
    def _update(row: int, version: int) -> None:
        with connections[ALIASES[0]].cursor() as cursor:
            cursor.execute(f"UPDATE {TABLE} SET version = %s WHERE id = %s", [version, row])  # noqa: S608

    def _read(self) -> None:
        from django_rwrouter import consistency, read_connection, routing_scope

        level = self._draw.choice(["causal", "causal", "strong"])
        row = self._draw.choice(self._own if level == "causal" else list(self._rows))
        needed = self._needs[row] if level == "causal" else self._rows[row]
        token = self._tokens[row] if level == "causal" else ""
        with routing_scope(safe=True, token=token), consistency(level):
            for _read in range(2):
                connection = read_connection()
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT version FROM {TABLE} WHERE id = %s", [row])  # noqa: S608
                    [(seen,)] = cursor.fetchall()
                self._outcome.reads[level] += 1
                self._outcome.on_replicas += connection.alias != ALIASES[0]
                if seen < needed:
                    self._outcome.stale += 1
                    self._outcome.first_stale = self._outcome.first_stale or (
                        f"{level} on {connection.alias}: {seen} instead of {needed}"
                    )


def run(cluster: Any, outcome: Outcome, seconds: float, seed: int, *, margin: bool = True) -> Outcome:
    """Write and read on a cluster to which the aliases lead, while questions go wrong."""
    from django_rwrouter import process
    from django_rwrouter.routing import decide, ladder
    from django_rwrouter.stores import exchange

    rows = dict.fromkeys(range(CLIENTS * THREADS), 1)
    with connections[ALIASES[0]].cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
        cursor.execute(f"CREATE TABLE {TABLE} (id integer PRIMARY KEY, version integer NOT NULL)")
        values = ", ".join(f"({row}, 1)" for row in rows)
        cursor.execute(f"INSERT INTO {TABLE} VALUES {values}")  # noqa: S608
    cluster.wait_all()
    connections.close_all()
    process.reset()
    draw = random.Random(seed)
    injector = Injector(outcome, draw, margin=margin)
    unix = time.time
    clock = SimpleNamespace(**vars(time))
    clock.time = lambda: unix() + getattr(injector.thread, "skew", 0.0)
    clients = [Clients(number, injector, outcome, rows) for number in range(THREADS)]
    works = [injector.change, *(each.run for each in clients)]
    with ExitStack() as stack:
        for module in (decide, exchange):
            stack.enter_context(patch.object(module, "time", clock))
        if not margin:
            stack.enter_context(patch.object(ladder, "CLOCK_MARGIN", 0.0))
        stack.enter_context(every_question(injector.around))
        disturbances = stack.enter_context(disturbed(cluster, PAUSES, seed))
        began = time.monotonic()
        stack.enter_context(in_background(works, injector.ended))
        injector.ended.wait(seconds)
        injector.ended.set()
        outcome.seconds = time.monotonic() - began
    outcome.pauses = disturbances["paused"]
    with connections[ALIASES[0]].cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")
    process.reset()
    return outcome


def run_alone(database: str, seconds: float, seed: int, margin: bool) -> Outcome:
    """Do the same in a process that knows no other database."""
    with new_cluster(database, replicas=2) as cluster:
        databases = {
            alias: environ.Env.db_url_config(server.url())
            for alias, server in zip(ALIASES, cluster.servers, strict=True)
        }
        settings.configure(
            SECRET_KEY="for the proof only",  # noqa: S106  (guards nothing)
            USE_TZ=True,
            DATABASES=databases,
            DATABASE_ROUTERS=["django_rwrouter.router.ReadWriteRouter"],
            INSTALLED_APPS=["django_rwrouter"],
            LOGGING_CONFIG=None,
            RWROUTER=SETTINGS,
        )
        django.setup()
        return run(cluster, Outcome(database), seconds, seed, margin=margin)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the proof can be told."""
    parser.add_argument("--db", nargs="+", choices=CLUSTERS, default=list(CLUSTERS))
    parser.add_argument("--seconds", type=float, default=1200.0, metavar="N", help="for each database")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--without-margin", action="store_true", help="so that it finds stale reads")


def prove(options: argparse.Namespace, command: str) -> bool:
    """Run on each database. Returns whether all of it went as promised."""
    outcomes: list[Outcome] = []
    report = ""
    for database in options.db:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            work = partial(run_alone, database, options.seconds, options.seed, not options.without_margin)
            outcomes.append(pool.submit(work).result())
        report = written(outcomes, command, margin=not options.without_margin)
        if options.output is not None:
            options.output.write_text(report, encoding="utf-8")
    if options.output is None:
        print(report)
    return all(is_as_promised(outcome, margin=not options.without_margin) for outcome in outcomes)


def is_as_promised(outcome: Outcome, *, margin: bool) -> bool:
    """Whether reads were stale where they had to be, and nowhere else."""
    return (outcome.stale == 0) is margin and not outcome.errors and outcome.on_replicas > 0


def written(outcomes: Sequence[Outcome], command: str, *, margin: bool) -> str:
    """Return the report."""
    table = [
        HEADINGS,
        ["---"] * len(HEADINGS),
    ]
    for outcome in outcomes:
        told = "as promised" if is_as_promised(outcome, margin=margin) else "**NOT as promised**"
        table.append(
            [
                outcome.database,
                f"{outcome.seconds:,.0f}",
                f"{outcome.writes:,}",
                f"{outcome.reads['causal']:,}",
                f"{outcome.reads['strong']:,}",
                f"{outcome.on_replicas:,}",
                f"**{outcome.stale:,}**",
                f"{outcome.pauses:,}",
                told,
            ]
        )
    questions = [["database", "question", *WAYS], ["---"] * (2 + len(WAYS))]
    questions += [
        [outcome.database, question, *(f"{outcome.injected[question, way]:,}" for way in WAYS)]
        for outcome in outcomes
        for question in QUESTIONS
    ]
    made = (
        f"Made by `{command}` on {datetime.now(timezone.utc):%Y-%m-%d}, with Python"
        f" {platform.python_version()} and Django {django.get_version()}."
    )
    allowed = (
        ""
        if margin
        else " No difference of the clocks is allowed for: those that write are behind all the time, and are"
        " not told where the primary stands, so that there must be stale reads."
    )
    lines = [
        "# Questions that go wrong: the proof",
        "",
        made,
        "",
        WHAT_WAS_DONE + allowed,
        "",
        *("| " + " | ".join(cells) + " |" for cells in table),
        "",
        "How often which question went wrong, and how:",
        "",
        *("| " + " | ".join(cells) + " |" for cells in questions),
        "",
        *(f"- {outcome.database}: {error}" for outcome in outcomes for error in outcome.errors),
        *(
            f"- {outcome.database}, the first stale read: {outcome.first_stale}"
            for outcome in outcomes
            if outcome.stale
        ),
    ]
    return "\n".join(lines).rstrip() + "\n"


WHAT_WAS_DONE = f"""\
Clients in {THREADS} threads write and read while two replicas are paused for up to
{PAUSES.longest_pause:.0f} seconds and let go at random. All the time one question that the package asks
servers, drawn anew every second or so, fails, hangs or is answered late. Tokens are made by clocks that
differ from the reader's by up to {SKEW_SECONDS} seconds; `PIN_SECONDS` is {PIN_SECONDS:.0f}. At `causal` a
client reads what it wrote itself, at `strong` what anybody wrote. A read is stale if it shows less."""
