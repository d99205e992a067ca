"""Parses the ``RWROUTER`` setting.

:func:`read` turns the raw dict into :class:`Settings` or a list of problems. The system checks report the
problems; :func:`get_settings` raises them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from django_rwrouter.conf.options import DEFAULT_CLUSTER, ClusterSettings, Settings
from django_rwrouter.conf.validators import Keys, did_you_mean, keys_of, parsed, shown

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


GLOBAL_KEYS: Final = keys_of(Settings)
CLUSTER_KEYS: Final = {key: value for key, value in keys_of(ClusterSettings).items() if key != "MODELS"}
"""Those that may also stand beside ``CLUSTERS``, as the defaults of every cluster."""


def read(raw: object, databases: Collection[str]) -> tuple[Settings | None, list[Problem]]:
    """Parse the raw setting and check it against the aliases in ``databases``.

    Return the settings, or ``None`` if they are unusable, and all problems.
    """
    if not isinstance(raw, Mapping):
        hint = f"Write {SETTING} = {{'REPLICAS': ['replica1']}}."
        return None, [Problem("E001", f"{SETTING} must be a dict, not {shown(raw)}.", hint)]
    problems: list[Problem] = []
    clusters = raw.get("CLUSTERS")
    shared = {key: value for key, value in raw.items() if key != "CLUSTERS"}
    whole = _values(SETTING, shared, {**GLOBAL_KEYS, **CLUSTER_KEYS}, problems)
    if clusters is None:
        parsed = [_cluster(DEFAULT_CLUSTER, whole)]
    else:
        parsed = list(_clusters(clusters, whole, problems))
    problems.extend(_alias_problems(parsed, databases, named=clusters is not None))
    if clusters is not None:
        problems.extend(_model_problems(parsed))
    if problems:
        return None, problems
    return Settings(clusters=tuple(parsed), **_of(GLOBAL_KEYS, whole)), []


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
            values[attribute] = parsed(validate, value)
        except ValueError as error:
            problem, *hint = error.args
            message = f"{where}[{key!r}] is {shown(value)}, but it {problem}."
            problems.append(Problem("E003", message, *hint))
    return values


def _unknown_key(where: str, key: object, keys: Keys) -> Problem:
    if key == "MODELS":
        hint = "Move it into an entry of CLUSTERS, or remove it: without CLUSTERS all models are routed."
        return Problem("E004", f"{where}['MODELS'] belongs into an entry of CLUSTERS.", hint)
    if key in GLOBAL_KEYS:
        hint = f"It applies to the whole project: move it up to {SETTING}[{key!r}]."
        return Problem("E004", f"{where}[{key!r}] cannot differ between clusters.", hint)
    names = sorted(keys if "MODELS" in keys else [*keys, "CLUSTERS"])
    hint = did_you_mean(key, names, f"Known keys: {', '.join(names)}.")
    return Problem("E002", f"{where} has the unknown key {shown(key)}.", hint)


def _clusters(
    raw: object, shared: Mapping[str, object], problems: list[Problem]
) -> Iterator[ClusterSettings]:
    where = f"{SETTING}['CLUSTERS']"
    if not isinstance(raw, Mapping) or not raw:
        hint = "Write {'main': {'PRIMARY': 'default', 'REPLICAS': ['replica1']}}."
        problems.append(
            Problem("E003", f"{where} must be a dict of clusters by name, not {shown(raw)}.", hint)
        )
        return
    for name, entry in raw.items():
        if not isinstance(name, str) or not name or not isinstance(entry, Mapping):
            problems.append(Problem("E003", f"{where}[{shown(name)}] must be a dict, under a name."))
            continue
        own = _values(f"{where}[{name!r}]", entry, keys_of(ClusterSettings), problems)
        yield _cluster(name, {**shared, **own})


def _cluster(name: str, values: Mapping[str, object]) -> ClusterSettings:
    return ClusterSettings(name=name, **_of(keys_of(ClusterSettings), values))


def _of(keys: Keys, values: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of these keys alone."""
    return {attribute: values[attribute] for attribute, _validate in keys.values() if attribute in values}


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
                hint = did_you_mean(alias, databases, f"DATABASES has: {', '.join(map(repr, databases))}.")
                yield Problem("E005", f"{place} names {shown(alias)}, which is not in DATABASES.", hint)
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
