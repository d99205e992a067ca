"""Prometheus: what the collector exports, exactly, and whatever happens."""

import math
import threading

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.urls import path

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

import django_rwrouter
from django_rwrouter import consistency, routing_scope, stats, use_primary
from django_rwrouter.contrib.prometheus import Families, RoutingCollector, metrics_view
from django_rwrouter.operations import overrides
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition
from django_rwrouter.signals import statement_routed
from django_rwrouter.stats.latency import BOUNDS
from tests.app.models import Author, Book
from tests.servers.contrib.settings import ALIASES

TOKEN = "of the test"


@pytest.fixture
def registry(cluster, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"], "STATS": {"FLUSH_SECONDS": 3600}}
    made = CollectorRegistry()
    made.register(RoutingCollector())
    for alias in ALIASES:
        connections[alias].ensure_connection()
    stats.reset()
    return made


def scrape(registry):
    """Return every sample as Prometheus reads it: value by name and labels."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name, **labels):
    return name, frozenset(labels.items())


def of(samples, name):
    """Return the values of one metric by the values of its labels, in the order of the labels' names."""
    return {
        tuple(value for _name, value in sorted(labels)): number
        for (sample, labels), number in samples.items()
        if sample == name
    }


def read_each_replica_and_write(reads=3):
    with routing_scope(safe=True), consistency("eventual"):
        for _ in range(reads):
            Author.objects.count()
        with use_primary():
            Author.objects.count()
    with routing_scope():
        Book.objects.create(title="x")


# --- counters --------------------------------------------------------------------------------------------


def test_statements_are_exact_and_by_the_reason(registry):
    read_each_replica_and_write()
    found = of(scrape(registry), "rwrouter_statements_total")
    by_replica = [found.pop(("default", alias, "read", "eventual"), 0) for alias in ("replica1", "replica2")]
    assert sum(by_replica) == 3
    assert found == {
        ("default", "default", "read", "use_primary"): 1,
        ("default", "default", "write", "write"): 1,
    }


def test_to_scrape_counts_nothing(registry):
    read_each_replica_and_write()
    first = scrape(registry)
    heard = []
    statement_routed.connect(lambda **kwargs: heard.append(kwargs), weak=False, dispatch_uid="heard")
    try:
        second = scrape(registry)
    finally:
        statement_routed.disconnect(dispatch_uid="heard")
    assert heard == []
    for name in ("rwrouter_statements_total", "rwrouter_events_total", "rwrouter_statement_seconds_sum"):
        assert of(first, name) == of(second, name)


def test_what_is_written_already_and_what_is_not_is_added_up(registry):
    read_each_replica_and_write()
    stats.flush()
    read_each_replica_and_write()
    found = of(scrape(registry), "rwrouter_statements_total")
    assert found["default", "default", "write", "write"] == 2


def test_times_are_a_histogram(registry):
    read_each_replica_and_write()
    samples = scrape(registry)
    labels = {"cluster": "default", "database": "default", "operation": "write"}
    buckets = {
        float(dict(each)["le"]): value
        for (name, each), value in samples.items()
        if name == "rwrouter_statement_seconds_bucket" and labels.items() <= dict(each).items()
    }
    bounds = sorted(buckets)
    assert set(bounds) < {*BOUNDS, math.inf}
    assert [buckets[bound] for bound in bounds] == sorted(buckets.values())
    assert bounds[-1] == math.inf
    assert buckets[math.inf] == samples[key("rwrouter_statement_seconds_count", **labels)] == 1
    seconds = samples[key("rwrouter_statement_seconds_sum", **labels)]
    assert 0 < seconds < 10
    # The one statement is in the bucket of its time.
    assert min(bound for bound in bounds if buckets[bound]) == min(
        bound for bound in bounds if bound >= seconds
    )


def test_shadow_mode_tells_which_reads_a_replica_would_have_answered(registry, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "ENABLED": "shadow"}
    with routing_scope(safe=True):
        Author.objects.count()
    samples = scrape(registry)
    assert of(samples, "rwrouter_shadow_reads_total") == {("default", "replica1"): 1}
    assert of(samples, "rwrouter_statements_total") == {("default", "default", "read", "window"): 1}
    assert key("rwrouter_info", version=django_rwrouter.__version__, enabled="shadow") in samples


def test_events_are_there_before_they_happen(registry):
    """Or the first increase would not be seen as one."""
    before = of(scrape(registry), "rwrouter_events_total")
    assert before["replica_write_refused", "replica1"] == 0
    assert before["token_rejected", "forged"] == 0
    assert before["read_degraded", "default"] == 0
    stats.count_event("replica_write_refused", "replica1")
    stats.count_event("made_up", "x")
    after = of(scrape(registry), "rwrouter_events_total")
    assert after["replica_write_refused", "replica1"] == 1
    assert after["made_up", "x"] == 1


# --- gauges ----------------------------------------------------------------------------------------------


def test_the_databases_and_their_roles_are_there(registry):
    assert of(scrape(registry), "rwrouter_database_info") == {
        ("default", "default", "primary"): 1,
        ("default", "replica1", "replica"): 1,
        ("default", "replica2", "replica"): 1,
    }


def test_states_are_those_that_the_status_shows(registry, cluster):
    overrides.drain("replica2", reason="by hand")
    health.failed("replica1", "made up")
    samples = scrape(registry)
    assert of(samples, "rwrouter_replica_up") == {("default", "replica1"): 0, ("default", "replica2"): 0}
    states = of(samples, "rwrouter_replica_state")
    assert {labels for labels, value in states.items() if value} == {
        ("default", "replica1", "ejected"),
        ("default", "replica2", "drained"),
    }
    assert {state for _cluster, _database, state in states} == {each.value for each in Condition}
    assert of(samples, "rwrouter_primary_up") == {("default", "default"): 1}


def test_a_process_that_has_not_looked_yet_does_not_take_a_dead_replica_for_well(registry, cluster):
    """As one that does nothing but answer Prometheus."""
    connections.close_all()
    cluster.replicas[0].kill()
    samples = scrape(registry)
    assert of(samples, "rwrouter_replica_up") == {("default", "replica1"): 0, ("default", "replica2"): 1}
    assert of(samples, "rwrouter_replica_state")["default", "replica1", "unreachable"] == 1


def test_the_kill_switch_is_there(registry):
    assert of(scrape(registry), "rwrouter_switched_off") == {("default",): 0}
    overrides.switch_off("default", reason="a drill")
    assert of(scrape(registry), "rwrouter_switched_off") == {("default",): 1}


def test_lag_is_what_it_is_at_most_or_at_least(registry, cluster):
    level = of(scrape(registry), "rwrouter_replica_lag_seconds")
    assert set(level) == {("default", "replica1"), ("default", "replica2")}
    assert all(0 <= lag < 60 for lag in level.values())
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="x")
    behind = of(scrape(registry), "rwrouter_replica_lag_seconds")
    assert behind["default", "replica1"] > 0


