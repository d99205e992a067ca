"""OpenTelemetry: attributes on the statements' spans, spans where nobody makes them, and metrics."""

import threading
from contextlib import contextmanager, nullcontext

import pytest
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry's SDK is not installed")

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from django_rwrouter import consistency, routing_scope, stats
from django_rwrouter.contrib.opentelemetry import spans
from django_rwrouter.contrib.opentelemetry.spans import RoutingSpanProcessor
from django_rwrouter.events import emit
from django_rwrouter.execution import hook
from django_rwrouter.servers import wrapper_installation
from django_rwrouter.servers.health import health
from tests.app.models import Author, Book
from tests.servers.contrib.settings import ALIASES

TABLE = "`app_book`"


@pytest.fixture(scope="session")
def exporter():
    """Where spans end; there is one global provider in a process."""
    made = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(provider)
    return made


@pytest.fixture(scope="session")
def reader():
    made = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([made]))
    return made


@pytest.fixture
def finished(cluster, exporter):
    """Return the spans that a test has made, but for that of the request."""
    Book.objects.create(title="x")
    cluster.wait_all()
    # Opened here, so that the tests count no statement of Django's own.
    for alias in ALIASES:
        connections[alias].ensure_connection()
    exporter.clear()
    return lambda: [span for span in exporter.get_finished_spans() if span.name != "GET /"]


@contextmanager
def request():
    """Stand for the instrumentation of Django: a span around the request."""
    with (
        trace.get_tracer("django").start_as_current_span("GET /", kind=SpanKind.SERVER) as span,
        routing_scope(safe=True),
    ):
        yield span


@contextmanager
def instrumented_driver(kind=SpanKind.CLIENT):
    """Stand for the instrumentation of a driver: a span around its own ``execute()``, and no longer."""

    def execute_in_span(execute, sql, params, many, context):
        with trace.get_tracer("driver").start_as_current_span("driver", kind=kind) as span:
            span.set_attribute("db.system", "mysql")
            return execute(sql, params, many, context)

    used = [connections[alias] for alias in ALIASES]
    for connection in used:
        connection.execute_wrappers.append(execute_in_span)
    try:
        yield
    finally:
        for connection in used:
            connection.execute_wrappers.remove(execute_in_span)


def ours(span):
    return {name: value for name, value in span.attributes.items() if name.startswith("rwrouter.")}


def test_the_drivers_own_span_says_where_the_read_went_and_why(finished, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "CONSISTENCY": "causal"}
    with request() as span, instrumented_driver():
        Book.objects.count()
        Book.objects.create(title="y")
        assert ours(span) == {}  # The request's own is left alone.
    read, write = finished()
    assert ours(read) == {
        "rwrouter.cluster": "default",
        "rwrouter.alias": "replica1",
        "rwrouter.operation": "read",
        "rwrouter.reason": "causal",
        "rwrouter.level": "causal",
    }
    assert read.attributes["db.system"] == "mysql"
    assert ours(write) == {
        "rwrouter.cluster": "default",
        "rwrouter.alias": "default",
        "rwrouter.operation": "write",
        "rwrouter.reason": "write",
        "rwrouter.level": "causal",
    }


def test_the_level_is_that_of_the_block(finished):
    with request(), instrumented_driver(), consistency("eventual"):
        Book.objects.count()
    assert finished()[0].attributes["rwrouter.level"] == "eventual"


def test_under_shadow_it_says_where_a_read_would_have_gone(finished, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "ENABLED": "shadow"}
    with request(), instrumented_driver():
        Book.objects.count()
    (span,) = finished()
    assert (span.attributes["rwrouter.alias"], span.attributes["rwrouter.would_be"]) == (
        "default",
        "replica1",
    )


def test_spans_of_another_kind_are_left_alone(finished):
    with request(), instrumented_driver(SpanKind.INTERNAL):
        Book.objects.count()
    driver, made = finished()
    assert ours(driver) == {}
    assert ours(made)["rwrouter.operation"] == "read"


def test_a_span_that_is_started_after_the_statement_is_left_alone(finished):
    with request():
        Book.objects.count()
        with trace.get_tracer("http").start_as_current_span("POST", kind=SpanKind.CLIENT):
            pass
    _made, http = finished()
    assert ours(http) == {}


