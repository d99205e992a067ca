"""System checks: the mistakes of a set-up that can be seen without asking a server.

Errors are for what breaks correctness, warnings for what costs or endangers. Each id has a section of its own
in ``docs/checks.md``, and is never given to anything else.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

from django.apps import apps
from django.conf import global_settings
from django.conf import settings as django_settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.core.checks import CheckMessage, Error, Info, Warning, register  # noqa: A004
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.utils import load_backend
from django.utils.module_loading import import_string

from django_rwrouter.balancers import BALANCERS, get_balancer
from django_rwrouter.conf import SETTING, Problem, read
from django_rwrouter.decision import Level
from django_rwrouter.hooks import READ_ONLY_STATEMENTS
from django_rwrouter.middleware import ReadWriteMiddleware
from django_rwrouter.options import ClusterSettings, Settings
from django_rwrouter.positions import has_positions
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.storage import BACKENDS
from django_rwrouter.stores import get_store, known_stores
from django_rwrouter.stores.cache import CacheStore
from django_rwrouter.stores.cookie import CookieStore
from django_rwrouter.stores.session import SessionStore

TAG: Final = "django_rwrouter"
"""``manage.py check --tag django_rwrouter`` runs these alone."""

MIDDLEWARE: Final = "django_rwrouter.middleware.ReadWriteMiddleware"
ROUTER: Final = "django_rwrouter.router.ReadWriteRouter"
SESSION_MIDDLEWARE: Final = "django.contrib.sessions.middleware.SessionMiddleware"

_KINDS: Final[Mapping[str, type[Error | Warning | Info]]] = {
    "E": Error,
    "W": Warning,
    "I": Info,
}
_CHOOSING: Final = ("db_for_read", "db_for_write")
_ROUTING: Final = (*_CHOOSING, "allow_relation", "allow_migrate")
_DATABASE_CACHE_LABELS: Final = frozenset({"django_cache", "django_cache.CacheEntry"})
"""What the database cache, which is no app, calls itself when it asks a router."""
_CONNECT_TIMEOUT: Final = frozenset({"mysql", "postgresql"})
"""Vendors whose drivers wait for ever for a server that accepts a connection and then says nothing."""


@register(TAG)
def check_setup(**_kwargs: object) -> list[CheckMessage]:
    """Check the ``RWROUTER`` setting, and whatever else of the project's settings it depends on.

    Asks no database. Also runs where ``ENABLED`` is ``False``: the switch may be thrown back at any time.
    """
    missing = not hasattr(django_settings, SETTING)
    raw = {} if missing else getattr(django_settings, SETTING)
    settings, problems = read(raw, django_settings.DATABASES or {DEFAULT_DB_ALIAS: {}})
    if settings is None:
        # What does not depend on the setting is checked all the same, so that it is all said at once.
        return [*map(_problem, problems), *_middleware(None), *_routers(None)]
    found = [*_names(settings), *_labels(raw), *_cookie(settings)]
    if settings.inert:
        # Nothing is routed, so nothing else can be wrong. `REPLICAS: []` says that this is meant.
        unfinished = missing or (raw and not raw.keys() & {"REPLICAS", "CLUSTERS"})
        return [*found, *(_unused(missing=missing) if unfinished else ())]
    return [*found, *_middleware(settings), *_routers(settings), *_replicas(settings)]


# --- the setting itself ------------------------------------------------------------------------


def _problem(problem: Problem) -> CheckMessage:
    hint = problem.hint or "Correct it, or remove it: what is not given has its default."
    return _found(problem.id, problem.message, hint)


def _names(settings: Settings) -> Iterator[CheckMessage]:
    """Resolve what is given by name or dotted path."""
    for name in settings.stores:
        flaw = _flaw(get_store, name)
        if flaw:
            yield _found("E008", flaw, _by_name(name, known_stores()))
    for name in dict.fromkeys(cluster.balancer for cluster in settings.clusters):
        flaw = _flaw(get_balancer, name)
        if flaw:
            yield _found("E009", flaw, _by_name(name, BALANCERS))
    name = settings.stats.backend
    flaw = None if name in BACKENDS else _flaw(_statistics_backend, name)
    if flaw:
        yield _found(
            "E010",
            f"{SETTING}['STATS'] has BACKEND {name!r}, which cannot be used: {flaw}",
            _by_name(name, BACKENDS),
        )


def _flaw(resolve: Callable[[str], object], name: str) -> str | None:
    try:
        resolve(name)
    except ImproperlyConfigured as error:
        return str(error)
    return None


def _statistics_backend(path: str) -> None:
    """Look at a statistics backend without making one: that may connect to something."""
    try:
        backend = import_string(path)
    except (ImportError, ValueError) as error:
        raise ImproperlyConfigured(f"{error}.") from error
    if not callable(backend):
        raise ImproperlyConfigured("it is neither a class nor a function.")
    if isinstance(backend, type) and not callable(getattr(backend, "write", None)):
        raise ImproperlyConfigured("it has no write().")


def _labels(raw: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Look for labels of apps and models that are not installed."""
    configs = list(apps.get_app_configs())
    models = apps.get_models(include_swapped=True)
    known = {config.label for config in configs} | {model._meta.label for model in models}
    known |= _DATABASE_CACHE_LABELS
    installed = {label.lower() for label in known}
    # Whoever writes 'project.shop', as in INSTALLED_APPS, means the label 'shop'.
    labels = {config.name: config.label for config in configs}
    otherwise = f"Write 'app' or 'app.Model'; the apps are: {_named(sorted(labels.values()))}."
    for where, options in _places(raw):
        for key in ("PRIMARY_ONLY", "MODELS"):
            for label in options.get(key, ()):
                if label.lower() not in installed:
                    yield _found(
                        "E011",
                        f"{where}[{key!r}] names {label!r}, but no such app or model is installed.",
                        _did_you_mean(labels.get(label, label), known) or otherwise,
                    )


