"""Checks the ``RWROUTER`` setting itself: keys and values, model labels, the cookie."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.apps import apps
from django.conf import global_settings
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from django_rwrouter.balancers import BALANCERS, get_balancer
from django_rwrouter.checks.inspection import flaw_of, installed_routers, is_our_middleware, store_of
from django_rwrouter.checks.messages import by_name, message, named
from django_rwrouter.conf import SETTING, Problem
from django_rwrouter.conf.clusters import Topology
from django_rwrouter.conf.options import Settings
from django_rwrouter.conf.validators import did_you_mean
from django_rwrouter.execution.replica_sessions import get_replica_session
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.stats.backends import BACKENDS
from django_rwrouter.stores import STORES, get_store
from django_rwrouter.stores.cookie import CookieStore

_DATABASE_CACHE_LABELS: Final = frozenset({"django_cache", "django_cache.CacheEntry"})
"""What the database cache, which is no app, calls itself when it asks a router."""


_CREDENTIALS: Final = "a replica that has not got a new key yet refuses its client"
_CACHED: Final = "a row that a late replica gave stays in its cache, for everybody"
_KEEPERS_OF_ROWS: Final[Mapping[str, str]] = {
    "rest_framework.authtoken": _CREDENTIALS,
    "knox": _CREDENTIALS,
    "oauth2_provider": _CREDENTIALS,
    "waffle": _CACHED,
    "constance": _CACHED,
    "constance.backends.database": _CACHED,
    "silk": "it writes a row in each request, which sends every client's reads to the primary",
}
"""By an app's name, why its tables are better read from the primary, and their writes better pin nobody."""


def problem(flaw: Problem) -> CheckMessage:
    """Put what the setting's own validation found into a message."""
    hint = flaw.hint or "Correct it, or remove it: what is not given has its default."
    return message(flaw.id, flaw.message, hint)


def names(settings: Settings) -> Iterator[CheckMessage]:
    """Resolve what is given by name or dotted path."""
    for name in settings.stores:
        if flaw := flaw_of(get_store, name):
            yield message("E008", flaw, by_name(name, STORES))
    for name in dict.fromkeys(cluster.balancer for cluster in settings.clusters):
        if flaw := flaw_of(get_balancer, name):
            yield message("E009", flaw, by_name(name, BALANCERS))
    for path in dict.fromkeys(cluster.replica_session for cluster in settings.clusters):
        if path is not None and (flaw := flaw_of(get_replica_session, path)):
            yield message("E023", flaw, "Write the dotted path of a function of two connections.")
    name = settings.stats.backend
    if name not in BACKENDS and (flaw := flaw_of(_statistics_backend, name)):
        yield message(
            "E010",
            f"{SETTING}['STATS'] has BACKEND {name!r}, which cannot be used: {flaw}",
            by_name(name, BACKENDS),
        )


def _statistics_backend(path: str) -> None:
    """Look at a statistics backend without making one: that may connect to something."""
    backend = import_string(path)
    if not callable(backend):
        raise ImproperlyConfigured("it is neither a class nor a function.")
    if isinstance(backend, type) and not callable(getattr(backend, "write", None)):
        raise ImproperlyConfigured("it has no write().")


