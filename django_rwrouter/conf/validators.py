"""Validators of single values: each takes the raw value and returns the parsed one.

A validator raises ``ValueError("must be ...")``, with a hint as the second argument where it has one.
:func:`parsed` calls it, so that nothing that stands in a setting can raise anything else.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, fields
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, TypeVar, cast

from django.conf import settings as django_settings
from django.utils.functional import Promise

from django_rwrouter.decision import Level

T = TypeVar("T")
Validator = Callable[[object], T]

Keys = Mapping[str, tuple[str, Validator[object]]]
"""By key of the setting, the attribute that holds it and its validator."""


def option(validate: Validator[object], default: object, *, key: str = "") -> Any:
    """Return the field of a key of the setting; its ``key`` is the attribute in capitals if not given."""
    return field(default=default, metadata={"key": key, "validate": validate})


def keys_of(cls: type) -> Keys:
    """Return the keys of a class whose fields are made by :func:`option`; other fields have none."""
    return {
        option.metadata["key"] or option.name.upper(): (option.name, option.metadata["validate"])
        for option in fields(cls)
        if option.metadata
    }


def parsed(validate: Validator[T], value: object) -> T:
    """Return the parsed value; raises ``ValueError`` also for one whose own methods raise."""
    try:
        return validate(value)
    except Exception as error:
        if isinstance(error, ValueError) and error.args:
            raise
        raise ValueError(f"cannot be read: {type(error).__name__}: {error}") from error


_SHOWN: Final = 200
"""Characters of a value that an error shows."""


def shown(value: object) -> str:
    """Return a value as errors show it: in Python's notation, not too long."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  (its own method's, or that of a number with too many digits)
        return f"<{type(value).__qualname__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _string(expected: str, fits: Callable[[str], object] = lambda _value: True) -> Validator[str]:
    """Return a validator that accepts the strings for which ``fits`` is true."""

    def validate(value: object) -> str:
        if isinstance(value, Promise):
            raise ValueError("is a lazy string, and must be a plain one")  # noqa: TRY004
        if not isinstance(value, str) or not fits(value):
            raise ValueError(expected)
        return value

    return validate


def _is_cookie_name(name: str) -> bool:
    try:
        SimpleCookie()[name] = ""
    except CookieError:
        return False
    return True


any_text = _string("must be a string")
text = _string("must be a string that is not empty", len)
cookie_path = _string(
    "must be a path that begins with a slash, without ';' and control characters",
    re.compile(r"/[^;\x00-\x1f\x7f-\U0010ffff]*").fullmatch,
)
cookie_domain = _string(
    "must be a domain, such as 'example.com'", re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*").fullmatch
)
dotted_path = _string(
    "must be a dotted path, such as 'project.databases.follow'", re.compile(r"\w+(\.\w+)+").fullmatch
)
cookie_name = _string("must be a name that a cookie can have", _is_cookie_name)
header_name = _string(
    "must be the name of a header: letters, digits and hyphens", re.compile(r"[A-Za-z0-9-]+").fullmatch
)


def _wrong(value: object, expected: str, kind: str) -> ValueError:
    """Return the error of a value that is no number or flag: a value from the environment is a string."""
    if not isinstance(value, str):
        return ValueError(expected)
    reader = f"env.{kind}('NAME') of django-environ reads it."
    hint = f"Write it without quotes; if it is from the environment, {reader}"
    return ValueError(f"is a string, and {expected}", hint)


def _of_type(kind: type[T], expected: str, fits: Callable[[Any], bool]) -> Validator[T]:
    """Return a validator of flags or numbers for which ``fits`` is true; a whole number is a float, too."""
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)

    def validate(value: object) -> T:
        if isinstance(value, accepted) and isinstance(value, bool) is (kind is bool) and fits(value):
            with suppress(OverflowError):
                return cast("Callable[[object], T]", kind)(value)
        raise _wrong(value, expected, kind.__name__)

    return validate


