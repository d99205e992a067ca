"""Checks ``DATABASES`` against what the ``RWROUTER`` setting asks of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.db import connections

from django_rwrouter.blocks import used_levels
from django_rwrouter.checks.messages import message
from django_rwrouter.checks.project import backend_of, product_of, store_of, vendor_of
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Topology, mirrored_by
from django_rwrouter.conf.options import ClusterSettings, Settings
from django_rwrouter.decision import Level
from django_rwrouter.monitor import runtime_directory
from django_rwrouter.stores.cache import CacheStore

_POOLER_PORTS: Final = frozenset({"6432", "6033"})
"""Where PgBouncer and ProxySQL listen unless they are told otherwise."""


def replicas(settings: Settings) -> Iterator[CheckMessage]:
    """Check the replicas of each cluster, and what the settings ask of their databases."""
    store = store_of(settings, CacheStore)
    if store is not None:
        yield from _cache_store(store)
    if any(cluster.replicas for cluster in settings.clusters):
        yield from _monitor(settings)
    for cluster in settings.clusters:
        yield from _positions(cluster)
        yield from _same_server(cluster)
        yield from _lag(cluster)
        yield from _zones(cluster, settings.zone)
        for replica in cluster.replicas:
            options = connections.settings[replica.alias]
            yield from _mirror(cluster, replica.alias, options)
            yield from _transactions(replica.alias, options)
            yield from _tenants(cluster, replica.alias)
            yield from _pooler(cluster, replica.alias, options)
            if vendor_of(replica.alias) is not None:
                yield from _server(cluster, replica.alias)
                yield from _patience(replica.alias, options, settings.monitor.mode)


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


def statistics(settings: Settings) -> Iterator[CheckMessage]:
    """Look for statistics in a file of SQLite's whose transactions fail where another process writes."""
    cluster = Topology(settings).owner("django_rwrouter", "RoutingStatistics")
    if settings.stats.backend != "database" or cluster is None or not product_of(cluster.primary).is_file:
        return
    options = connections.settings[cluster.primary]
    mode = options["OPTIONS"].get("transaction_mode")
    if _is_in_memory(str(options["NAME"])) or str(mode).upper() in {"IMMEDIATE", "EXCLUSIVE"}:
        return
    yield message(
        "I004",
        f"DATABASES[{cluster.primary!r}] is a file of SQLite with transaction_mode {mode!r} in OPTIONS, and"
        " the statistics are written there, too: where it has two writers, which is from the second process"
        " on, a transaction that reads before it writes may fail at once with 'database is locked'.",
        f"Write 'OPTIONS': {{'transaction_mode': 'IMMEDIATE'}} in DATABASES[{cluster.primary!r}], so that"
        f" writers wait for each other, or 'BACKEND': 'off' in {SETTING}['STATS']; silence this check where"
        " there is one process alone.",
    )


def second_aliases(settings: Settings) -> Iterator[CheckMessage]:
    """Look for aliases that lead to a database of ours, and do not say so."""
    topology = Topology(settings)
    servers = {_address(alias): alias for alias in topology.by_alias}
    for alias, options in connections.settings.items():
        same = servers.get(_address(alias))
        if same is None or alias in topology.by_alias or mirrored_by(options):
            continue
        primary = topology.by_alias[same].primary
        yield message(
            "W019",
            f"DATABASES[{alias!r}] leads to the same database as {same!r}, and does not say so: what is"
            f" loaded there is saved there, past {primary!r}, and no client sees such a write of its own.",
            f"Write 'TEST': {{'MIRROR': {primary!r}}} in DATABASES[{alias!r}].",
        )


def _address(alias: str) -> tuple[str, ...]:
    options = connections.settings[alias]
    address = tuple(str(options[key]) for key in ("ENGINE", "NAME", "HOST", "PORT"))
    # Each connection to a database in memory has its own.
    return (*address, alias) if _is_in_memory(address[1]) else address


def _is_in_memory(name: str) -> bool:
    return ":memory:" in name or "mode=memory" in name