def _cookie(settings: Settings) -> Iterator[CheckMessage]:
    """Look for a cookie that browsers refuse, or that is another's."""
    if _store(settings, CookieStore) is None:
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
        yield _found(
            "E021",
            f"{SETTING}['COOKIE'] has {refused}: browsers refuse that cookie, and whoever writes does not"
            " see it.",
            hint,
        )
    for other in ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME"):
        if cookie.name == getattr(django_settings, other):
            yield _found(
                "E022",
                f"{SETTING}['COOKIE'] has NAME {cookie.name!r}, which is also {other}: each write would"
                " overwrite that cookie.",
                f"Give it a NAME of its own, or change {other}.",
            )


def _unused(*, missing: bool) -> Iterator[CheckMessage]:
    """Say that nothing is routed, where something was set up for it."""
    ours = any(map(_is_our_middleware, django_settings.MIDDLEWARE))
    if not ours and not any(isinstance(each, ReadWriteRouter) for each in _installed_routers()):
        return
    lack = f"{SETTING} is not set" if missing else f"{SETTING} has no 'REPLICAS'"
    hint = f"Write {SETTING} = {{'REPLICAS': ['replica1']}}; with an empty list, nothing more is said."
    own = [name for name in dir(django_settings) if not hasattr(global_settings, name)]
    near = difflib.get_close_matches(SETTING, own, n=1, cutoff=0.65) if missing else ()
    if near:
        hint = f"There is a setting {near[0]}: rename it to {SETTING}."
    yield _found("I001", f"{lack}, so every query goes where Django alone sends it.", hint)


# --- MIDDLEWARE and DATABASE_ROUTERS -----------------------------------------------------------


