"""The app that switches the integration on."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CeleryConfig(AppConfig):
    """Configuration of ``django_rwrouter.contrib.celery``."""

    name = "django_rwrouter.contrib.celery"
    label = "rwrouter_celery"
    verbose_name = _("Read/write routing of Celery tasks")

    def ready(self) -> None:
        """Listen to Celery; raises ``ImportError`` if it is not installed."""
        from django_rwrouter.contrib.celery import handlers

        handlers.connect()
