"""Errors of subcommands, as an operator can understand them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error

from django_rwrouter.events import emit
from django_rwrouter.operations import overrides


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors of the settings and of the primary into ``CommandError``, without a driver's text."""
    try:
        yield
    except (ImproperlyConfigured, ValueError) as error:
        raise CommandError(str(error)) from error
    except Error as error:
        raise CommandError(
            f"The primary {overrides.database()!r} could not be asked ({emit.why(error)}). What is to hold"
            " for all processes is kept there. `manage.py rwrouter doctor` may know more."
        ) from None