def test_where_no_driver_is_instrumented_a_span_is_made(finished, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    with request() as span:
        list(Book.objects.filter(title="secret"))
    (made,) = finished()
    assert made.name == "SELECT app_book"
    assert made.kind is SpanKind.CLIENT
    assert made.parent.span_id == span.get_span_context().span_id
    assert span.start_time <= made.start_time < made.end_time <= span.end_time
    assert made.attributes["db.system.name"] == "mariadb"
    assert made.attributes["db.query.summary"] == "SELECT app_book"
    assert made.attributes["db.namespace"] == "rwrouter"
    assert made.attributes["db.query.text"].endswith(f"WHERE {TABLE}.`title` = %s")
    assert ours(made)["rwrouter.alias"] == "replica1"


def test_no_value_host_or_user_is_in_a_span(finished):
    with request():
        list(Book.objects.filter(title="a value"))
    (made,) = finished()
    text = made.to_json()
    for secret in ("a value", "127.0.0.1", connections["replica1"].settings_dict["PASSWORD"]):
        assert secret not in text


def test_a_statement_that_fails_has_a_span_with_the_error(finished):
    with request(), connections["default"].cursor() as cursor, pytest.raises(DatabaseError):
        cursor.execute("SELECT nothing FROM app_book")
    (made,) = finished()
    assert made.status.status_code is StatusCode.ERROR
    assert made.status.description is None
    assert made.attributes["error.type"] == "OperationalError"


@pytest.mark.parametrize("instrumented", [True, False], ids=["the driver's", "ours"])
def test_a_read_that_fails_over_has_a_span_for_each_attempt(finished, cluster, settings, instrumented):
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"], "CONSISTENCY": "eventual"}
    replicas = dict(zip(["replica1", "replica2"], cluster.replicas, strict=True))
    with request(), instrumented_driver() if instrumented else nullcontext():
        Book.objects.count()
        first = finished()[0].attributes["rwrouter.alias"]
        replicas.pop(first).kill()
        assert Book.objects.count() == 1
    _well, lost, again = finished()
    assert (lost.attributes["rwrouter.alias"], lost.attributes["rwrouter.reason"]) == (first, "eventual")
    assert lost.status.status_code is StatusCode.ERROR
    assert [again.attributes["rwrouter.alias"]] == list(replicas)
    assert again.attributes["rwrouter.reason"] == "failover"
    assert again.status.status_code is StatusCode.UNSET


def test_what_is_not_traced_makes_no_traces_of_its_own(finished):
    with routing_scope(safe=True):
        Book.objects.count()
    assert finished() == []


def test_what_is_suppressed_makes_none(finished):
    with request():
        token = otel_context.attach(otel_context.set_value("suppress_instrumentation", True))
        try:
            Book.objects.count()
        finally:
            otel_context.detach(token)
    assert finished() == []


def test_a_request_that_is_not_sampled_has_none(finished):
    unsampled = trace.NonRecordingSpan(trace.SpanContext(trace_id=1, span_id=1, is_remote=False))
    with trace.use_span(unsampled), routing_scope(safe=True):
        Book.objects.count()
    assert finished() == []


def test_our_own_statements_have_none(finished):
    with request():
        stats.count_event("request")
        stats.flush()
    assert finished() == []


def test_threads_do_not_mix_up_their_statements(finished):
    """Each has the attributes of its own, however they alternate."""
    both = threading.Barrier(2, timeout=20)

    def meet(execute, sql, params, many, context):
        both.wait()
        return execute(sql, params, many, context)

    def work(alias):
        connection = connections[alias]
        connection.ensure_connection()
        with (
            request(),
            instrumented_driver(),
            connection.execute_wrapper(meet),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT * FROM app_book /* {alias} */")
        connections.close_all()

    threads = [threading.Thread(target=work, args=(alias,)) for alias in ("replica1", "replica2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(span.attributes["rwrouter.alias"] for span in finished()) == ["replica1", "replica2"]


def test_each_connection_is_watched_once_inside_the_routers_own_hook(finished):
    spans.connect()
    spans.connect()
    for alias in ("default", "replica1"):
        wrappers = connections[alias].execute_wrappers
        assert wrappers.count(spans.observe) == 1
        assert wrappers.index(hook.observe) < wrappers.index(spans.observe)


def test_it_comes_inside_whichever_was_there_first():
    connection = type("Connection", (), {"execute_wrappers": [], "alias": "default"})()
    spans._prepare(connection=connection)
    wrapper_installation.install(connection)
    assert connection.execute_wrappers == [hook.observe, spans.observe]
    assert isinstance(connections["default"], BaseDatabaseWrapper)


def test_the_provider_of_a_project_has_the_processor_once(finished):
    def processors(provider):
        return [
            each
            for each in provider._active_span_processor._span_processors
            if isinstance(each, RoutingSpanProcessor)
        ]

    with request():
        Book.objects.count()
        Author.objects.count()
    assert len(processors(trace.get_tracer_provider())) == 1


# --- metrics ---------------------------------------------------------------------------------------------


def collected(reader):
    """Return the points of each metric, by name."""
    data = reader.get_metrics_data()
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def points(reader, name):
    metric = collected(reader).get(name)
    return (
        {}
        if metric is None
        else {frozenset(point.attributes.items()): point for point in metric.data.data_points}
    )


def attributes(**names):
    return frozenset((f"rwrouter.{name}", value) for name, value in names.items())


def test_statements_are_counted_by_database_and_reason(finished, reader, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "CONSISTENCY": "eventual"}
    key = attributes(cluster="default", alias="replica1", operation="read", reason="eventual")
    before = points(reader, "rwrouter.statements").get(key)
    with routing_scope(safe=True):
        for _ in range(3):
            Book.objects.count()
    after = points(reader, "rwrouter.statements")[key].value
    assert after - (before.value if before else 0) == 3


def test_durations_are_a_histogram_as_the_conventions_want_it(finished, reader, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    name = "db.client.operation.duration"
    key = attributes(cluster="default", alias="replica1", operation="read") | {("db.system.name", "mariadb")}
    before = points(reader, name).get(key)
    with routing_scope(safe=True):
        Book.objects.count()
    after = points(reader, name)[key]
    assert after.count - (before.count if before else 0) == 1
    assert after.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert collected(reader)[name].unit == "s"


def test_a_failure_is_timed_with_its_type_and_not_counted_as_answered(finished, reader):
    key = attributes(cluster="default", alias="default", operation="read") | {
        ("db.system.name", "mariadb"),
        ("error.type", "OperationalError"),
    }
    counted = sum(point.value for point in points(reader, "rwrouter.statements").values())
    timed = points(reader, "db.client.operation.duration").get(key)
    with connections["default"].cursor() as cursor, pytest.raises(DatabaseError):
        cursor.execute("SELECT nothing FROM app_book")
    after = points(reader, "db.client.operation.duration")[key].count
    assert after - (timed.count if timed else 0) == 1
    assert sum(point.value for point in points(reader, "rwrouter.statements").values()) == counted


def test_what_happens_to_servers_is_counted(finished, reader):
    key = attributes(event="replica_ejected", subject="replica2")
    before = points(reader, "rwrouter.events").get(key)
    emit.replica_ejected("replica2", "made up")
    after = points(reader, "rwrouter.events")[key].value
    assert after - (before.value if before else 0) == 1


def test_state_and_lag_of_the_replicas_can_be_observed(finished, reader, settings):
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"], "CONSISTENCY": "causal"}
    health.failed("replica2", "made up")
    with routing_scope(safe=True), consistency("strong"):
        Book.objects.count()
    status = points(reader, "rwrouter.replica.status")
    assert {
        (alias, state)
        for alias in ("replica1", "replica2")
        for state in ("healthy", "ejected", "drained")
        if status[attributes(cluster="default", alias=alias, state=state)].value
    } == {("replica1", "healthy"), ("replica2", "ejected")}
    lag = points(reader, "rwrouter.replica.lag")
    assert set(lag) == {attributes(cluster="default", alias="replica1")}
    assert 0 <= lag[attributes(cluster="default", alias="replica1")].value < 60