def _mirror(cluster: ClusterSettings, alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    mirror = options["TEST"]["MIRROR"]
    hint = f"Write 'TEST': {{'MIRROR': {cluster.primary!r}}} in DATABASES[{alias!r}]."
    if not mirror:
        yield message(
            "W006",
            f"DATABASES[{alias!r}] is a replica without TEST['MIRROR']: tests make a database of its own for"
            " it, to which nothing is replicated.",
            hint,
        )
    elif mirror != cluster.primary:
        yield message(
            "W007",
            f"DATABASES[{alias!r}] is a replica of {cluster.primary!r}, but its TEST['MIRROR'] is"
            f" {mirror!r}: tests read another database than they write.",
            hint,
        )


def _positions(cluster: ClusterSettings) -> Iterator[CheckMessage]:
    """Check that the database can say where it stands, where the settings or the code depend on that."""
    vendor = vendor_of(cluster.primary)
    if not vendor or product_of(cluster.primary).driver:
        return
    used = {
        f"CONSISTENCY {cluster.consistency.value!r}": cluster.consistency in (Level.CAUSAL, Level.STRONG),
        "MONOTONIC_READS": cluster.monotonic_reads,
        "SYNC_REPLICAS": cluster.sync_replicas,
    }
    if any(used.values()):
        yield message(
            "W013",
            f"{' and '.join(filter(used.get, used))} of the cluster {cluster.name!r} needs positions in the"
            f" database's log, and {vendor!r} has none that this package can read: 'causal' is treated as"
            " 'window', which is only as good as PIN_SECONDS, and 'strong' reads from the primary.",
            "Use MariaDB, MySQL 8 or PostgreSQL, or write CONSISTENCY 'window' to say so.",
        )
    if Level.BOUNDED in used_levels and cluster.replicas:
        yield message(
            "W023",
            f"The code has consistency('bounded'), and the cluster {cluster.name!r} is on {vendor!r}, where"
            " nobody knows how late a replica is: such reads all go to the primary.",
            "Use MariaDB, MySQL 8 or PostgreSQL, or write consistency('eventual') where any age will do.",
        )


def _same_server(cluster: ClusterSettings) -> Iterator[CheckMessage]:
    """Look for replicas that are the primary's database, or another replica's."""
    seen = {_address(cluster.primary): cluster.primary}
    for replica in cluster.replicas:
        other = seen.setdefault(_address(replica.alias), replica.alias)
        # Files are on a machine of a developer, where there is no other server.
        if other != replica.alias and not product_of(replica.alias).is_file:
            role = "the primary, which takes those reads, too" if other == cluster.primary else "drawn twice"
            yield message(
                "W020",
                f"DATABASES[{replica.alias!r}] has the ENGINE, NAME, HOST and PORT of {other!r}: one server,"
                f" {role}.",
                f"Write the replica's own HOST or PORT in DATABASES[{replica.alias!r}], or remove it from"
                f" {SETTING}['REPLICAS'].",
            )


def _tenants(cluster: ClusterSettings, alias: str) -> Iterator[CheckMessage]:
    """Check that a replica follows the tenant that the primary's backend is set to."""
    if cluster.replica_session:
        return
    if hasattr(backend_of(cluster.primary), "set_tenant") and not hasattr(backend_of(alias), "set_tenant"):
        engine = connections.settings[cluster.primary]["ENGINE"]
        yield message(
            "E027",
            f"DATABASES[{alias!r}] has ENGINE {connections.settings[alias]['ENGINE']!r}, and its primary"
            f" {cluster.primary!r} {engine!r}: the replica knows of no tenant, and answers with the rows of"
            " another one.",
            f"Write 'ENGINE': {engine!r} in DATABASES[{alias!r}].",
        )


def _pooler(cluster: ClusterSettings, alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Look for a pooler that hands server connections around, and for what does not go with one."""
    sign = f"PORT {options['PORT']!r}" if str(options["PORT"]) in _POOLER_PORTS else ""
    if options.get("DISABLE_SERVER_SIDE_CURSORS"):
        sign = "DISABLE_SERVER_SIDE_CURSORS True"
    kept = f"CONN_MAX_AGE {options['CONN_MAX_AGE']!r}" if options["CONN_MAX_AGE"] != 0 else ""
    unfit = [*filter(None, ["READ_ONLY_SESSIONS True" if cluster.read_only_sessions else "", kept])]
    if sign and unfit:
        yield message(
            "W021",
            f"DATABASES[{alias!r}] has {sign}, as with a pooler that hands connections from one client to the"
            f" next, and {' and '.join(unfit)}: what is set in a session, and learnt of its server, is then"
            " true of somebody else's.",
            f"Write 'READ_ONLY_SESSIONS': False in {SETTING}, and 'CONN_MAX_AGE': 0 in DATABASES[{alias!r}];"
            " silence this check if each client keeps its connection (pool_mode = session).",
        )


def _lag(cluster: ClusterSettings) -> Iterator[CheckMessage]:
    """Check that the lag which ``window`` tolerates is not longer than the pin."""
    if cluster.max_lag is not None and cluster.max_lag > cluster.pin_seconds:
        yield message(
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
        named = ", ".join(map(repr, sorted(zones - {""}))) or "none"
        yield message(
            "W015",
            f"BALANCER of the cluster {cluster.name!r} is 'zone' and {SETTING}['ZONE'] is {own!r}, where no"
            f" replica is (their zones: {named}): all replicas are drawn alike.",
            "Write this process's zone into ZONE, and {'replica1': {'ZONE': 'a'}} into REPLICAS.",
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


def _transactions(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if options["ATOMIC_REQUESTS"]:
        yield message(
            "E018",
            f"DATABASES[{alias!r}] is a replica with ATOMIC_REQUESTS {options['ATOMIC_REQUESTS']!r}: Django"
            " opens a transaction there for every request, and while the replica is away every one fails.",
            f"Remove ATOMIC_REQUESTS from DATABASES[{alias!r}]. On the primary it may stay.",
        )
    if not options["AUTOCOMMIT"]:
        yield message(
            "E019",
            f"DATABASES[{alias!r}] is a replica with AUTOCOMMIT {options['AUTOCOMMIT']!r}: the first read"
            " opens a transaction that nobody ends. It may show the same old state for ever, and its locks"
            " can stop replication.",
            f"Remove AUTOCOMMIT from DATABASES[{alias!r}].",
        )


def _server(cluster: ClusterSettings, alias: str) -> Iterator[CheckMessage]:
    vendor, expected = vendor_of(alias), vendor_of(cluster.primary)
    if expected not in (None, vendor):
        yield message(
            "E020",
            f"DATABASES[{alias!r}] is a replica on {vendor!r}, but its primary {cluster.primary!r} is on"
            f" {expected!r}: one cannot replay the other's log.",
            f"Correct ENGINE of one of the two, or remove {alias!r} from {SETTING}['REPLICAS'].",
        )
    if cluster.read_only_sessions and not product_of(alias).read_only_statement(lambda: None):
        yield message(
            "W011",
            f"DATABASES[{alias!r}] is a replica on {vendor!r}, where sessions cannot be made read-only: a"
            " write that is sent there by mistake may be done.",
            "Use a user there who may only read, and write 'READ_ONLY_SESSIONS': False to say so.",
        )


def _patience(alias: str, options: Mapping[str, Any], monitor: str) -> Iterator[CheckMessage]:
    """Check how long a replica that is frozen or gone holds up a request."""
    product, driver = product_of(alias), options["OPTIONS"]
    missing = product.missing_timeouts(driver)
    if "connect_timeout" in missing:
        yield message(
            "W008",
            f"DATABASES[{alias!r}] is a replica without connect_timeout in OPTIONS: while its server is"
            " frozen or out of reach, requests wait for it for minutes, or for ever.",
            f"Write 'OPTIONS': {{'connect_timeout': 2}} (whole seconds) in DATABASES[{alias!r}].",
        )
    if "read_timeout" in missing:
        yield message(
            "W009",
            f"DATABASES[{alias!r}] is a replica without read_timeout in OPTIONS: when its server freezes,"
            " requests with an open connection to it wait for ever.",
            f"Write 'OPTIONS': {{'read_timeout': 5}} (whole seconds, more than your slowest query takes) in"
            f" DATABASES[{alias!r}].",
        )
    kept = "pooled" if driver.get("pool") else ""
    if options["CONN_MAX_AGE"] != 0:
        kept = f"kept (CONN_MAX_AGE {options['CONN_MAX_AGE']!r})"
    if not product.is_file and kept and not options["CONN_HEALTH_CHECKS"]:
        yield message(
            "W010",
            f"DATABASES[{alias!r}] is a replica whose connections are {kept} without CONN_HEALTH_CHECKS:"
            " after the server restarts, each of them fails a request.",
            f"Write 'CONN_HEALTH_CHECKS': True in DATABASES[{alias!r}].",
        )
    if product.is_serializable(driver):
        yield message(
            "W024",
            f"DATABASES[{alias!r}] is a replica with serializable transactions in OPTIONS, which no"
            " standby has: each new connection has to be given another level or, with READ_ONLY_SESSIONS"
            " False, each read fails there and is run again on the primary.",
            f"Leave that out of the OPTIONS in DATABASES[{alias!r}]. The primary may keep it.",
        )
    if product.reads_can_hang and kept and monitor != "thread":
        yield message(
            "W017",
            f"DATABASES[{alias!r}] is a replica whose connections are {kept} while {SETTING}['MONITOR'] has"
            f" MODE {monitor!r}: when its server freezes, requests that use one wait for ever.",
            "Use MODE 'thread', which ends such reads, or write 'CONN_MAX_AGE': 0, and no pool, in"
            f" DATABASES[{alias!r}].",
        )
