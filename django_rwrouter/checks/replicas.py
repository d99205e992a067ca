"""Checks the entry of each replica in ``DATABASES``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.core.checks import CheckMessage
from django.db import connections

from django_rwrouter.checks.inspection import backend_of, product_of, vendor_of
from django_rwrouter.checks.messages import message
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.options import ClusterSettings, Settings

_POOLER_PORTS: Final = frozenset({"6432", "6033"})
"""Where PgBouncer and ProxySQL listen unless they are told otherwise."""


def replicas(settings: Settings) -> Iterator[CheckMessage]:
    """Check each replica, against its primary and what the settings ask of it."""
    for cluster in settings.clusters:
        for replica in cluster.replicas:
            options = connections.settings[replica.alias]
            yield from _mirror(cluster, replica.alias, options)
            yield from _transactions(replica.alias, options)
            yield from _tenants(cluster, replica.alias)
            yield from _pooler(cluster, replica.alias, options)
            if vendor_of(replica.alias) is not None:
                yield from _server(cluster, replica.alias)
                yield from _patience(replica.alias, options, settings.monitor.mode)


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
