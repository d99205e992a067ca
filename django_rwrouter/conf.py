"""The ``RWROUTER`` setting: read lazily, checked whole, and never written back.

:func:`read` turns the raw dict into a :class:`Settings` and a list of what is wrong with it; the system
checks report that list, and :func:`get_settings` raises its first entry.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Final, Literal, TypeVar, cast

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS

from django_rwrouter.decision import Level

SETTING: Final = "RWROUTER"
DEFAULT_CLUSTER: Final = "default"

T = TypeVar("T")
Validator = Callable[[object], T]
"""Takes a raw value, returns the checked one; raises ``ValueError("must be ...")``, perhaps with a hint."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the setting."""

    id: str
    """The check's id without the app's label, such as ``"E002"``."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """One entry of ``REPLICAS``."""

    alias: str
    weight: float = 1.0
    """Its share of the reads, relative to the other replicas' weights."""
    zone: str = ""
    """Where the server runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """One primary and its replicas, with everything that may differ between clusters."""

    name: str
    primary: str = DEFAULT_DB_ALIAS
    replicas: tuple[ReplicaSettings, ...] = ()
    models: frozenset[str] | None = None
    """Lower-case ``app`` and ``app.model`` labels; ``None`` takes whatever no other cluster names."""
    consistency: Level = Level.WINDOW
    pin_seconds: float = 5.0
    token_seconds: float = 600.0
    """Seconds that a token with a position lives."""
    balancer: str = "random"
    replica_per: Literal["request", "query"] = "request"
    primary_only: frozenset[str] = frozenset()
    """Lower-case ``app`` and ``app.model`` labels."""
    outside_request: Literal["primary", "replica"] = "primary"
    read_only_sessions: bool = True
    wait_timeout: float = 0.05
    max_lag: float | None = None
    """Seconds; ``None`` follows ``pin_seconds``."""
    spill_limit: int = 10
    monotonic_reads: bool = False
    sync_replicas: int | Literal["all"] = 0
    sync_timeout: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CookieSettings:
    """The cookie of the ``cookie`` store."""

    name: str = "rwrouter"
    path: str = "/"
    domain: str | None = None
    secure: bool | None = None
    """``None`` follows ``SESSION_COOKIE_SECURE`` at the time the cookie is set."""
    httponly: bool = True
    samesite: Literal["Lax", "Strict", "None"] | None = "Lax"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSettings:
    """Where statistics are kept."""

    backend: str = "database"
    flush_seconds: float = 10.0
    retention_days: float = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How a process watches its replicas."""

    mode: Literal["thread", "inline", "off"] = "thread"
    interval: float = 1.0
    timeout: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole of ``RWROUTER``, checked."""

    enabled: Literal[True, False, "shadow"] = True
    stores: tuple[str, ...] = ("cookie",)
    cookie: CookieSettings = field(default_factory=CookieSettings)
    header: str = "X-Read-Your-Writes"
    zone: str = ""
    monitor: MonitorSettings = field(default_factory=MonitorSettings)
    stats: StatsSettings = field(default_factory=StatsSettings)
    clusters: tuple[ClusterSettings, ...] = (ClusterSettings(name=DEFAULT_CLUSTER),)

    @property
    def inert(self) -> bool:
        """Whether nothing is configured, so that the project behaves as without this package."""
        return not any(cluster.replicas or cluster.primary != DEFAULT_DB_ALIAS for cluster in self.clusters)


# --- validators of single values ---------------------------------------------------------------


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def _any_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  (all validators raise ValueError)
    return value


def _cookie_name(value: object) -> str:
    name = _text(value)
    try:
        SimpleCookie()[name] = ""
    except CookieError:
        raise ValueError("must be a name that a cookie can have") from None
    return name


def _header_name(value: object) -> str:
    name = _text(value)
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise ValueError("must be the name of a header: letters, digits and hyphens")
    return name


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")  # noqa: TRY004
    return value


def _positive(value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    try:
        number = float(cast("float", value)) if is_number else math.nan
    except OverflowError:
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError("must be a number greater than 0")
    return number


def _at_least_zero(value: object) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _positive(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("must be a whole number, 0 or more")
    return value


def _count_or_all(value: object) -> int | str:
    if value == "all":
        return "all"
    try:
        return _count(value)
    except ValueError as error:
        raise ValueError(f"{error}, or 'all'") from None


def _optional(inner: Validator[T]) -> Validator[T | None]:
    return lambda value: None if value is None else inner(value)


def _one_of(*allowed: object) -> Validator[object]:
    def validate(value: object) -> object:
        for choice in allowed:
            # 1 == True, and is not what anybody means by it.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return choice
        names = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"must be one of {names}", _hint(value, allowed))

    return validate


def _level(value: object) -> Level:
    name = value.value if isinstance(value, Level) else value
    return Level(cast("str", _one_of(*(level.value for level in Level))(name)))


def _labels(value: object) -> frozenset[str]:
    labels = _sequence(value)
    for label in labels:
        if not isinstance(label, str) or not re.fullmatch(r"\w+(\.\w+)?", label):
            raise ValueError(f"must list 'app' or 'app.Model' labels, and {label!r} is neither")
    return frozenset(label.lower() for label in cast("list[str]", labels))


def _sequence(value: object) -> list[object]:
    if isinstance(value, str) or not isinstance(value, (Sequence, set, frozenset)):
        raise ValueError("must be a list")  # noqa: TRY004
    return list(value)


def _stores(value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else _sequence(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError("must be the name of a store, a dotted path, or a list of these")
    return tuple(cast("list[str]", names))


def _replicas(value: object) -> tuple[ReplicaSettings, ...]:
    if isinstance(value, Mapping):
        return tuple(_replica(alias, options) for alias, options in value.items())
    try:
        aliases = _sequence(value)
    except ValueError:
        raise ValueError("must be a list of aliases, or a dict of alias to options") from None
    return tuple(_replica(alias, {}) for alias in aliases)


def _replica(alias: object, options: object) -> ReplicaSettings:
    if not isinstance(alias, str):
        raise ValueError(f"must name database aliases, and {alias!r} is not a string")  # noqa: TRY004
    if not isinstance(options, Mapping):
        raise ValueError(f"must give {alias!r} a dict such as {{'WEIGHT': 3}}, not {options!r}")  # noqa: TRY004
    for key in options:
        if key not in _REPLICA_KEYS:
            raise ValueError(f"gives {alias!r} the unknown option {key!r}", _hint(key, _REPLICA_KEYS))
    values: dict[str, object] = {}
    for key, value in options.items():
        attribute, validate = _REPLICA_KEYS[key]
        try:
            values[attribute] = validate(value)
        except ValueError as error:
            problem, *hint = error.args
            raise ValueError(f"gives {alias!r} {key} {value!r}, which {problem}", *hint) from None
    return ReplicaSettings(alias=alias, **values)  # type: ignore[arg-type]


# --- the keys ----------------------------------------------------------------------------------

Keys = Mapping[str, tuple[str, Validator[object]]]
"""Key of the setting to the attribute that holds it and its validator."""

_REPLICA_KEYS: Final[Keys] = {"WEIGHT": ("weight", _positive), "ZONE": ("zone", _any_text)}
_COOKIE_KEYS: Final[Keys] = {
    "NAME": ("name", _cookie_name),
    "PATH": ("path", _text),
    "DOMAIN": ("domain", _optional(_text)),
    "SECURE": ("secure", _optional(_flag)),
    "HTTPONLY": ("httponly", _flag),
    "SAMESITE": ("samesite", _one_of("Lax", "Strict", "None", None)),
}
_MONITOR_KEYS: Final[Keys] = {
    "MODE": ("mode", _one_of("thread", "inline", "off")),
    "INTERVAL": ("interval", _positive),
    "TIMEOUT": ("timeout", _positive),
}
_STATS_KEYS: Final[Keys] = {
    "BACKEND": ("backend", _text),
    "FLUSH_SECONDS": ("flush_seconds", _positive),
    "RETENTION_DAYS": ("retention_days", _positive),
}


def _nested(cls: Callable[..., object], keys: Keys) -> Validator[object]:
    """Validate a dict that is merged with its defaults."""

    def validate(value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("must be a dict")  # noqa: TRY004
        values: dict[str, object] = {}
        for key, entry in value.items():
            if key not in keys:
                raise ValueError(f"has the unknown key {key!r}", _hint(key, keys))
            attribute, inner = keys[key]
            try:
                values[attribute] = inner(entry)
            except ValueError as error:
                problem, *hint = error.args
                raise ValueError(f"has {key} {entry!r}, which {problem}", *hint) from None
        return cls(**values)

    return validate


_GLOBAL_KEYS: Final[Keys] = {
    "ENABLED": ("enabled", _one_of(True, False, "shadow")),
    "STORE": ("stores", _stores),
    "COOKIE": ("cookie", _nested(CookieSettings, _COOKIE_KEYS)),
    "HEADER": ("header", _header_name),
    "ZONE": ("zone", _any_text),
    "MONITOR": ("monitor", _nested(MonitorSettings, _MONITOR_KEYS)),
    "STATS": ("stats", _nested(StatsSettings, _STATS_KEYS)),
}
_CLUSTER_KEYS: Final[Keys] = {
    "PRIMARY": ("primary", _text),
    "REPLICAS": ("replicas", _replicas),
    "CONSISTENCY": ("consistency", _level),
    "PIN_SECONDS": ("pin_seconds", _positive),
    "TOKEN_SECONDS": ("token_seconds", _positive),
    "BALANCER": ("balancer", _text),
    "REPLICA_PER": ("replica_per", _one_of("request", "query")),
    "PRIMARY_ONLY": ("primary_only", _labels),
    "OUTSIDE_REQUEST": ("outside_request", _one_of("primary", "replica")),
    "READ_ONLY_SESSIONS": ("read_only_sessions", _flag),
    "WAIT_TIMEOUT": ("wait_timeout", _at_least_zero),
    "MAX_LAG": ("max_lag", _positive),
    "SPILL_LIMIT": ("spill_limit", _count),
    "MONOTONIC_READS": ("monotonic_reads", _flag),
    "SYNC_REPLICAS": ("sync_replicas", _count_or_all),
    "SYNC_TIMEOUT": ("sync_timeout", _positive),
}
NOT_YET: Final = frozenset(
    {
        "HEADER",
        "MAX_LAG",
        "MONITOR",
        "MONOTONIC_READS",
        "SPILL_LIMIT",
        "SYNC_REPLICAS",
        "SYNC_TIMEOUT",
        "TOKEN_SECONDS",
        "WAIT_TIMEOUT",
        "ZONE",
    }
)
"""Keys that are checked already and act in a later version; a system check names those in use."""
_MODELS_KEY: Final[Keys] = {"MODELS": ("models", _labels)}


# --- reading the whole -------------------------------------------------------------------------


def read(raw: object, databases: Collection[str]) -> tuple[Settings | None, list[Problem]]:
    """Check the raw setting against the aliases in ``databases``.

    Returns the settings, or ``None`` where they are unusable, and all the problems found.
    """
    if not isinstance(raw, Mapping):
        hint = f"Write {SETTING} = {{'REPLICAS': ['replica1']}}."
        return None, [Problem("E001", f"{SETTING} must be a dict, not {raw!r}.", hint)]
    problems: list[Problem] = []
    clusters = raw.get("CLUSTERS")
    shared = {key: value for key, value in raw.items() if key != "CLUSTERS"}
    whole = _values(SETTING, shared, {**_GLOBAL_KEYS, **_CLUSTER_KEYS}, problems)
    if clusters is None:
        parsed = [_cluster(DEFAULT_CLUSTER, whole)]
    else:
        parsed = list(_clusters(clusters, whole, problems))
    problems.extend(_alias_problems(parsed, databases, named=clusters is not None))
    if clusters is not None:
        problems.extend(_model_problems(parsed))
    if problems:
        return None, problems
    global_attributes = {attribute for attribute, _validate in _GLOBAL_KEYS.values()}
    values = {name: value for name, value in whole.items() if name in global_attributes}
    return Settings(clusters=tuple(parsed), **values), []  # type: ignore[arg-type]


def _values(
    where: str, raw: Mapping[object, object], keys: Keys, problems: list[Problem]
) -> dict[str, object]:
    """Return the checked values of one dict by attribute, noting what is wrong."""
    values: dict[str, object] = {}
    for key, value in raw.items():
        if key not in keys:
            problems.append(_unknown_key(where, key, keys))
            continue
        attribute, validate = keys[cast("str", key)]
        try:
            values[attribute] = validate(value)
        except ValueError as error:
            problem, *hint = error.args
            message = f"{where}[{key!r}] is {value!r}, but it {problem}."
            problems.append(Problem("E003", message, *hint))
    return values


def _unknown_key(where: str, key: object, keys: Keys) -> Problem:
    if key == "MODELS":
        hint = "Move it into an entry of CLUSTERS, or remove it: without CLUSTERS all models are routed."
        return Problem("E004", f"{where}['MODELS'] belongs into an entry of CLUSTERS.", hint)
    if key in _GLOBAL_KEYS:
        hint = f"It applies to the whole project: move it up to {SETTING}[{key!r}]."
        return Problem("E004", f"{where}[{key!r}] cannot differ between clusters.", hint)
    known = sorted(keys) if "MODELS" in keys else sorted([*keys, "CLUSTERS"])
    hint = _hint(key, known, f"Known keys: {', '.join(known)}.")
    return Problem("E002", f"{where} has the unknown key {key!r}.", hint)


def _clusters(
    raw: object, shared: Mapping[str, object], problems: list[Problem]
) -> Iterator[ClusterSettings]:
    where = f"{SETTING}['CLUSTERS']"
    if not isinstance(raw, Mapping) or not raw:
        hint = "Write {'main': {'PRIMARY': 'default', 'REPLICAS': ['replica1']}}."
        problems.append(Problem("E003", f"{where} must be a dict of clusters by name, not {raw!r}.", hint))
        return
    for name, entry in raw.items():
        if not isinstance(name, str) or not name or not isinstance(entry, Mapping):
            problems.append(Problem("E003", f"{where}[{name!r}] must be a dict, under a name."))
            continue
        keys = {**_CLUSTER_KEYS, **_MODELS_KEY}
        own = _values(f"{where}[{name!r}]", entry, keys, problems)
        yield _cluster(name, {**shared, **own})


def _cluster(name: str, values: Mapping[str, object]) -> ClusterSettings:
    attributes = {attribute for attribute, _validate in (_CLUSTER_KEYS | _MODELS_KEY).values()}  # type: ignore[operator]
    own = {key: value for key, value in values.items() if key in attributes}
    return ClusterSettings(name=name, **own)  # type: ignore[arg-type]


def _alias_problems(
    clusters: Sequence[ClusterSettings], databases: Collection[str], *, named: bool
) -> Iterator[Problem]:
    """Yield what is wrong with the aliases; ``named`` tells whether the clusters stand in ``CLUSTERS``."""
    places: dict[str, str] = {}
    for cluster in clusters:
        where = f"{SETTING}['CLUSTERS'][{cluster.name!r}]" if named else SETTING
        members = [("PRIMARY", cluster.primary)]
        members += [("REPLICAS", replica.alias) for replica in cluster.replicas]
        for key, alias in members:
            place = f"{where}[{key!r}]"
            if alias not in databases:
                hint = _hint(alias, databases, f"DATABASES has: {', '.join(sorted(databases))}.")
                yield Problem("E005", f"{place} names {alias!r}, which is not in DATABASES.", hint)
            elif alias in places:
                hint = "A database has one role: remove it from one of the two places."
                yield Problem("E006", f"{place} names {alias!r}, and so does {places[alias]}.", hint)
            places.setdefault(alias, place)


def _model_problems(clusters: Sequence[ClusterSettings]) -> Iterator[Problem]:
    catch_all = [cluster.name for cluster in clusters if cluster.models is None]
    if len(catch_all) > 1:
        names = ", ".join(map(repr, catch_all))
        hint = "Give all but one of them MODELS: the one without takes what no other names."
        yield Problem("E007", f"The clusters {names} of {SETTING} all lack MODELS.", hint)
    owners: dict[str, str] = {}
    for cluster in clusters:
        for label in sorted(cluster.models or ()):
            if label in owners:
                where = f"{owners[label]!r} and {cluster.name!r}"
                hint = "A model belongs to one cluster: remove the label from one of them."
                yield Problem("E007", f"The clusters {where} of {SETTING} both name {label!r}.", hint)
            owners.setdefault(label, cluster.name)


def _hint(value: object, known: Collection[object], otherwise: str = "") -> str:
    """Return "Did you mean 'x'?", or another hint where no known name is like the value."""
    guess = _guess(value, known)
    return f"Did you mean {guess!r}?" if guess else otherwise


def _guess(value: object, known: Collection[object]) -> str:
    names = [name for name in known if isinstance(name, str)]
    folded = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(str(value).lower(), folded, n=1)
    return folded[matches[0]] if matches else ""


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


def _forget(*, setting: str, **_kwargs: object) -> None:
    global _current  # noqa: PLW0603
    if setting == SETTING:
        _current = None


setting_changed.connect(_forget, dispatch_uid="django_rwrouter.conf")