def test_a_server_in_another_role_than_the_settings_say_is_told(registry, cluster, settings):
    assert not any(of(scrape(registry), "rwrouter_role_mismatch").values())
    cluster.primary.sql("SET GLOBAL read_only = 1")
    try:
        roles = of(scrape(registry), "rwrouter_role_mismatch")
    finally:
        cluster.primary.sql("SET GLOBAL read_only = 0")
    assert roles["default", "default"] == 1


# --- form ------------------------------------------------------------------------------------------------


def test_every_metric_has_a_help_text_and_follows_the_conventions(registry):
    read_each_replica_and_write()
    families = list(registry.collect())
    assert {family.name for family in families} <= {family.name for family in Families()}
    for family in families:
        assert family.documentation.endswith(".")
        assert family.name.startswith("rwrouter")
        assert family.type in {"counter", "gauge", "histogram", "info"}
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total")


def test_the_newer_format_can_be_read_too(registry):
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

    read_each_replica_and_write()
    text = generate_openmetrics(registry).decode()
    assert "rwrouter_statements" in {
        family.name for family in openmetrics.text_string_to_metric_families(text)
    }


def test_to_register_asks_no_database(db_is_forbidden):
    collector = RoutingCollector()
    REGISTRY.register(collector)
    try:
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            REGISTRY.register(RoutingCollector())
    finally:
        REGISTRY.unregister(collector)


