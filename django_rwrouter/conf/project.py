"""Access to the project's parsed ``RWROUTER`` setting."""

from __future__ import annotations

from functools import cache
from typing import Final

from django.apps import apps
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import SystemCheckError
from django.db import DEFAULT_DB_ALIAS

from django_rwrouter import process
from django_rwrouter.conf.options import Settings
from django_rwrouter.conf.parser import SETTING, read

DOCUMENTATION: Final = "https://django-rwrouter.readthedocs.io/en/latest/"


class AppNotInstalledError(ImproperlyConfigured, SystemCheckError):
    """The middleware or the router is used without the app; commands print it like a check's message."""


def require_app() -> None:
    """Raise ``AppNotInstalledError`` if the app, and with it checks and hooks, is not installed."""
    if apps.ready and not apps.is_installed("django_rwrouter"):
        raise AppNotInstalledError(
            "?: (django_rwrouter.E026) INSTALLED_APPS lacks 'django_rwrouter', which MIDDLEWARE or"
            " DATABASE_ROUTERS names: nothing would be checked, counted or kept off the replicas.\n"
            "\tHINT: Write INSTALLED_APPS += ['django_rwrouter'], then run manage.py migrate."
            f" {DOCUMENTATION}checks.html#e026"
        )


@cache
def get_settings() -> Settings:
    """Return the checked settings of this project.

    Raises ``ImproperlyConfigured`` with all their problems.
    """
    raw = getattr(django_settings, SETTING, {})
    parsed, problems = read(raw, django_settings.DATABASES or {DEFAULT_DB_ALIAS: {}})
    if parsed is None:
        raise ImproperlyConfigured("\n".join(map(str, problems)))
    return parsed


process.derives(get_settings.cache_clear, [SETTING])
