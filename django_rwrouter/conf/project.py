"""The settings in force."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

from django_rwrouter import process
from django_rwrouter.conf.options import (
    Settings,
)
from django_rwrouter.conf.parser import SETTING, read

# --- the settings in force ---------------------------------------------------------------------
_current: Settings | None = None


def get_settings() -> Settings:
    """Return the checked settings of this project.

    Raises ``ImproperlyConfigured`` with everything that is wrong with them.
    """
    global _current  # noqa: PLW0603
    if _current is None:
        raw = getattr(django_settings, SETTING, {})
        found, problems = read(raw, django_settings.DATABASES or {DEFAULT_DB_ALIAS: {}})
        if found is None:
            raise ImproperlyConfigured("\n".join(map(str, problems)))
        _current = found
    return _current


def _forget() -> None:
    global _current  # noqa: PLW0603
    _current = None


process.derives(_forget, [SETTING])