@pytest.fixture
def db_is_forbidden():
    """pytest-django forbids databases to tests that do not ask for them."""
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        connections["default"].ensure_connection()


# --- whatever happens ------------------------------------------------------------------------------------


def test_without_the_primary_what_is_known_is_exported(registry, cluster, caplog):
    read_each_replica_and_write()
    connections.close_all()
    cluster.primary.kill()
    for _ in range(2):
        samples = scrape(registry)
        assert samples[key("rwrouter_scrape_error")] == 1
        assert of(samples, "rwrouter_statements_total") == {}
        assert of(samples, "rwrouter_primary_up") == {("default", "default"): 0}
        assert len(of(samples, "rwrouter_replica_up")) == 2
    told = [record for record in caplog.records if "Prometheus" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"]
    assert str(cluster.primary.port) not in caplog.text
    cluster.heal()
    samples = scrape(registry)
    assert samples[key("rwrouter_scrape_error")] == 0
    assert of(samples, "rwrouter_statements_total")["default", "default", "write", "write"] == 1


def test_without_the_table_too(registry, caplog):
    call_command("migrate", "django_rwrouter", "zero", verbosity=0)
    try:
        samples = scrape(registry)
    finally:
        call_command("migrate", "django_rwrouter", verbosity=0)
    assert samples[key("rwrouter_scrape_error")] == 1
    assert len(of(samples, "rwrouter_replica_up")) == 2


@pytest.mark.parametrize("setting", [{"REPLIKAS": ["replica1"]}, {"REPLICAS": ["nowhere"]}])
def test_with_wrong_settings_too(registry, settings, setting):
    settings.RWROUTER = setting
    assert scrape(registry)[key("rwrouter_scrape_error")] == 1


@pytest.mark.parametrize("replicas", [["replica1"], []], ids=["statistics off", "no replicas"])
def test_where_nothing_is_counted_nothing_is_asked(registry, settings, replicas):
    settings.RWROUTER = {"REPLICAS": replicas, "STATS": {"BACKEND": "off"}}
    samples = scrape(registry)
    assert samples[key("rwrouter_scrape_error")] == 0
    assert of(samples, "rwrouter_statements_total") == {}
    assert len(of(samples, "rwrouter_replica_up")) == len(replicas)


def test_a_thread_that_scrapes_keeps_no_connection(registry):
    """Prometheus' own server answers in such a thread; nobody closes what it leaves open."""
    left = []

    def work():
        scrape(registry)
        left.extend(each.alias for each in connections.all(initialized_only=True) if each.connection)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert left == []


# --- the view --------------------------------------------------------------------------------------------


@pytest.fixture
def client(registry, settings):
    settings.ROOT_URLCONF = (path("metrics/", metrics_view(token=TOKEN)),)
    return Client()


def test_the_view_answers_those_who_have_the_token(client):
    response = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in response.headers["Cache-Control"]
    assert "rwrouter_replica_up" in response.content.decode()


def test_the_view_speaks_the_newer_format_if_asked(client):
    wanted = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/openmetrics-text; version=1.0.0"}
    response = client.get("/metrics/", headers=wanted)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.content.endswith(b"# EOF\n")


def test_the_view_needs_no_login_where_all_others_do(client, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    client = Client()
    assert client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/metrics/").status_code == 401


@pytest.mark.parametrize("sent", ["", "Bearer", "Bearer another", f"Basic {TOKEN}", "Bearer \xe9"])
def test_the_view_tells_nobody_else(client, sent):
    response = client.get("/metrics/", headers={"Authorization": sent} if sent else {})
    assert (response.status_code, response.content) == (401, b"")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_the_view_answers_while_the_primary_is_away(client, cluster, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", True)
    connections.close_all()
    cluster.primary.kill()
    response = client.get("/metrics/", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    assert "rwrouter_scrape_error 1.0" in response.content.decode()


def test_the_view_has_to_have_a_token():
    with pytest.raises(ValueError, match="needs a token"):
        metrics_view(token="")
