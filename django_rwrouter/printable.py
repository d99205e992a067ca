"""Escapes control characters in text that people have typed, before a terminal or a log shows it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

T = TypeVar("T")


def printable(value: T) -> T:
    """Escape control characters, line breaks and bidirectional marks in all strings of a value.

    Covers dataclasses, tuples (named ones too), lists and dicts. Letters of every script stay as they are.
    """
    return cast("T", _printable(value))


def _printable(value: Any) -> Any:
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_printable_character, value))
    if is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in fields(value) if field.init]
        return replace(value, **{name: _printable(getattr(value, name)) for name in names})
    if isinstance(value, (tuple, list)):
        return getattr(value, "_make", type(value))(map(_printable, value))
    if isinstance(value, dict):
        return {_printable(key): _printable(part) for key, part in value.items()}
    return value


def _printable_character(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()
