"""Parses and formats the numbers of subcommands."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from typing import Final

_LONGEST: Final = 365 * 86_400
"""Seconds. More is a mistake, and overflows drivers, locks and calendars."""


def seconds(text: str) -> float:
    """Read a number of seconds, more than 0."""
    value = age(text)
    if not value:
        raise ArgumentTypeError("0 seconds are too few.")
    return value


def age(text: str) -> float:
    """Read a number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _LONGEST:  # NaN compares with nothing.
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {_LONGEST}.")
    return value


def minutes(text: str) -> int:
    """Read a number of minutes for which there are statistics in detail."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 60:  # noqa: PLR2004
        raise ArgumentTypeError(f"{text!r} is not a number of minutes, from 1 to 60.")
    return value


def counted(number: int | str, one: str, many: str) -> str:
    """Write a number with its noun."""
    return f"{number} {one if number == 1 else many}"
