"""What a hundred processes leave in the table in a week, and how long it takes to read that."""

import itertools
import random
import time
from importlib.util import find_spec

from django.db import connections

from django_rwrouter.servers.server_state import ServerState
from django_rwrouter.stats import queries
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.latency import BUCKETS
from django_rwrouter.stats.rollup import EVERY, roll_up
from django_rwrouter.stats.summary import SPANS
from django_rwrouter.stats.sums import Sum

PROCESSES = 100
WEEK = 7 * 86_400
ALIASES = ["default", "replica1", "replica2", "replica3"]
READS = {
    "default": ["wrote_in_scope", "pinned", "transaction", "primary_only", "unsafe_method", "behind"],
    "replica1": ["window", "causal", "explicit"],
    "replica2": ["window", "causal", "explicit"],
    "replica3": ["window", "causal", "explicit"],
}
EVENTS = [
    ("request", ""),
    ("pinned_request", "default"),
    ("pin_set", ""),
    ("token_rejected", "expired"),
    ("read_spilled", "default"),
    ("replica_ejected", "replica2"),
    ("replica_restored", "replica2"),
]


def counts(chance, start):
    """Return what one busy process counts in a minute, with something to note now and then."""
    statements = [
        ("default", alias, "read", reason, "", chance.randrange(1, 500), chance.randrange(10**6))
        for alias, reasons in READS.items()
        for reason in reasons
    ]
    statements.append(("default", "default", "write", "write", "", 40, 90_000))
    noted = chance.random() < 0.01
    return {
        "statements": statements,
        "events": [(*event, chance.randrange(1, 300)) for event in EVENTS],
        "latency": [
            ("default", alias, operation, [chance.randrange(100) for _ in range(BUCKETS - 10)])
            for alias, operation in [*((alias, "read") for alias in ALIASES), ("default", "write")]
        ],
        "lag": [(alias, chance.random(), chance.random()) for alias in ALIASES[1:]],
        "log": [(start + 1.5, *EVENTS[5], "OperationalError 2003"), (start + 9.5, *EVENTS[6], "8.0 s")][
            : 2 * noted
        ],
    }


def servers(chance):
    return [
        ServerState(
            alias=alias,
            cluster="default",
            role="replica",
            lag=round(chance.random(), 3),
            position=f"0-1-{chance.randrange(10**9)}",
            server="1/db1.internal/3306",
            probe_seconds=round(chance.random(), 6),
            at=1_700_000_000.123456,
        ).as_json()
        for alias in ALIASES
    ]


def fill(table, now):
    """Write a week of rows and have them merged, by the code that does so; return the time after that.

    A minute of all processes is merged before it is written, or it would take a million rows.
    """
    chance = random.Random(1)
    newest = now // 60 * 60 - 180
    # A hundred minutes that differ, again and again.
    minutes = []
    for _ in range(100):
        total = Sum()
        for _process in range(PROCESSES):
            total.add(0, counts(chance, 0))
        minutes.append(total.counts(60))
    rows = (
        Row(process=f"{start}", resolution=60, start=start, data=data)
        for start, data in zip(range(newest - WEEK, newest, 60), itertools.cycle(minutes), strict=False)
    )
    while batch := list(itertools.islice(rows, 100)):
        table.put(batch)
    table.update(final=True)
    # What is not merged yet: three minutes and the one that is going on, and what killed processes left.
    for process in range(PROCESSES):
        fresh = [(newest + 60 * n, {**counts(chance, newest), "servers": servers(chance)}) for n in range(4)]
        killed = [(newest - chance.randrange(86_000) // 60 * 60, counts(chance, newest)) for _ in range(2)]
        table.put(
            [Row(process=f"p{process}", resolution=60, start=start, data=data) for start, data in fresh]
        )
        table.put(
            [
                Row(process=f"k{process}-{n}", resolution=60, start=start, data=data)
                for n, (start, data) in enumerate(killed)
            ]
        )
    while roll_up(table, WEEK, now):
        now += EVERY
    return now


def measure(table, now):
    """Return milliseconds for each page and for the totals: of the database, and of this process's own work.

    The first is a clock's, the best of twenty, with all rows fetched; the second is processor time.
    """
    questions = {name: lambda span=span: queries.report(span, now) for name, span in SPANS.items()}
    questions["totals"] = queries.totals
    connection = connections[table.db]
    return {
        name: (_in_database(connection, question), _own(question)) for name, question in questions.items()
    }


def scrape():
    """Return milliseconds that Prometheus waits for all that is exported, by the clock: the best of five."""
    # Optional, and not there where the oldest and the newest of Django are tried.
    from prometheus_client import CollectorRegistry, generate_latest

    from django_rwrouter.contrib.prometheus import RoutingCollector

    registry = CollectorRegistry()
    registry.register(RoutingCollector())
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        assert b"rwrouter_scrape_error 0.0" in generate_latest(registry)
        took.append(time.perf_counter() - begun)
    return min(took) * 1000


def show(table, now):
    """Print what there is, and how long it takes."""
    print(f"\n{table.count()} rows")
    found = measure(table, now)
    for page, (in_database, own) in found.items():
        print(f"{page}: {in_database:.1f} ms in the database, {own:.1f} ms of processor time here")
    print(
        f"a scrape: {scrape():.1f} ms"
        if find_spec("prometheus_client")
        else "no scrape: no prometheus-client"
    )


def _in_database(connection, question):
    """Ask what the question asks once more, without making anything of it."""
    asked = []

    def listen(execute, sql, params, many, context):
        if sql.startswith("SELECT"):
            asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(listen):
        assert question() is not None
    assert len(asked) == 1
    took = []
    for _ in range(20):
        begun = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute(*asked[0])
            cursor.fetchall()
        took.append(time.perf_counter() - begun)
    return min(took) * 1000


def _own(question):
    begun = time.thread_time()
    question()
    return (time.thread_time() - begun) * 1000