def _middleware(settings: Settings | None) -> Iterator[CheckMessage]:
    """Check that the middleware is there, once and in its place (its place only with usable settings)."""
    entries = list(django_settings.MIDDLEWARE)
    ours = [place for place, entry in enumerate(entries) if _is_our_middleware(entry)]
    store = None if settings is None else _store(settings, SessionStore)
    sessions = [place for place, entry in enumerate(entries) if _is_session_middleware(entry)]
    if not ours:
        strays = [entry for entry in entries if entry.startswith(f"{TAG}.")]
        instead = f" in place of {strays[0]!r}" if strays else ""
        where = f"right after {SESSION_MIDDLEWARE!r}" if store else "as its first entry"
        yield _found(
            "E012",
            "MIDDLEWARE lacks the middleware of django_rwrouter: clients that wrote are not remembered, and"
            " each read counts as outside any request.",
            f"Add {MIDDLEWARE!r} to MIDDLEWARE{instead}, {where}.",
        )
    if len(ours) > 1:
        yield _found(
            "E013",
            f"MIDDLEWARE has {_named(entries[place] for place in ours)}: what is written between the two"
            " is not seen by the reads inside the second.",
            "Keep one of them.",
        )
    if store:
        yield from _session_store(store, has_middleware=bool(sessions))
        if len(ours) == 1 and sessions:
            yield from _behind_sessions(store, entries, ours[0], sessions[0])
    elif settings is not None and len(ours) == 1 and ours[0] > 0:
        before = _named(entries[: ours[0]])
        yield _found(
            "W001",
            f"MIDDLEWARE has {entries[ours[0]]!r} behind {before}: what those write pins nobody, and what"
            " they read takes no account of what the client wrote.",
            "Make it the first entry.",
        )


def _session_store(store: str, *, has_middleware: bool) -> Iterator[CheckMessage]:
    """Check that there are sessions for the token to be kept in."""
    if not has_middleware:
        yield _found(
            "E014",
            f"{SETTING}['STORE'] has {store!r}, but MIDDLEWARE has no SessionMiddleware.",
            f"Add {SESSION_MIDDLEWARE!r} to MIDDLEWARE, in front of {MIDDLEWARE!r}, or use the store"
            " 'cookie', which needs no session.",
        )
    try:
        engine = import_module(django_settings.SESSION_ENGINE).SessionStore
    except (ImportError, AttributeError):
        return  # Not ours to explain.
    if not issubclass(engine, DatabaseSessions):
        return
    try:
        engine.get_model_class()
    except RuntimeError:  # How Django says that a model is of no installed app.
        yield _found(
            "E016",
            f"{SETTING}['STORE'] has {store!r}, but SESSION_ENGINE {django_settings.SESSION_ENGINE!r} keeps"
            " sessions in a table of an app that is not installed.",
            "Add 'django.contrib.sessions' to INSTALLED_APPS, choose another SESSION_ENGINE, or use the"
            " store 'cookie', which needs no session.",
        )


def _behind_sessions(store: str, entries: Sequence[str], ours: int, sessions: int) -> Iterator[CheckMessage]:
    """Check that nothing is between the session and our middleware."""
    hint = f"Put {entries[ours]!r} right after {entries[sessions]!r}."
    if ours < sessions:
        yield _found(
            "E015",
            f"{SETTING}['STORE'] has {store!r}, but MIDDLEWARE has {entries[ours]!r} in front of"
            f" {entries[sessions]!r}: what it puts into the session comes after that was saved, and is lost.",
            hint,
        )
    elif ours > sessions + 1:
        yield _found(
            "W002",
            f"MIDDLEWARE has {_named(entries[sessions + 1 : ours])} between {entries[sessions]!r} and"
            f" {entries[ours]!r}: what those write pins nobody, and what they read takes no account of what"
            " the client wrote.",
            hint,
        )


def _routers(settings: Settings | None) -> Iterator[CheckMessage]:
    """Check that the router is there, once, and that it and others are asked what they should be."""
    routers = _installed_routers()
    ours = [place for place, each in enumerate(routers) if isinstance(each, ReadWriteRouter)]
    if not ours:
        yield _found(
            "E017",
            "DATABASE_ROUTERS lacks the router of django_rwrouter: no read goes to a replica, and migrations"
            " are not kept off the replicas.",
            f"Add {ROUTER!r} to DATABASE_ROUTERS, as its first entry.",
        )
        return
    if len(ours) > 1:
        yield _found(
            "W003",
            f"DATABASE_ROUTERS has {_named(_path(routers[place]) for place in ours)}: the first decides, and"
            " what it leaves to others is asked twice.",
            "Keep one of them.",
        )
    ahead = [each for each in routers[: ours[0]] if _has_any(each, _ROUTING)]
    if ahead:
        yield _found(
            "W004",
            f"DATABASE_ROUTERS has {_named(map(_path, ahead))} in front of {_path(routers[ours[0]])!r}:"
            " wherever these name a database, ours is not asked, whatever the client wrote.",
            f"Make {ROUTER!r} the first entry, and give databases of other models an entry in"
            f" {SETTING}['CLUSTERS'] with their MODELS. If the others decide about such models alone, silence"
            " this check.",
        )
    behind = [
        each
        for each in routers[ours[0] + 1 :]
        if not isinstance(each, ReadWriteRouter) and _has_any(each, _CHOOSING)
    ]
    all_models = next(
        (each for each in settings.clusters if each.models is None) if settings else iter(()), None
    )
    if behind and all_models:
        yield _found(
            "W005",
            f"DATABASE_ROUTERS has {_named(map(_path, behind))} behind {_path(routers[ours[0]])!r}, which"
            f" decides about every model: all that no cluster names belongs to {all_models.primary!r}.",
            f"Remove the others, and give databases of other models an entry in {SETTING}['CLUSTERS'] with"
            " their MODELS; or give every cluster its MODELS, and the others decide about the rest.",
        )