flag = _of_type(bool, "must be True or False", lambda _value: True)
_MOST: Final = 10**9
"""Thirty years in seconds. More overflows timeouts of threads, sockets and caches."""
positive = _of_type(
    float, f"must be a number greater than 0, and at most {_MOST}", lambda number: 0 < number <= _MOST
)
at_least_zero = _of_type(
    float, f"must be 0 or a greater number, at most {_MOST}", lambda number: 0 <= number <= _MOST
)
count = _of_type(int, "must be a whole number, 0 or more", lambda number: number >= 0)


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
        for choice in allowed:
            # 1 == True, but nobody means True by it.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        expected = f"must be one of {', '.join(map(repr, allowed))}"
        if isinstance(value, str) and value.lower() in {"true", "false"} and True in allowed:
            raise _wrong(value, expected, "bool")
        raise ValueError(expected, did_you_mean(value, allowed))

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
    labels = _strings(value, "'app' or 'app.Model' labels", re.compile(r"\w+(\.\w+)?").fullmatch)
    return frozenset(map(str.lower, labels))


def _strings(value: object, expected: str, fits: Callable[[str], object]) -> list[str]:
    entries = sequence(value)
    for entry in entries:
        if not isinstance(entry, str) or not fits(entry):
            raise ValueError(f"must list {expected}, and {shown(entry)} is neither")
    return cast("list[str]", entries)


def sequence(value: object) -> list[object]:
    """Accept a list, a tuple or a set, and return a list."""
    if isinstance(value, str):
        raise ValueError("is a string, and must be a list", f"Write [{shown(value)}].")  # noqa: TRY004
    if not isinstance(value, (Sequence, set, frozenset)):
        raise ValueError("must be a list")  # noqa: TRY004
    return list(value)


def stores(value: object) -> tuple[str, ...]:
    """Accept one name of a store, or a list of names."""
    names = [value] if isinstance(value, str) else sequence(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be the name of a store, a dotted path, or a list of these")
    return tuple(cast("list[str]", names))


def share(value: object) -> str:
    """Accept ``"host"``, ``"none"``, and ``"cache:<alias>"`` with an alias of ``CACHES``."""
    kind, _, alias = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "cache":
        caches = django_settings.CACHES
        if alias not in caches:
            raise ValueError(
                "must name a cache of CACHES", did_you_mean(alias, caches, f"It has {list(caches)}.")
            )
        return f"cache:{alias}"
    return cast("str", one_of("host", "none", "cache:<alias>")(value))


def views(value: object) -> tuple[str, ...]:
    """Accept a list of view names and path prefixes; a prefix begins with a slash."""
    entries = _strings(value, "view names or path prefixes", str.strip)
    for entry in entries:
        if "/" in entry[1:] and not entry.startswith("/"):
            raise ValueError(
                f"has {entry!r}, which is no view name", f"A path begins with a slash: '/{entry}'."
            )
    return tuple(entries)


def nested(cls: type) -> Validator[object]:
    """Return a validator of a dict, whose missing keys have their defaults."""

    def validate(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("must be a dict")  # noqa: TRY004
        return instance(cls, value, "has", "key")

    return validate


def instance(cls: type[T], raw: Mapping[object, object], verb: str, noun: str, **values: object) -> T:
    """Return an instance with the ``raw`` values of its keys; ``verb`` and ``noun`` begin its errors."""
    keys: Mapping[Any, tuple[str, Validator[object]]] = keys_of(cls)
    for key, value in raw.items():
        if key not in keys:
            raise ValueError(f"{verb} the unknown {noun} {shown(key)}", did_you_mean(key, keys))
        attribute, validate = keys[key]
        try:
            values[attribute] = parsed(validate, value)
        except ValueError as error:
            problem, *hint = error.args
            raise ValueError(f"{verb} {key} {shown(value)}, which {problem}", *hint) from None
    return cls(**values)


def did_you_mean(value: object, names: Collection[object], otherwise: str = "") -> str:
    """Return "Did you mean 'x'?", or another hint where none of the names is like the value."""
    folded = {name.lower(): name for name in names if isinstance(name, str)}
    text = value if isinstance(value, str) else shown(value)
    matches = difflib.get_close_matches(text[:_SHOWN].lower(), folded, n=1)
    return f"Did you mean {folded[matches[0]]!r}?" if matches else otherwise
