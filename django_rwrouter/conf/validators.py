"""Validators of single values: each takes the raw value and returns the parsed one.

A validator raises ``ValueError("must be ...")``, with a hint as the second argument where it has one.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import TypeVar, cast

from django_rwrouter.decision import Level

T = TypeVar("T")
Validator = Callable[[object], T]

Keys = Mapping[str, tuple[str, Validator[object]]]
"""By key of the setting, the attribute that holds it and its validator."""


def text(value: object) -> str:
    """Accept a non-empty string."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def any_text(value: object) -> str:
    """Accept a string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  (all validators raise ValueError)
    return value


def dotted_path(value: object) -> str:
    """Accept a dotted path."""
    if not isinstance(value, str) or not re.fullmatch(r"\w+(\.\w+)+", value):
        raise ValueError("must be a dotted path, such as 'project.databases.follow'")
    return value


def cookie_name(value: object) -> str:
    """Accept a valid name of a cookie."""
    name = text(value)
    try:
        SimpleCookie()[name] = ""
    except CookieError:
        raise ValueError("must be a name that a cookie can have") from None
    return name


def header_name(value: object) -> str:
    """Accept a valid name of a header."""
    name = text(value)
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ValueError("must be the name of a header: letters, digits and hyphens")
    return name


def _refuse_string(value: object, expected: str, kind: str) -> None:
    """Refuse a string in place of a number or flag, as values from the environment are strings."""
    if isinstance(value, str):
        raise ValueError(  # noqa: TRY004
            f"is a string, and {expected}",
            f"Write it without quotes; if it is from the environment, env.{kind}('NAME') of django-environ"
            " reads it.",
        )


def flag(value: object) -> bool:
    """Accept ``True`` and ``False`` alone."""
    _refuse_string(value, "must be True or False", "bool")
    if not isinstance(value, bool):
        raise ValueError("must be True or False")  # noqa: TRY004
    return value


def positive(value: object) -> float:
    """Accept a number greater than 0, as a float."""
    _refuse_string(value, "must be a number greater than 0", "float")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        number = float(cast("float", value)) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError("must be a number greater than 0")
    return number


def at_least_zero(value: object) -> float:
    """Accept 0 or a greater number, as a float."""
    return 0.0 if value == 0 and not isinstance(value, bool) else positive(value)


def count(value: object) -> int:
    """Accept a whole number, 0 or more."""
    _refuse_string(value, "must be a whole number, 0 or more", "int")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a whole number, 0 or more")
    return value


def count_or_all(value: object) -> int | str:
    """Accept a whole number, 0 or more, or ``"all"``."""
    if value == "all":
        return "all"
    try:
        return count(value)
    except ValueError as error:
        problem, *hint = error.args
        raise ValueError(f"{problem}, or 'all'", *hint) from None


def optional(inner: Validator[T]) -> Validator[T | None]:
    """Return a validator that accepts ``None``, too."""
    return lambda value: None if value is None else inner(value)


def one_of(*allowed: object) -> Validator[object]:
    """Return a validator that accepts these values alone."""

    def validate(value: object) -> object:
        if isinstance(value, str) and value.lower() in {"true", "false"} and True in allowed:
            _refuse_string(value, f"must be one of {', '.join(map(repr, allowed))}", "bool")
        for choice in allowed:
            # 1 == True, but nobody means True by it.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        names = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"must be one of {names}", did_you_mean(value, allowed))

    return validate


def level(value: object) -> Level:
    """Accept a level that may be a project's default: all but ``bounded``."""
    name = value.value if isinstance(value, Level) else value
    if name == Level.BOUNDED.value:
        raise ValueError(
            "is a level for blocks alone, where its bound is given",
            "Write 'window' or 'causal' here, and `with consistency('bounded', max_staleness=2.0):` around"
            " the reads that are meant.",
        )
    levels = [level.value for level in Level if level is not Level.BOUNDED]
    return Level(cast("str", one_of(*levels)(name)))


def labels(value: object) -> frozenset[str]:
    """Accept a list of ``app`` and ``app.Model`` labels; return them in lower case."""
    labels = sequence(value)
    for label in labels:
        if not isinstance(label, str) or not re.fullmatch(r"\w+(\.\w+)?", label):
            raise ValueError(f"must list 'app' or 'app.Model' labels, and {label!r} is neither")
    return frozenset(label.lower() for label in cast("list[str]", labels))


def sequence(value: object) -> list[object]:
    """Accept a list, a tuple or a set, and return a list."""
    if isinstance(value, str):
        raise ValueError("is a string, and must be a list", f"Write [{value!r}].")  # noqa: TRY004
    if not isinstance(value, (Sequence, set, frozenset)):
        raise ValueError("must be a list")  # noqa: TRY004
    return list(value)


def stores(value: object) -> tuple[str, ...]:
    """Accept one name of a store, or a list of names."""
    names = [value] if isinstance(value, str) else sequence(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be the name of a store, a dotted path, or a list of these")
    return tuple(cast("list[str]", names))


def views(value: object) -> tuple[str, ...]:
    """Accept a list of view names and path prefixes; a prefix begins with a slash."""
    entries = sequence(value)
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip():
            raise ValueError(f"must list view names or path prefixes, and {entry!r} is neither")
        if "/" in entry[1:] and not entry.startswith("/"):
            raise ValueError(
                f"has {entry!r}, which is no view name", f"A path begins with a slash: '/{entry}'."
            )
    return tuple(cast("list[str]", entries))


def nested(cls: Callable[..., object], keys: Keys) -> Validator[object]:
    """Return a validator of a dict, whose missing keys have their defaults."""

    def validate(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("must be a dict")  # noqa: TRY004
        values: dict[str, object] = {}
        for key, entry in value.items():
            if key not in keys:
                raise ValueError(f"has the unknown key {key!r}", did_you_mean(key, keys))
            attribute, inner = keys[key]
            try:
                values[attribute] = inner(entry)
            except ValueError as error:
                problem, *hint = error.args
                raise ValueError(f"has {key} {entry!r}, which {problem}", *hint) from None
        return cls(**values)

    return validate


def did_you_mean(value: object, known: Collection[object], otherwise: str = "") -> str:
    """Return "Did you mean 'x'?", or another hint where no known name is like the value."""
    guess = _guess(value, known)
    return f"Did you mean {guess!r}?" if guess else otherwise


def _guess(value: object, known: Collection[object]) -> str:
    names = [name for name in known if isinstance(name, str)]
    folded = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(str(value).lower(), folded, n=1)
    return folded[matches[0]] if matches else ""
