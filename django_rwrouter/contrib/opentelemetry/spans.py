"""Attributes on the span of each statement, whoever makes that span.

The instrumentations of database drivers begin a span inside the driver's ``execute()`` and end it there: it
is not the current one before, when the router decides, nor after, when ``statement_routed`` is sent. So an
execute wrapper leaves in a context variable what is known while a statement runs, and a span processor puts
it on the client span that is started meanwhile. Nothing has to be known of the instrumentation, and no second
span lies around its own.

Where nobody has started one, this makes it, after the statement and with the statement's times: so there is
exactly one, whether a driver is instrumented or not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter, time_ns
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from django_rwrouter import __version__
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.contrib.opentelemetry import metrics
from django_rwrouter.contrib.statement_recording import level_in_force
from django_rwrouter.databases import get_product
from django_rwrouter.databases.sql import classify, text_of
from django_rwrouter.decision import Decision
from django_rwrouter.execution import announcements, hook

SUPPRESSED: Final = "suppress_instrumentation"
"""Set in OpenTelemetry's context where no instrumentation shall make spans."""
_VERB: Final = re.compile(r"\s*\(*\s*(\w+)")

_tracer: Final = trace.get_tracer("django_rwrouter", __version__)


@dataclass(slots=True, kw_only=True)
class _Running:
    """The statement that runs."""

    text: str
    decision: Decision
    connection: BaseDatabaseWrapper
    attributes: dict[str, str]
    """What is known of it, in a namespace of their own: ``db.`` is that of the conventions."""
    started: int = field(default_factory=time_ns)
    seconds: float = 0.0
    failure: BaseException | None = None
    has_span: bool = False
    """Whether somebody has started a span for it."""


_running: Final[ContextVar[_Running | None]] = ContextVar("rwrouter_opentelemetry", default=None)


class RoutingSpanProcessor(SpanProcessor):
    """Adds the router's attributes to the client spans that are started while a statement runs.

    It adds itself to the global tracer provider at the first statement; other providers of a project get one
    by ``provider.add_span_processor(RoutingSpanProcessor())``.
    """

    def on_start(self, span: Span, parent_context: otel_context.Context | None = None) -> None:
        """Take the span if it is the statement's."""
        running = _running.get()
        if running is not None and span.kind is SpanKind.CLIENT:
            running.has_span = True
            span.set_attributes(running.attributes)


_lock: Final = threading.Lock()
_providers: Final[set[trace.TracerProvider]] = set()
"""Those that were given the processor, whenever the project sets one."""


def _has_processor(provider: trace.TracerProvider) -> bool:
    """See to it that a provider has the processor; return whether: not one without OpenTelemetry's SDK."""
    if provider not in _providers and isinstance(provider, TracerProvider):
        with _lock:
            if provider not in _providers:
                provider.add_span_processor(RoutingSpanProcessor())
                _providers.add(provider)
    return provider in _providers


def connect() -> None:
    """Watch every connection; may be called again."""
    connection_created.connect(_prepare, dispatch_uid="django_rwrouter.contrib.opentelemetry")
    for connection in connections.all(initialized_only=True):
        _prepare(connection=connection)


def _prepare(*, connection: BaseDatabaseWrapper, **_kwargs: object) -> None:
    wrappers = connection.execute_wrappers
    if observe in wrappers:
        return
    # Inside the router's own, which tells the decision, wherever that is or will be.
    wrappers.insert(wrappers.index(hook.observe) + 1 if hook.observe in wrappers else 0, observe)


def observe(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Run one statement, and tell OpenTelemetry about it (an execute wrapper)."""
    decision: Decision | None = context.get(announcements.DECISION)
    if decision is None:
        return execute(sql, params, many, context)
    connection: BaseDatabaseWrapper = context["connection"]
    cluster, text = get_topology().by_alias[decision.alias], text_of(sql, connection)
    attributes = {
        "rwrouter.cluster": cluster.name,
        "rwrouter.alias": decision.alias,
        # What the statement does: the router may have been asked for a write before one that reads.
        "rwrouter.operation": classify(text, connection.vendor).kind.value,
        "rwrouter.reason": decision.reason.value,
        "rwrouter.level": level_in_force(cluster),
    }
    if decision.would_be is not None:
        attributes["rwrouter.would_be"] = decision.would_be
    with_spans = _has_processor(trace.get_tracer_provider())
    running = _Running(text=text, decision=decision, connection=connection, attributes=attributes)
    token, before = _running.set(running), perf_counter()
    try:
        return execute(sql, params, many, context)
    except BaseException as error:
        running.failure = error
        raise
    finally:
        running.seconds = perf_counter() - before
        _running.reset(token)
        metrics.record(attributes, get_product(connection).system, running.seconds, running.failure)
        if with_spans and not running.has_span:
            _make_span(running)


def _make_span(statement: _Running) -> None:
    """Make a span of a statement that has ended, inside the current one.

    Where there is none, a statement would be a trace of its own: that helps nobody.
    """
    if not trace.get_current_span().is_recording() or otel_context.get_value(SUPPRESSED):
        return
    product, model = get_product(statement.connection), statement.decision.model
    verb = _VERB.match(statement.text)
    summary = " ".join(filter(None, [verb and verb[1].upper(), model._meta.db_table if model else ""]))
    # The text is with placeholders.
    attributes = {"db.system.name": product.system, "db.query.text": statement.text, **statement.attributes}
    if summary:
        attributes["db.query.summary"] = summary
    if not product.is_file:
        attributes["db.namespace"] = str(statement.connection.settings_dict["NAME"])
    if statement.failure is not None:
        attributes["error.type"] = type(statement.failure).__qualname__
    span = _tracer.start_span(
        summary or product.system, kind=SpanKind.CLIENT, attributes=attributes, start_time=statement.started
    )
    if statement.failure is not None:
        span.set_status(Status(StatusCode.ERROR))
    span.end(end_time=statement.started + round(statement.seconds * 1e9))
