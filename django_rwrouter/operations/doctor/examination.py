"""Asking all servers of a cluster, each on a connection of its own and within bounds, and comparing them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import code_of, get_product, meaning_of
from django_rwrouter.databases.base import Loss
from django_rwrouter.monitor.look import ask_state
from django_rwrouter.monitor.probes import PrimarySample
from django_rwrouter.operations.doctor import DOCTORS, general
from django_rwrouter.operations.doctor.examined_server import ExaminedServer, Finding
from django_rwrouter.servers.survey import plain_cursor, survey

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
    general.compare(cluster, answering)
    return [finding for server in servers.values() for finding in server.findings]


def _judge(server: ExaminedServer) -> None:
    where = "the primary" if server.is_primary else "a replica"
    server.ok("connection", f"{server.version} answers; by the settings it is {where}")
    doctor = DOCTORS.get(server.product.name)
    if doctor is not None:
        doctor.judge(server)
    elif server.product.driver is not None:
        general.judge_position(
            server, "See what the driver registered for this database product reads its position from."
        )
    else:
        general.judge_without_positions(server)
    general.judge(server)


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
