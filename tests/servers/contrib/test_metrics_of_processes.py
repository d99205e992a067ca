"""The metrics of gunicorn's workers: whichever is scraped, they are those of all, and exact."""

import http.client
import json
import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.core.management import call_command

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
pytest.importorskip("gunicorn", reason="gunicorn is not installed")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from django_rwrouter.contrib.prometheus import RoutingCollector
from django_rwrouter.stats import queries
from django_rwrouter.stats.summary import SPANS
from launcher.ports import free_port
from tests.patience import until
from tests.servers.contrib import settings as ours
from tests.servers.contrib.conftest import process
from tests.servers.contrib.metrics import TOKEN

WORKERS = 4
PATIENCE = 40
"""Seconds for what has to happen in the end, on a busy machine."""
REPLICAS = {"replica1", "replica2"}


class Site:
    """The workers, as seen from outside; each request is a client of its own."""

    def __init__(self, port):
        self._port = port

    def ask(self, method, path, *, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, text
        return text

    def read(self, _number=0):
        self.ask("GET", "/counted/")

    def write(self, number):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.ask("POST", "/counted/", body=urlencode({"title": f"{number}"}), **form)

    def worker(self, _number=0):
        return int(self.ask("GET", "/worker/"))

    def metrics(self, _number=0):
        return samples(self.ask("GET", "/metrics/", Authorization=f"Bearer {TOKEN}"))


def samples(text):
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def statements(metrics):
    """Return what was counted, the replicas together: which of them answers is left to chance."""
    found = Counter()
    for (name, labels), value in metrics.items():
        if name == "rwrouter_statements_total":
            said = dict(labels)
            database = "replicas" if said["database"] in REPLICAS else said["database"]
            found[database, said["operation"], said["reason"]] += value
    return found


def events(metrics):
    return {
        (dict(labels)["event"], dict(labels)["subject"]): value
        for (name, labels), value in metrics.items()
        if name == "rwrouter_events_total" and value
    }


@contextmanager
def serve(environment, folder, *, flush_seconds, **more):
    port, log = free_port(), folder / "gunicorn.log"
    command = [
        "-m",
        "gunicorn",
        "tests.servers.contrib.wsgi",
        f"--workers={WORKERS}",
        f"--bind=127.0.0.1:{port}",
    ]
    more = {ours.FLUSH_VARIABLE: flush_seconds, **more}
    with process(*command, environment={**environment, **more}, log=log):
        site = Site(port)
        until(lambda: can_be_asked(site), f"it answers; see {log}")
        yield site


@pytest.fixture
def site(cluster, environment, tmp_path):
    """Four workers, which write their counts twice a second, beside multiprocess metrics of the project."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    with serve(environment, tmp_path, flush_seconds="0.5", PROMETHEUS_MULTIPROC_DIR=str(folder)) as site:
        yield site


def can_be_asked(site):
    try:
        return site.worker()
    except OSError:
        return False


def test_the_counts_of_all_processes_add_up_in_every_view(site, cluster):
    """Also those of a process that has ended meanwhile, in good order, and of the one in its place."""
    reads, writes = 200, 60

    def end_one_worker():
        victim = site.worker()
        os.kill(victim, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{victim}").exists(), f"{victim} has ended")

    with ThreadPoolExecutor(8) as pool:
        ended = pool.submit(end_one_worker)
        scraped = pool.submit(lambda: [site.metrics() for _ in range(10)])
        list(pool.map(site.write, range(writes)))
        list(pool.map(site.read, range(reads)))
        ended.result()
        # The one in its place is there, and takes part.
        list(pool.map(site.read, range(reads)))

    expected = Counter(
        {
            ("replicas", "read", "causal"): 2 * reads,
            ("default", "write", "write"): writes,
            ("default", "read", "wrote_in_scope"): writes,
        }
    )
    until(lambda: statements(site.metrics()).total() >= expected.total(), "all have written their counts")
    metrics = site.metrics()
    assert statements(metrics) == expected
    assert events(metrics)["pin_set", ""] == writes
    # The project's own, in multiprocess mode, from the same answer.
    assert metrics["visits_total", frozenset()] == 2 * reads + writes
    for earlier, later in pairwise(scraped.result()):
        assert statements(earlier) <= statements(later), "A counter has gone back."

    used = {
        ("replicas", "reads"): 2 * reads,
        ("replicas", "writes"): 0,
        ("default", "reads"): writes,
        ("default", "writes"): writes,
    }
    assert in_the_panel() == used
    assert in_the_status() == used


def in_the_panel():
    found = Counter()
    for database in queries.report(SPANS["1h"]).databases:
        name = "default" if database.is_primary else "replicas"
        found[name, "reads"] += database.reads.count
        found[name, "writes"] += database.writes.count
    return found


def in_the_status():
    output = StringIO()
    call_command("rwrouter", "status", "--json", "--minutes=60", stdout=output)
    found = Counter()
    for server in json.loads(output.getvalue())["clusters"][0]["servers"]:
        name = "default" if server["is_primary"] else "replicas"
        found[name, "reads"] += server["reads"]
        found[name, "writes"] += server["writes"]
    return found


def test_nothing_is_lost_or_counted_twice_when_all_have_ended(cluster, environment, tmp_path):
    reads = 40
    # Longer than the test: what is there is written at the end.
    with serve(environment, tmp_path, flush_seconds="3600") as found:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(found.read, range(reads)))
        before = statements(found.metrics())
        assert before <= Counter({("replicas", "read", "causal"): reads})
    registry = CollectorRegistry()
    registry.register(RoutingCollector())
    metrics = samples(generate_latest(registry).decode())
    assert statements(metrics) == {("replicas", "read", "causal"): reads}