# --- DATABASES ---------------------------------------------------------------------------------


def _replicas(settings: Settings) -> Iterator[CheckMessage]:
    store = _store(settings, CacheStore)
    if store is not None:
        yield from _cache_store(store)
    if any(cluster.replicas for cluster in settings.clusters):
        yield from _monitor(settings)
    for cluster in settings.clusters:
        yield from _positions(cluster)
        yield from _lag(cluster)
        yield from _zones(cluster, settings.zone)
        for replica in cluster.replicas:
            options = connections.settings[replica.alias]
            vendor = _vendor(replica.alias)
            yield from _mirror(cluster, replica.alias, options)
            yield from _transactions(replica.alias, options)
            if vendor is not None:
                yield from _server(cluster, replica.alias, vendor)
                yield from _patience(replica.alias, options, vendor, settings.monitor.mode)


def _monitor(settings: Settings) -> Iterator[CheckMessage]:
    if settings.monitor.mode == "off":
        yield _found(
            "W016",
            f"{SETTING}['MONITOR'] has MODE 'off': a replica that dies or freezes is found by the requests"
            " that meet it, reads under 'window' ask the servers how late they are, and processes do not see"
            " what is drained or switched off elsewhere.",
            "Remove it, or write 'MODE': 'inline' where there can be no threads.",
        )


