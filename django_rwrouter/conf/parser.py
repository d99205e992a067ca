"""Parses the ``RWROUTER`` setting.

:func:`read` turns the raw dict into :class:`Settings` or a list of problems. The system checks report the
problems; :func:`get_settings` raises them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from django_rwrouter.conf.options import (
    DEFAULT_CLUSTER,
    ClusterSettings,
    CookieSettings,
    MonitorSettings,
    ReplicaSettings,
    Settings,
    StatsSettings,
)
from django_rwrouter.conf.validators import (
    Keys,
    any_text,
    at_least_zero,
    cookie_name,
    count,
    count_or_all,
    did_you_mean,
    dotted_path,
    flag,
    header_name,
    labels,
    level,
    nested,
    one_of,
    optional,
    positive,
    sequence,
    stores,
    text,
    views,
)

SETTING: Final = "RWROUTER"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of the setting."""

    id: str
    """The check's id without the app's label, such as ``"E002"``."""
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


# --- the keys ----------------------------------------------------------------------------------
_REPLICA_KEYS: Final[Keys] = {
    "WEIGHT": ("weight", positive),
    "ZONE": ("zone", any_text),
    "LABEL": ("label", any_text),
    "EXCEPT": ("excepted", labels),
    "DELAYED": ("delayed", flag),
}


def _replicas(value: object) -> tuple[ReplicaSettings, ...]:
    if isinstance(value, Mapping):
        return tuple(_replica(alias, options) for alias, options in value.items())
    try:
        aliases = sequence(value)
    except ValueError as error:
        _problem, *hint = error.args
        string = "is a string, and " if isinstance(value, str) else ""
        raise ValueError(f"{string}must be a list of aliases, or a dict of alias to options", *hint) from None
    return tuple(_replica(alias, {}) for alias in aliases)


def _replica(alias: object, options: object) -> ReplicaSettings:
    if not isinstance(alias, str):
        raise ValueError(f"must name database aliases, and {alias!r} is not a string")  # noqa: TRY004
    if not isinstance(options, Mapping):
        raise ValueError(f"must give {alias!r} a dict such as {{'WEIGHT': 3}}, not {options!r}")  # noqa: TRY004
    for key in options:
        if key not in _REPLICA_KEYS:
            raise ValueError(f"gives {alias!r} the unknown option {key!r}", did_you_mean(key, _REPLICA_KEYS))
    values: dict[str, object] = {}
    for key, value in options.items():
        attribute, validate = _REPLICA_KEYS[key]
        try:
            values[attribute] = validate(value)
        except ValueError as error:
            problem, *hint = error.args
            raise ValueError(f"gives {alias!r} {key} {value!r}, which {problem}", *hint) from None
    return ReplicaSettings(alias=alias, **values)  # type: ignore[arg-type]


_COOKIE_KEYS: Final[Keys] = {
    "NAME": ("name", cookie_name),
    "PATH": ("path", text),
    "DOMAIN": ("domain", optional(text)),
    "SECURE": ("secure", optional(flag)),
    "HTTPONLY": ("httponly", flag),
    "SAMESITE": ("samesite", one_of("Lax", "Strict", "None", None)),
}
_MONITOR_KEYS: Final[Keys] = {
    "MODE": ("mode", one_of("thread", "inline", "off")),
    "INTERVAL": ("interval", positive),
    "TIMEOUT": ("timeout", positive),
    "END_PRIMARY_STATEMENTS": ("end_primary_statements", flag),
    "SHARE": ("share", one_of("host", "none")),
}
_STATS_KEYS: Final[Keys] = {
    "BACKEND": ("backend", text),
    "FLUSH_SECONDS": ("flush_seconds", positive),
    "RETENTION_DAYS": ("retention_days", positive),
    "TOP": ("top", count),
}
_GLOBAL_KEYS: Final[Keys] = {
    "ENABLED": ("enabled", one_of(True, False, "shadow")),
    "STORE": ("stores", stores),
    "COOKIE": ("cookie", nested(CookieSettings, _COOKIE_KEYS)),
    "HEADER": ("header", header_name),
    "ZONE": ("zone", any_text),
    "UNSAFE_VIEWS": ("unsafe_views", views),
    "MONITOR": ("monitor", nested(MonitorSettings, _MONITOR_KEYS)),
    "STATS": ("stats", nested(StatsSettings, _STATS_KEYS)),
}
_CLUSTER_KEYS: Final[Keys] = {
    "PRIMARY": ("primary", text),
    "REPLICAS": ("replicas", _replicas),
    "CONSISTENCY": ("consistency", level),
    "PIN_SECONDS": ("pin_seconds", positive),
    "TOKEN_SECONDS": ("token_seconds", positive),
    "BALANCER": ("balancer", text),
    "REPLICA_PER": ("replica_per", one_of("request", "query")),
    "PRIMARY_ONLY": ("primary_only", labels),
    "OUTSIDE_REQUEST": ("outside_request", one_of("primary", "replica")),
    "READ_ONLY_SESSIONS": ("read_only_sessions", flag),
    "REPLICA_SESSION": ("replica_session", optional(dotted_path)),
    "WAIT_TIMEOUT": ("wait_timeout", at_least_zero),
    "MAX_LAG": ("max_lag", positive),
    "SPILL_LIMIT": ("spill_limit", count),
    "MONOTONIC_READS": ("monotonic_reads", flag),
    "SYNC_REPLICAS": ("sync_replicas", count_or_all),
    "SYNC_TIMEOUT": ("sync_timeout", positive),
}
_MODELS_KEY: Final[Keys] = {"MODELS": ("models", labels)}


# --- reading the whole -------------------------------------------------------------------------
def read(raw: object, databases: Collection[str]) -> tuple[Settings | None, list[Problem]]:
    """Parse the raw setting and check it against the aliases in ``databases``.

    Return the settings, or ``None`` if they are unusable, and all problems.
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
    """Return the valid values of one dict by attribute, and append its problems to ``problems``."""
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
    hint = did_you_mean(key, known, f"Known keys: {', '.join(known)}.")
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
    """Yield the problems of aliases; ``named`` tells whether the clusters are entries of ``CLUSTERS``."""
    places: dict[str, str] = {}
    for cluster in clusters:
        where = f"{SETTING}['CLUSTERS'][{cluster.name!r}]" if named else SETTING
        members = [("PRIMARY", cluster.primary)]
        members += [("REPLICAS", replica.alias) for replica in cluster.replicas]
        for key, alias in members:
            place = f"{where}[{key!r}]"
            if alias not in databases:
                hint = did_you_mean(alias, databases, f"DATABASES has: {', '.join(sorted(databases))}.")
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