def labels(raw: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Look for labels of apps and models that are not installed."""
    configs = list(apps.get_app_configs())
    models = apps.get_models(include_swapped=True)
    installed = {config.label for config in configs} | {model._meta.label for model in models}
    installed |= _DATABASE_CACHE_LABELS
    lowered = {label.lower() for label in installed}
    # Whoever writes 'project.shop', as in INSTALLED_APPS, means the label 'shop'.
    labels = {config.name: config.label for config in configs}
    otherwise = f"Write 'app' or 'app.Model'; the apps are: {named(sorted(labels.values()))}."
    for where, named_there in _labels(raw):
        for label in named_there:
            if label.lower() not in lowered:
                yield message(
                    "E011",
                    f"{where} names {label!r}, but no such app or model is installed.",
                    did_you_mean(labels.get(label, label), installed, otherwise),
                )


def _labels(raw: Mapping[str, Any]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the lists of labels of apps and models, and where they are."""
    places = {SETTING: raw}
    for name, options in (raw.get("CLUSTERS") or {}).items():
        places[f"{SETTING}['CLUSTERS'][{name!r}]"] = options
    for where, options in places.items():
        for key in ("PRIMARY_ONLY", "MODELS"):
            yield f"{where}[{key!r}]", options.get(key, ())
        replicas = options.get("REPLICAS", ())
        for alias, replica in replicas.items() if isinstance(replicas, Mapping) else ():
            yield f"{where}['REPLICAS'][{alias!r}]['EXCEPT']", replica.get("EXCEPT", ())


def apps_that_keep_rows(settings: Settings) -> Iterator[CheckMessage]:
    """Look for apps whose rows give access, or are cached for long."""
    topology = Topology(settings)
    for config in apps.get_app_configs():
        reason = _KEEPERS_OF_ROWS.get(config.name)
        cluster = topology.owner(config.label, None)
        if reason is None or cluster is None or not cluster.replicas:
            continue
        if config.name == "constance" and "database" not in getattr(django_settings, "CONSTANCE_BACKEND", ""):
            continue
        label = config.label.lower()
        if not any(entry.partition(".")[0] == label for entry in cluster.settings.primary_only):
            yield message(
                "I002",
                f"INSTALLED_APPS has {config.name!r}, which PRIMARY_ONLY does not name: {reason}.",
                f"Add {config.label!r} to {SETTING}['PRIMARY_ONLY'].",
            )


def sessions(settings: Settings) -> Iterator[CheckMessage]:
    """Look for sessions in a table that neither Django's base class nor ``SESSION_ENGINE`` tells of."""
    engine = django_settings.SESSION_ENGINE
    if engine.startswith("django.contrib.sessions."):
        return
    topology = Topology(settings)
    for model in apps.get_models():
        if {"session_key", "session_data"} <= {field.name for field in model._meta.get_fields()}:
            route = topology.route(model)
            if route is not None and route.fixed is None and route.cluster.replicas:
                yield message(
                    "W022",
                    f"SESSION_ENGINE is {engine!r}, and the sessions in {model._meta.label!r} are read from"
                    " replicas: whoever has just logged in is logged out where one is late.",
                    f"Add {model._meta.label!r} to {SETTING}['PRIMARY_ONLY'].",
                )


def views(settings: Settings) -> Iterator[CheckMessage]:
    """Look for names in ``UNSAFE_VIEWS`` that no view of the project has."""
    wanted = [entry for entry in settings.unsafe_views if not entry.startswith("/")]
    if not wanted or not getattr(django_settings, "ROOT_URLCONF", None):
        return
    try:
        names = set(_view_names(get_resolver(), "", ""))
    except Exception:  # noqa: BLE001  (whatever importing the project's URLs raises; Django reports it)
        return
    for name in wanted:
        if name not in names:
            yield message(
                "W018",
                f"{SETTING}['UNSAFE_VIEWS'] names {name!r}, but no view in ROOT_URLCONF has this name.",
                did_you_mean(name, names, "Write 'app:name', or a path prefix such as '/ping/'."),
            )


def _view_names(resolver: URLResolver, by_app: str, by_instance: str) -> Iterator[str]:
    """Yield the views' names, with the namespaces of their apps and of their instances."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            app, instance = pattern.app_name, pattern.namespace
            yield from _view_names(
                pattern,
                f"{by_app}{app}:" if app else by_app,
                f"{by_instance}{instance}:" if instance else by_instance,
            )
        elif pattern.name:
            yield by_app + pattern.name
            yield by_instance + pattern.name


def cookie(settings: Settings) -> Iterator[CheckMessage]:
    """Look for a cookie that browsers refuse, or that is another's."""
    if store_of(settings, CookieStore) is None:
        return
    cookie = settings.cookie
    secure = django_settings.SESSION_COOKIE_SECURE if cookie.secure is None else cookie.secure
    refused, hint = "", "Write 'SECURE': True, where the site is served over HTTPS alone"
    if cookie.samesite == "None" and not secure:
        refused, hint = "SAMESITE 'None' without SECURE", f"{hint}; else write 'SAMESITE': 'Lax'."
    elif cookie.name.startswith(("__Secure-", "__Host-")) and not secure:
        refused = f"the NAME {cookie.name!r} without SECURE"
        hint = f"{hint}; else choose a NAME without the prefix."
    elif cookie.name.startswith("__Host-") and (cookie.path != "/" or cookie.domain):
        refused = f"the NAME {cookie.name!r} with a PATH or a DOMAIN"
        hint = "Remove PATH and DOMAIN, or choose a NAME that begins with '__Secure-'."
    if refused:
        yield message(
            "E021",
            f"{SETTING}['COOKIE'] has {refused}: browsers refuse that cookie, and whoever writes does not"
            " see it.",
            hint,
        )
    for other in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"):
        if cookie.name == getattr(django_settings, other):
            yield message(
                "E022",
                f"{SETTING}['COOKIE'] has NAME {cookie.name!r}, which is also {other}: each write would"
                " overwrite that cookie.",
                f"Give it a NAME of its own, or change {other}.",
            )


def unused(*, missing: bool) -> Iterator[CheckMessage]:
    """Say that nothing is routed, where something was set up for it."""
    has_middleware = any(map(is_our_middleware, django_settings.MIDDLEWARE))
    if not has_middleware and not any(isinstance(router, ReadWriteRouter) for router in installed_routers()):
        return
    lack = f"{SETTING} is not set" if missing else f"{SETTING} has no 'REPLICAS'"
    hint = f"Write {SETTING} = {{'REPLICAS': ['replica1']}}; with an empty list, nothing more is said."
    own = [name for name in dir(django_settings) if not hasattr(global_settings, name)]
    near = difflib.get_close_matches(SETTING, own, n=1, cutoff=0.65) if missing else ()
    if near:
        hint = f"There is a setting {near[0]}: rename it to {SETTING}."
    yield message("I001", f"{lack}, so every query goes where Django alone sends it.", hint)
