"""The app that switches the integration on."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OpenTelemetryConfig(AppConfig):
    """Configuration of ``django_rwrouter.contrib.opentelemetry``."""

    name = "django_rwrouter.contrib.opentelemetry"
    label = "rwrouter_opentelemetry"
    verbose_name = _("Traces and metrics of read/write routing")

    def ready(self) -> None:
        """Watch the statements; raises ``ImportError`` if OpenTelemetry is not installed."""
        from django_rwrouter.contrib.opentelemetry import metrics, spans

        spans.connect()
        metrics.connect()
