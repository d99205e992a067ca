"""How a finding is worded."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from django.core.checks import CheckMessage, Error, Info, Warning  # noqa: A004

TAG: Final = "django_rwrouter"
"""``manage.py check --tag django_rwrouter`` runs these alone."""

_KINDS: Final[Mapping[str, type[Error | Warning | Info]]] = {
    "E": Error,
    "W": Warning,
    "I": Info,
}


def found(number: str, message: str, hint: str) -> CheckMessage:
    """Make a message; the letter of its number says how serious it is."""
    kind = _KINDS[number[0]]
    more = f"Documentation: checks#{number.lower()}."
    return kind(message, hint=f"{hint} {more}", id=f"{TAG}.{number}")


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return a hint with the known name most like ``value``; empty if none is."""
    folded = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(value.lower(), folded, n=1)
    return f"Did you mean {folded[matches[0]]!r}?" if matches else ""


def by_name(value: str, known: Iterable[str]) -> str:
    """Return a hint for what is given by name or dotted path."""
    names = ", ".join(map(repr, known))
    return did_you_mean(value, known) or f"Write the dotted path of a class, or one of: {names}."


def named(names: Iterable[str]) -> str:
    """Return names as a sentence lists them."""
    *most, last = map(repr, names)
    return f"{', '.join(most)} and {last}" if most else last
