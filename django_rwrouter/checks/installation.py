"""Checks that the middleware and the router are installed, once and in the right place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Final

from django.conf import settings as django_settings
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from django_rwrouter.checks.inspection import (
    flaw_of,
    flaw_of_routers,
    installed_routers,
    is_our_middleware,
    is_session_middleware,
    store_of,
)
from django_rwrouter.checks.messages import TAG, message, named
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.options import Settings
from django_rwrouter.router import ReadWriteRouter
from django_rwrouter.stores.session import SessionStore

MIDDLEWARE: Final = "django_rwrouter.middleware.ReadWriteMiddleware"
ROUTER: Final = "django_rwrouter.router.ReadWriteRouter"
SESSION_MIDDLEWARE: Final = "django.contrib.sessions.middleware.SessionMiddleware"

_CHOOSING: Final = ("db_for_read", "db_for_write")
_ROUTING: Final = (*_CHOOSING, "allow_relation", "allow_migrate")


def middleware(settings: Settings | None) -> Iterator[CheckMessage]:
    """Check that the middleware is there, once and in its place (its place only with usable settings)."""
    entries = list(django_settings.MIDDLEWARE)
    places = [place for place, entry in enumerate(entries) if is_our_middleware(entry)]
    store = None if settings is None else store_of(settings, SessionStore)
    sessions = [place for place, entry in enumerate(entries) if is_session_middleware(entry)]
    for entry in entries:
        flaw = flaw_of(import_string, entry)
        if flaw and (places or not entry.startswith(f"{TAG}.")):
            yield message(
                "E025",
                f"MIDDLEWARE has {entry!r}, which cannot be imported ({flaw}): no request can be served.",
                "Correct its path, or what its module does when it is imported.",
            )
    if not places:
        strays = [entry for entry in entries if entry.startswith(f"{TAG}.")]
        instead = f" in place of {strays[0]!r}" if strays else ""
        where = f"right after {SESSION_MIDDLEWARE!r}" if store else "as its first entry"
        yield message(
            "E012",
            "MIDDLEWARE lacks the middleware of django_rwrouter: clients that wrote are not remembered, and"
            " each read counts as outside any request.",
            f"Add {MIDDLEWARE!r} to MIDDLEWARE{instead}, {where}.",
        )
    if len(places) > 1:
        yield message(
            "E013",
            f"MIDDLEWARE has {named(entries[place] for place in places)}: what is written between the two"
            " is not seen by the reads inside the second.",
            "Keep one of them.",
        )
    if store:
        yield from _session_store(store, has_middleware=bool(sessions))
        if len(places) == 1 and sessions:
            yield from _behind_sessions(store, entries, places[0], sessions[0])
    elif settings is not None and len(places) == 1 and places[0] > 0:
        count, last = places[0], entries[places[0] - 1]
        before = f"behind {last!r}" if count == 1 else f"behind {count} others, the last of them {last!r}"
        yield message(
            "W001",
            f"{entries[count]!r} is not the first entry of MIDDLEWARE, but {before}: what those write pins"
            " nobody, and what they read takes no account of what the client wrote.",
            f"Make it the first entry: MIDDLEWARE = [{entries[count]!r}, {entries[0]!r}, ...].",
        )


def _session_store(store: str, *, has_middleware: bool) -> Iterator[CheckMessage]:
    """Check that there are sessions for the token to be kept in."""
    if not has_middleware:
        yield message(
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
        yield message(
            "E016",
            f"{SETTING}['STORE'] has {store!r}, but SESSION_ENGINE {django_settings.SESSION_ENGINE!r} keeps"
            " sessions in a table of an app that is not installed.",
            "Add 'django.contrib.sessions' to INSTALLED_APPS, choose another SESSION_ENGINE, or use the"
            " store 'cookie', which needs no session.",
        )


def _behind_sessions(store: str, entries: Sequence[str], place: int, sessions: int) -> Iterator[CheckMessage]:
    """Check that nothing is between the session and our middleware."""
    hint = f"Put {entries[place]!r} right after {entries[sessions]!r}."
    if place < sessions:
        yield message(
            "E015",
            f"{SETTING}['STORE'] has {store!r}, but MIDDLEWARE has {entries[place]!r} in front of"
            f" {entries[sessions]!r}: what it puts into the session comes after that was saved, and is lost.",
            hint,
        )
    elif place > sessions + 1:
        yield message(
            "W002",
            f"MIDDLEWARE has {named(entries[sessions + 1 : place])} between {entries[sessions]!r} and"
            f" {entries[place]!r}: what those write pins nobody, and what they read takes no account of what"
            " the client wrote.",
            hint,
        )


def routers(settings: Settings | None) -> Iterator[CheckMessage]:
    """Check that the router is there, once, and that it and others are asked what they should be."""
    flaw = flaw_of_routers()
    if flaw is not None:
        yield message(
            "E024",
            f"DATABASE_ROUTERS names {flaw}.",
            f"Write the dotted path of a class that can be imported; ours is {ROUTER!r}.",
        )
        return
    routers = installed_routers()
    places = [place for place, router in enumerate(routers) if isinstance(router, ReadWriteRouter)]
    if not places:
        yield message(
            "E017",
            "DATABASE_ROUTERS lacks the router of django_rwrouter: no read goes to a replica, and migrations"
            " are not kept off the replicas.",
            f"Add {ROUTER!r} to DATABASE_ROUTERS, as its first entry.",
        )
        return
    if len(places) > 1:
        yield message(
            "W003",
            f"DATABASE_ROUTERS has {named(_path(routers[place]) for place in places)}: the first decides, and"
            " what it leaves to others is asked twice.",
            "Keep one of them.",
        )
    yield from _other_routers(settings, routers, places[0])


def _other_routers(
    settings: Settings | None, routers: Sequence[object], place: int
) -> Iterator[CheckMessage]:
    """Check that the project's other routers leave to ours what is ours, and have something to say."""
    own = _path(routers[place])
    ahead = [router for router in routers[:place] if _has_any(router, _ROUTING)]
    if ahead:
        yield message(
            "W004",
            f"DATABASE_ROUTERS has {named(map(_path, ahead))} in front of {own!r}:"
            " wherever these name a database, ours is not asked, whatever the client wrote.",
            f"Make {ROUTER!r} the first entry, and give databases of other models an entry in"
            f" {SETTING}['CLUSTERS'] with their MODELS. If the others decide about such models alone, silence"
            " this check.",
        )
    behind = [
        router
        for router in routers[place + 1 :]
        if not isinstance(router, ReadWriteRouter) and _has_any(router, _CHOOSING)
    ]
    clusters = settings.clusters if settings else ()
    all_models = next((cluster for cluster in clusters if cluster.models is None), None)
    if behind and all_models:
        yield message(
            "W005",
            f"DATABASE_ROUTERS has {named(map(_path, behind))} behind {own!r}, which"
            f" decides about every model: all that no cluster names belongs to {all_models.primary!r}.",
            f"Remove the others, and give databases of other models an entry in {SETTING}['CLUSTERS'] with"
            " their MODELS; or give every cluster its MODELS, and the others decide about the rest.",
        )


def _has_any(thing: object, methods: Iterable[str]) -> bool:
    return any(hasattr(thing, method) for method in methods)


def _path(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"
