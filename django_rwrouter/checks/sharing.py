"""Checks what processes share: the caches that the setting names, and the directory of a host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from django.conf import settings as django_settings
from django.core.checks import CheckMessage

from django_rwrouter.checks.inspection import store_of
from django_rwrouter.checks.messages import message
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.options import Settings
from django_rwrouter.monitor import runtime_directory
from django_rwrouter.stores.cache import CacheStore


def sharing(settings: Settings) -> Iterator[CheckMessage]:
    """Check that what one process learns or keeps reaches the others."""
    store = store_of(settings, CacheStore)
    if store is not None:
        yield from _cache_store(store)
    if any(cluster.replicas for cluster in settings.clusters):
        yield from _monitor(settings)


def _monitor(settings: Settings) -> Iterator[CheckMessage]:
    if settings.monitor.mode == "off":
        yield message(
            "W016",
            f"{SETTING}['MONITOR'] has MODE 'off': a replica that dies or freezes is found by the requests"
            " that meet it, reads under 'window' ask the servers how late they are, and processes do not see"
            " what is drained or switched off elsewhere.",
            "Remove it, or write 'MODE': 'inline' where there can be no threads.",
        )
    if settings.monitor.mode == "thread" and settings.monitor.share == "host":
        flaw = runtime_directory.flaw()
        if flaw:
            yield message(
                "W026",
                f"{SETTING}['MONITOR'] has SHARE 'host', and the directory where the host's processes"
                f" meet cannot be used ({flaw}): each process asks the servers by itself.",
                "Have XDG_RUNTIME_DIR name a directory of this user's with mode 0700, or write"
                f" 'SHARE': 'none' in {SETTING}['MONITOR'].",
            )
    kind, _, alias = settings.monitor.share.partition(":")
    if settings.monitor.mode == "thread" and kind == "cache":
        yield from _shared_cache(alias)


def _shared_cache(alias: str) -> Iterator[CheckMessage]:
    """Check that the cache has one copy of each entry, for all processes, and without our databases."""
    cache: object = django_settings.CACHES[alias]
    if not isinstance(cache, Mapping):
        return  # Django says so.
    backend = str(cache.get("BACKEND", "")).rpartition(".")[2]
    flaw = {
        "LocMemCache": "which each process has to itself, so that each asks the servers by itself",
        "DummyCache": "which keeps nothing, so that nothing is known of the servers",
        "DatabaseCache": "which is away when its database is",
    }.get(backend, "")
    locations = cache.get("LOCATION") or ""
    servers = re.split("[;,]", locations) if isinstance(locations, str) else locations
    if backend == "RedisCache" and len(servers) > 1:
        flaw = "which reads from copies that lag, so that processes do not share for long"
    if flaw:
        yield message(
            "W027",
            f"{SETTING}['MONITOR'] has SHARE 'cache:{alias}', but CACHES[{alias!r}] is a {backend}, {flaw}.",
            "Name a cache that all processes share, with one copy of each entry, such as one Redis or"
            " Memcached; or leave SHARE out.",
        )


def _cache_store(store: str) -> Iterator[CheckMessage]:
    """Check that the cache is one that all processes share."""
    backend = str(django_settings.CACHES.get("default", {}).get("BACKEND", ""))
    if backend.rpartition(".")[2] in {"LocMemCache", "DummyCache"}:
        yield message(
            "W014",
            f"{SETTING}['STORE'] has {store!r}, but CACHES['default'] is {backend!r}, which each process has"
            " to itself: a write in one is not known in the others.",
            "Use a cache that all processes share, such as Redis or Memcached, or the store 'cookie'.",
        )
