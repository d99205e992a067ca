"""Checks ``DATABASES`` against what the ``RWROUTER`` setting asks of them."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage
from django.db import connections

from django_rwrouter.blocks import used_levels
from django_rwrouter.checks.inspection import product_of, vendor_of
from django_rwrouter.checks.messages import message
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.clusters import Topology, mirrored_by
from django_rwrouter.conf.options import ClusterSettings, Settings
from django_rwrouter.decision import Level


def clusters(settings: Settings) -> Iterator[CheckMessage]:
    """Check each cluster as a whole, against what the settings ask of its databases."""
    for cluster in settings.clusters:
        yield from _positions(cluster)
        yield from _same_server(cluster)
        yield from _lag(cluster)
        yield from _zones(cluster, settings.zone)


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
