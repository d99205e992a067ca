"""Examines all servers of a cluster at once, each on its own connection, and compares them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import code_of, get_product, meaning_of
from django_rwrouter.databases.base import Loss
from django_rwrouter.monitor.cluster_state import ask_state
from django_rwrouter.monitor.probes import PrimarySample
from django_rwrouter.operations.doctor import DOCTORS
from django_rwrouter.operations.doctor.examined_server import ExaminedServer, Finding
from django_rwrouter.servers.survey import plain_cursor, survey

CLOCK_SECONDS: Final = 1.0
"""Largest difference between two clocks that is not reported."""
CATCH_UP_SECONDS: Final = 2.0
"""How long a replica is given to reach where its primary stood; level ones need microseconds."""


def examine(cluster: Cluster, timeout: float, aliases: Collection[str] | None = None) -> list[Finding]:
    """Return what there is to say about a cluster. No server takes longer than some ``timeout`` seconds.

    The primary is asked first, because its replicas are asked whether they have reached where it stands: all
    of them, or those among ``aliases``.
    """
    servers = {
        alias: ExaminedServer(cluster=cluster, alias=alias)
        for alias in cluster.aliases
        if aliases is None or alias in aliases or alias == cluster.primary
    }
    sample = PrimarySample()
    outcomes = survey(
        servers,
        lambda connection: _ask(servers[connection.alias], connection, sample, timeout),
        timeout=timeout,
        deadline=2 * timeout + CATCH_UP_SECONDS,
    )
    answering = []
    for alias, server in servers.items():
        outcome = outcomes[alias]
        if isinstance(outcome, Exception):
            advice = "Start the server, or correct its entry in DATABASES."
            server.error("connection", _why(outcome, timeout), advice)
        else:
            server.primary = servers[cluster.primary]
            _judge(server)
            answering.append(server)
    compare(cluster, answering)
    return [finding for server in servers.values() for finding in server.findings]


def _judge(server: ExaminedServer) -> None:
    where = "the primary" if server.is_primary else "a replica"
    server.ok("connection", f"{server.version} answers; by the settings it is {where}")
    doctor = DOCTORS.get(server.product.name)
    if doctor is not None:
        doctor.judge(server)
    elif server.product.driver is not None:
        server.judge_position(
            "See what the driver registered for this database product reads its position from."
        )
    else:
        _judge_without_positions(server)
    judge_clock_and_timeouts(server)


def _ask(
    server: ExaminedServer, connection: BaseDatabaseWrapper, sample: PrimarySample, timeout: float
) -> None:
    catch_up = min(CATCH_UP_SECONDS, timeout / 2)
    try:
        state = ask_state(server.cluster, connection, sample, patience=timeout, catch_up=catch_up)
    except Error as error:
        product = get_product(connection)
        # Then other facts say why: a standby in the primary's place, a node of Galera that is a donor.
        is_explained = server.is_primary or (
            product.name in DOCTORS and product.errors.loss(error, closed=False) is Loss.SERVER
        )
        if connection.connection is None or not is_explained:
            raise
    else:
        server.position, server.refused = state.position, state.refused
        if not server.is_primary and sample.position is not None:
            server.caught_up = state.lag is not None
    server.product, server.version = get_product(connection), connection.vendor
    server.options = connections.settings[server.alias]
    doctor = DOCTORS.get(server.product.name)
    if doctor is not None:
        with plain_cursor(connection) as cursor:
            doctor.ask(cursor, server)


def _why(error: Exception, timeout: float) -> str:
    """Say why a server could not be asked; not in the driver's words, which name host and user."""
    if isinstance(error, TimeoutError):
        return f"it has not answered within {timeout:g} s"
    if not isinstance(error, Error):
        return f"it cannot be asked ({type(error).__name__})"
    code = code_of(error)
    name = type(error.__cause__ or error).__name__
    if code is None and isinstance(error, OperationalError):
        return f"it does not answer ({name})"  # PostgreSQL's client knows no codes of its own.
    return f"it {meaning_of(str(code)) or 'cannot be asked'} ({code or name})"


def judge_clock_and_timeouts(server: ExaminedServer) -> None:
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


def _judge_without_positions(server: ExaminedServer) -> None:
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