def _mirror(cluster: ClusterSettings, alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    mirror = options["TEST"]["MIRROR"]
    hint = f"Write 'TEST': {{'MIRROR': {cluster.primary!r}}} in DATABASES[{alias!r}]."
    if not mirror:
        yield _found(
            "W006",
            f"DATABASES[{alias!r}] is a replica without TEST['MIRROR']: tests make a database of its own for"
            " it, to which nothing is replicated.",
            hint,
        )
    elif mirror != cluster.primary:
        yield _found(
            "W007",
            f"DATABASES[{alias!r}] is a replica of {cluster.primary!r}, but its TEST['MIRROR'] is"
            f" {mirror!r}: tests read another database than they write.",
            hint,
        )


def _positions(cluster: ClusterSettings) -> Iterator[CheckMessage]:
    """Check that the database can say where it stands, where the settings depend on that."""
    vendor = _vendor(cluster.primary)
    wanting = [
        key
        for key, used in {
            f"CONSISTENCY {cluster.consistency.value!r}": cluster.consistency in (Level.CAUSAL, Level.STRONG),
            "MONOTONIC_READS": cluster.monotonic_reads,
            "SYNC_REPLICAS": bool(cluster.sync_replicas),
        }.items()
        if used
    ]
    if vendor is None or has_positions(vendor) or not wanting:
        return
    yield _found(
        "W013",
        f"{' and '.join(wanting)} of the cluster {cluster.name!r} needs positions in the database's log, and"
        f" {vendor!r} has none that this package can read: reads are treated as under 'window', which is"
        " only as good as PIN_SECONDS.",
        "Use MariaDB, MySQL 8 or PostgreSQL, or write CONSISTENCY 'window' to say so.",
    )


def _lag(cluster: ClusterSettings) -> Iterator[CheckMessage]:
    """Check that the lag which ``window`` tolerates is not longer than the pin."""
    if cluster.max_lag is not None and cluster.max_lag > cluster.pin_seconds:
        yield _found(
            "W012",
            f"MAX_LAG of the cluster {cluster.name!r} is {cluster.max_lag:g} seconds and PIN_SECONDS"
            f" {cluster.pin_seconds:g}: a client may miss what it wrote once its pin has ended, on a replica"
            " that is behind for longer.",
            "Make PIN_SECONDS at least as long as MAX_LAG, or leave MAX_LAG out.",
        )


def _zones(cluster: ClusterSettings, own: str) -> Iterator[CheckMessage]:
    """Check that there is a replica in this process's zone, where that matters."""
    zones = {replica.zone for replica in cluster.replicas}
    if cluster.balancer == "zone" and cluster.replicas and own not in zones - {""}:
        known = ", ".join(map(repr, sorted(zones - {""}))) or "none"
        yield _found(
            "W015",
            f"BALANCER of the cluster {cluster.name!r} is 'zone' and {SETTING}['ZONE'] is {own!r}, where no"
            f" replica is (their zones: {known}): all replicas are drawn alike.",
            "Write this process's zone into ZONE, and {'replica1': {'ZONE': 'a'}} into REPLICAS.",
        )


def _cache_store(store: str) -> Iterator[CheckMessage]:
    """Check that the cache is one that all processes share."""
    backend = str(django_settings.CACHES.get("default", {}).get("BACKEND", ""))
    if backend.rpartition(".")[2] in {"LocMemCache", "DummyCache"}:
        yield _found(
            "W014",
            f"{SETTING}['STORE'] has {store!r}, but CACHES['default'] is {backend!r}, which each process has"
            " to itself: a write in one is not known in the others.",
            "Use a cache that all processes share, such as Redis or Memcached, or the store 'cookie'.",
        )


def _transactions(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if options["ATOMIC_REQUESTS"]:
        yield _found(
            "E018",
            f"DATABASES[{alias!r}] is a replica with ATOMIC_REQUESTS {options['ATOMIC_REQUESTS']!r}: Django"
            " opens a transaction there for every request, and while the replica is away every one fails.",
            f"Remove ATOMIC_REQUESTS from DATABASES[{alias!r}]. On the primary it may stay.",
        )
    if not options["AUTOCOMMIT"]:
        yield _found(
            "E019",
            f"DATABASES[{alias!r}] is a replica with AUTOCOMMIT {options['AUTOCOMMIT']!r}: the first read"
            " opens a transaction that nobody ends. It may show the same old state for ever, and its locks"
            " can stop replication.",
            f"Remove AUTOCOMMIT from DATABASES[{alias!r}].",
        )


def _server(cluster: ClusterSettings, alias: str, vendor: str) -> Iterator[CheckMessage]:
    expected = _vendor(cluster.primary)
    if expected not in (None, vendor):
        yield _found(
            "E020",
            f"DATABASES[{alias!r}] is a replica on {vendor!r}, but its primary {cluster.primary!r} is on"
            f" {expected!r}: one cannot replay the other's log.",
            f"Correct ENGINE of one of the two, or remove {alias!r} from {SETTING}['REPLICAS'].",
        )
    if cluster.read_only_sessions and vendor not in READ_ONLY_STATEMENTS:
        yield _found(
            "W011",
            f"DATABASES[{alias!r}] is a replica on {vendor!r}, where sessions cannot be made read-only: a"
            " write that is sent there by mistake may be done.",
            "Use a user there who may only read, and write 'READ_ONLY_SESSIONS': False to say so.",
        )


def _patience(alias: str, options: Mapping[str, Any], vendor: str, monitor: str) -> Iterator[CheckMessage]:
    """Check how long a replica that is frozen or gone holds up a request."""
    driver = options["OPTIONS"]
    if vendor in _CONNECT_TIMEOUT and not driver.get("connect_timeout"):
        yield _found(
            "W008",
            f"DATABASES[{alias!r}] is a replica without connect_timeout in OPTIONS: while its server is"
            " frozen or out of reach, requests wait for it for minutes, or for ever.",
            f"Write 'OPTIONS': {{'connect_timeout': 2}} (whole seconds) in DATABASES[{alias!r}].",
        )
    if vendor == "mysql" and not driver.get("read_timeout"):
        yield _found(
            "W009",
            f"DATABASES[{alias!r}] is a replica without read_timeout in OPTIONS: when its server freezes,"
            " requests with an open connection to it wait for ever.",
            f"Write 'OPTIONS': {{'read_timeout': 5}} (whole seconds, more than your slowest query takes) in"
            f" DATABASES[{alias!r}].",
        )
    kept = "pooled" if driver.get("pool") else ""
    if options["CONN_MAX_AGE"] != 0:
        kept = f"kept (CONN_MAX_AGE {options['CONN_MAX_AGE']!r})"
    if vendor != "sqlite" and kept and not options["CONN_HEALTH_CHECKS"]:
        yield _found(
            "W010",
            f"DATABASES[{alias!r}] is a replica whose connections are {kept} without CONN_HEALTH_CHECKS:"
            " after the server restarts, each of them fails a request.",
            f"Write 'CONN_HEALTH_CHECKS': True in DATABASES[{alias!r}].",
        )
    if vendor == "postgresql" and kept and monitor != "thread":
        yield _found(
            "W017",
            f"DATABASES[{alias!r}] is a replica whose connections are {kept} while {SETTING}['MONITOR'] has"
            f" MODE {monitor!r}: when its server freezes, requests that use one wait for ever.",
            "Use MODE 'thread', which ends such reads, or write 'CONN_MAX_AGE': 0, and no pool, in"
            f" DATABASES[{alias!r}].",
        )


# --- looking at a project ----------------------------------------------------------------------


def _places(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the dicts with keys of a cluster, as they were written, and where they are."""
    yield SETTING, raw
    for name, options in (raw.get("CLUSTERS") or {}).items():
        yield f"{SETTING}['CLUSTERS'][{name!r}]", options


def _store(settings: Settings, kind: type[object]) -> str | None:
    """Return what ``STORE`` calls a store of this kind, or ``None`` if none is used."""
    for name in settings.stores:
        if _flaw(get_store, name) is None and isinstance(get_store(name), kind):
            return name
    return None


def _is_our_middleware(entry: str) -> bool:
    found = _imported(entry)
    return isinstance(found, type) and issubclass(found, ReadWriteMiddleware)


def _is_session_middleware(entry: str) -> bool:
    # By name: packages that replace Django's do not always inherit from it.
    bases = getattr(_imported(entry), "__mro__", ())
    return any(base.__name__ == "SessionMiddleware" for base in bases)


def _imported(path: str) -> object:
    try:
        found: object = import_string(path)
    except ImportError:
        return None  # Django explains it when it loads the handler.
    return found


def _installed_routers() -> Sequence[object]:
    return list(router.routers)


def _has_any(thing: object, methods: Iterable[str]) -> bool:
    return any(hasattr(thing, method) for method in methods)


def _vendor(alias: str) -> str | None:
    """Return a database's vendor as its backend names it, or ``None`` if that cannot be loaded."""
    try:
        return str(load_backend(connections.settings[alias]["ENGINE"]).DatabaseWrapper.vendor)
    except (ImproperlyConfigured, ImportError):
        return None  # The driver is missing: Django explains that at the first connection.


# --- wording -----------------------------------------------------------------------------------


def _found(number: str, message: str, hint: str) -> CheckMessage:
    """Make a message; the letter of its number says how serious it is."""
    kind = _KINDS[number[0]]
    more = f"Documentation: checks#{number.lower()}."
    return kind(message, hint=f"{hint} {more}", id=f"{TAG}.{number}")


def _did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return a hint with the known name most like ``value``; empty if none is."""
    folded = {name.lower(): name for name in known}
    matches = difflib.get_close_matches(value.lower(), folded, n=1)
    return f"Did you mean {folded[matches[0]]!r}?" if matches else ""


def _by_name(value: str, known: Iterable[str]) -> str:
    """Return a hint for what is given by name or dotted path."""
    names = ", ".join(map(repr, known))
    return _did_you_mean(value, known) or f"Write the dotted path of a class, or one of: {names}."


def _named(names: Iterable[str]) -> str:
    *most, last = map(repr, names)
    return f"{', '.join(most)} and {last}" if most else last


def _path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
