"""Checks that apply to servers of every product, and to all servers of a cluster together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.operations.doctor.examined_server import ExaminedServer

CLOCK_SECONDS: Final = 1.0
"""Largest difference between two clocks that is not reported."""


def judge(server: ExaminedServer) -> None:
    """Judge clock and timeouts."""
    ahead = server.clock
    if ahead is not None and abs(ahead) - server.clock_accuracy > CLOCK_SECONDS:
        server.warning(
            "clock",
            f"its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
            "Nothing here compares a server's clock, but if it is this machine's that is wrong, a client's "
            "window is shorter by as much: synchronise the machines that run Django.",
        )
    elif ahead is not None:
        server.ok("clock", "its clock agrees with this machine's")
    if server.product.timeouts:
        _timeouts(server)


def judge_without_positions(server: ExaminedServer) -> None:
    """Judge a database that has no positions."""
    if server.is_primary:
        return
    message = "this database has no positions: how far a replica is behind cannot be known"
    if server.cluster.needs_positions:
        server.warning(
            "position",
            f"{message}, and causal, strong, MONOTONIC_READS and SYNC_REPLICAS are as the level window",
            "Use MariaDB, MySQL or PostgreSQL, or the level window.",
        )
    else:
        server.ok("position", f"{message}; the level does not need it")


def judge_session(server: ExaminedServer) -> None:
    """Judge whether a new session of a primary that takes writes takes them, too."""
    if server.is_on("session_read_only"):
        server.error(
            "read_only",
            "a new session on the primary is read-only: a pooler hands out one that was left so",
            "Let the pooler reconnect to the server (PgBouncer: RECONNECT), and set READ_ONLY_SESSIONS to"
            " False for what shares sessions.",
        )
    else:
        server.ok("read_only", "it takes writes")


def judge_delay(server: ExaminedServer, seconds: float, remedy: str) -> None:
    """Judge a delay that was asked for on the server, and perhaps not in the settings."""
    if seconds and not server.is_delayed:
        server.warning(
            "replication",
            f"it is kept {seconds:g} s behind on purpose: it will hardly ever serve a bound read",
            f"If that is meant, write 'DELAYED': True among its options in REPLICAS; else {remedy}.",
        )


def judge_position(server: ExaminedServer, advice: str) -> None:
    """Judge where a server stands. ``advice`` is what to do if it does not say."""
    report = server.error if server.cluster.needs_positions else server.warning
    if server.refused:
        is_function = server.refused.startswith("pg_")
        what = f"EXECUTE ON FUNCTION {server.refused}()" if is_function else f"{server.refused} ON *.*"
        report(
            "position",
            f"it refuses to say where it stands: {server.refused} is not there, or not for this user",
            f"GRANT {what} TO the application's user, on the primary. Where the server does not support that,"
            " write CONSISTENCY 'window', to which the levels that need positions fall back.",
        )
    elif server.caught_up is None and not server.is_primary:
        server.unknown(
            "position", "whether it keeps up cannot be told while the primary does not say where it is"
        )
    elif not server.position:
        report("position", "it does not say where it stands", advice)
    elif server.is_primary:
        server.ok("position", "it says where it stands")
    elif server.caught_up:
        server.ok("position", "it has reached where the primary stood")
    elif server.is_delayed:
        server.ok("position", "it is late on purpose, as DELAYED says")
    else:
        server.error(
            "position",
            "it has not reached where the primary stood, or belongs to another history",
            "If replication runs, it is behind: look for the load that keeps it. If it does not catch up, "
            "compare its position with the primary's, and make it anew from a copy of the primary.",
        )


def compare(cluster: Cluster, servers: Sequence[ExaminedServer]) -> None:
    """Find servers in each other's place, aliases of one server, and servers that cannot be told apart."""
    _in_each_others_place(cluster, servers)
    by_number: dict[str, ExaminedServer] = {}
    by_identity: dict[str, ExaminedServer] = {}
    for server in servers:
        number = server.variables.get("server_id", "")
        other = by_number.setdefault(number, server) if number else server
        if other.identity != server.identity:
            server.error(
                "identity",
                f"its server_id is {number}, as is {other.alias!r}'s: their writes cannot be told apart",
                "Give each server a server_id of its own.",
            )
        first = by_identity.setdefault(server.identity, server) if server.identity else server
        if first is not server and first.is_primary:
            server.error(
                "identity",
                "this is the primary itself: it takes no load off it",
                "Give the address of a replica, or take the alias out of REPLICAS.",
            )
        elif first is not server:
            server.warning(
                "identity",
                f"this is the same server as {first.alias!r}",
                "Two aliases of one server are drawn twice as often; write WEIGHT if that is meant.",
            )


def _in_each_others_place(cluster: Cluster, servers: Sequence[ExaminedServer]) -> None:
    """Look for a primary that replicates from a server which the settings call its replica.

    Whether it is read-only does not matter. Two servers that follow each other are none of that.
    """
    sources = [
        server.alias
        for server in servers
        if not server.is_primary
        and (server.follows is False or (server.follows is None and not server.caught_up))
    ]
    for server in servers:
        if server.is_primary and server.follows and sources:
            server.error(
                "roles",
                f"it replicates from another server, and {' and '.join(map(repr, sources))} from nobody:"
                " primary and replica are in each other's place",
                f"Swap their addresses in DATABASES: {cluster.primary!r} is where writes go.",
            )


def _timeouts(server: ExaminedServer) -> None:
    """Judge what bounds a server that says nothing, and how long connections live."""
    missing = server.product.missing_timeouts(server.options.get("OPTIONS", {}))
    if missing and not server.is_primary:
        server.warning(
            "timeouts",
            f"OPTIONS has no {' and no '.join(missing)}: a replica that hangs keeps whoever asks it",
            f"Write {', '.join(f'{name!r}: 2' for name in missing)} (seconds) into its OPTIONS.",
        )
    max_age = server.options.get("CONN_MAX_AGE", 0)
    kept = server.variables.get("wait_timeout", "")
    outlives = max_age is None or (kept.isdigit() and max_age > int(kept))
    if outlives and kept and not server.options.get("CONN_HEALTH_CHECKS"):
        server.warning(
            "timeouts",
            f"Django keeps connections longer (CONN_MAX_AGE {max_age}) than the server does ({kept} s)",
            "Set CONN_HEALTH_CHECKS to True, or CONN_MAX_AGE to less than the server's wait_timeout.",
        )
    elif not missing or server.is_primary:
        server.ok("timeouts", "connections end on both sides as they should")
