"""A site with a driver of its own: a process for test_drivers.py, as Django is set up once in a process.

It reads one line of JSON: ``databases`` (entries of ``DATABASES``, the primary's first) and, if need be,
``prepare`` (code that runs before Django is set up) and ``settings``. To have servers fail it writes lines
such as ``freeze 1``, and waits for an answer to each. The last line is JSON: what it saw.
"""

import io
import json
import sys
import threading
import time
from contextlib import suppress

SPEC = json.loads(sys.stdin.readline())
exec(SPEC.get("prepare", ""), {})

import django  # noqa: E402
from django.conf import settings  # noqa: E402

ALIASES = ["default", "replica1", "replica2"]
REPLICAS = ALIASES[1:]
ROUNDS = 20
STRUCK = "replica1"
SLOWLY = 20
"""Seconds that the read would take there which is hit in its course; elsewhere it takes no time."""


def databases():
    for alias, database in zip(ALIASES, SPEC["databases"], strict=True):
        yield alias, {**database, "TEST": {"MIRROR": "default" if alias in REPLICAS else None}}


settings.configure(
    **{
        "SECRET_KEY": "for tests only",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": ["django.contrib.contenttypes", "django_rwrouter", "tests.app"],
        "MIDDLEWARE": ["django_rwrouter.middleware.ReadWriteMiddleware"],
        "DATABASES": dict(databases()),
        "DATABASE_ROUTERS": ["django_rwrouter.router.ReadWriteRouter"],
        "RWROUTER": {
            "REPLICAS": REPLICAS,
            "CONSISTENCY": "causal",
            "BALANCER": "round_robin",
            "WAIT_TIMEOUT": 1.0,
            "MONITOR": {"INTERVAL": 0.2, "TIMEOUT": 1.0, "SHARE": "none"},
        },
        **SPEC.get("settings", {}),
    }
)
django.setup()

from django.core.checks import run_checks  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.db.models import F, Func, IntegerField  # noqa: E402

from django_rwrouter import consistency, current_token, routing_scope, stats  # noqa: E402
from django_rwrouter.databases import get_product  # noqa: E402
from django_rwrouter.models import RoutingStatistics  # noqa: E402
from django_rwrouter.servers.health import health  # noqa: E402
from django_rwrouter.servers.in_flight import loads  # noqa: E402
from django_rwrouter.testing import capture_routing  # noqa: E402
from tests.app.models import Author, Book  # noqa: E402
from tests.patience import until  # noqa: E402


def aliases(routed):
    return [decision.alias for decision in routed if decision.operation == "read"]


def read(token=""):
    with routing_scope(safe=True, token=token):
        return list(Book.objects.values_list("title", flat=True))


def causal():
    """Write, and read in the client's next request."""
    stale = 0
    with capture_routing() as routed:
        for number in range(ROUNDS):
            with routing_scope():
                Book.objects.create(title=f"book {number}")
                token = current_token()
            stale += f"book {number}" not in read(token)
    return {"stale": stale, "read on": sorted(set(aliases(routed)))}


def window():
    """Write, and read as that client and as another."""
    with consistency("window"), capture_routing() as routed:
        with routing_scope():
            Book.objects.create(title="pinned")
            token = current_token()
        read(token)
        read()
    return [alias in REPLICAS for alias in aliases(routed)]


def queries():
    """Queries of each form, in a page that follows a write."""
    with routing_scope():
        Book.objects.bulk_create([Book(title="many") for _ in range(3)])
        Book.objects.filter(title="many").update(author=Author.objects.create(name="A"))
        Book.objects.filter(title="many").update(title=F("title"))
        token = current_token()
    with routing_scope(safe=True, token=token), capture_routing() as routed:
        books = list(Book.objects.filter(title="many").select_related("author").iterator(chunk_size=2))
        books += Book.objects.raw("SELECT * FROM app_book WHERE title = %s", ["many"])
        books += Book.objects.filter(title__in=["many"]).prefetch_related("tags")
        count = Book.objects.filter(title="many").count()
    return {"complete": len(books) == 3 * count, "on replicas": set(aliases(routed)) <= set(REPLICAS)}


def hit(how):
    """Let a replica fail while a read runs there."""
    until(lambda: not any(health.is_ejected(alias) for alias in REPLICAS))
    struck = threading.Event()

    def strike():
        until(runs_long)
        struck.set()
        ask(f"{how} {REPLICAS.index(STRUCK)}")

    thread = threading.Thread(target=strike)
    thread.start()
    with capture_routing() as routed:
        while not struck.is_set():  # The first may be answered by the other replica.
            with routing_scope(safe=True):
                answered = len(Book.objects.annotate(slept=sleep())[:1])
    thread.join()
    after = [len(read()) > 0 for _ in range(10)]
    ask("heal")
    return {"answered": answered, "elsewhere": aliases(routed)[-1] != STRUCK, "after": all(after)}


def runs_long():
    """Whether a statement runs there that is not over in an instant."""
    running = list(loads[STRUCK].running.values())
    return any(time.perf_counter() - began > 0.1 for _connection, began in running)


def ask(what):
    print(what, flush=True)
    sys.stdin.readline()


def sleep():
    port = connections.settings[STRUCK]["PORT"]
    if connections["default"].vendor == "mysql":
        slowly = f"SLEEP(IF(@@port = {port}, {SLOWLY}, 0))"
    else:
        here = f"current_setting('port')::int = {port}"
        slowly = f"(SELECT 1 FROM pg_sleep(CASE WHEN {here} THEN {SLOWLY} ELSE 0 END))"
    return Func(template=slowly, output_field=IntegerField())


def command(name):
    output = io.StringIO()
    with suppress(SystemExit):
        call_command("rwrouter", name, "--json", stdout=output, stderr=output)
    return json.loads(output.getvalue())


def report():
    """What operators see, without what the user may not."""
    (cluster,) = command("status")["clusters"]
    deadline = time.monotonic() + 20
    while True:  # On a busy machine a replica is behind for longer than the doctor waits.
        findings = command("doctor")["findings"]
        behind = any((each["topic"], each["severity"]) == ("position", "error") for each in findings)
        if not behind or time.monotonic() > deadline:
            break
    stats.flush()
    rows = RoutingStatistics.objects.using("default")
    return {
        "status": [server["condition"] for server in cluster["servers"]],
        "doctor": [
            (finding["alias"], finding["message"])
            for finding in findings
            if finding["severity"] not in ("ok", "unknown")
        ],
        "check": sorted(
            message.id for message in run_checks(tags=["django_rwrouter"]) if not message.id.endswith("I002")
        ),
        "counted": any(row.data for row in rows),
    }


# What other processes said last counts as well.
RoutingStatistics.objects.using("default").all().delete()
until(lambda: read() is not None and health.watched)
seen = {"causal": causal(), "window": window(), "queries": queries(), "report": report()}
seen["killed"] = hit("kill")
seen["frozen"] = hit("freeze")
seen["product"] = get_product(connections["default"]).name
driver = connections["default"].Database
seen["driver"] = f"{driver.__name__} {getattr(driver, '__version__', '')}"
print(json.dumps(seen), flush=True)
