"""OpenTelemetry: what the router decided, on the span of each statement, and as metrics.

Switched on by ``"django_rwrouter.contrib.opentelemetry"`` in ``INSTALLED_APPS``. Providers and exporters are
the project's, set up before or after.
"""
