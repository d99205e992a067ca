"""Builds the check messages, and formats the names that they mention."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004

from django_rwrouter.conf import DOCUMENTATION
from django_rwrouter.conf.validators import did_you_mean

TAG: Final = "django_rwrouter"
"""``manage.py check --tag django_rwrouter`` runs these alone."""


def message(number: str, text: str, hint: str) -> CheckMessage:
    """Make a message; the letter of its number says how serious it is."""
    kind = {"E": Error, "W": Warning, "I": Info}[number[0]]
    return kind(text, hint=f"{hint} {DOCUMENTATION}checks.html#{number.lower()}", id=f"{TAG}.{number}")


def by_name(value: str, names: Collection[str]) -> str:
    """Return a hint for what is given by name or dotted path."""
    listed = ", ".join(map(repr, names))
    return did_you_mean(value, names, f"Write the dotted path of a class, or one of: {listed}.")


def named(names: Iterable[str]) -> str:
    """Return names as a sentence lists them."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} and {last}" if most else last
