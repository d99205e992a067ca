"""Asking all servers of a cluster, each on a connection of its own and within bounds, and comparing them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import code_of, get_product, meaning_of, what_is_refused
from django_rwrouter.databases.base import Driver, Loss
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
    primary = ExaminedServer(cluster=cluster, alias=cluster.primary)
    replicas = [
        ExaminedServer(cluster=cluster, alias=alias, primary=primary)
        for alias in cluster.replica_aliases
        if aliases is None or alias in aliases
    ]
    answering = [*_ask_all([primary], timeout), *_ask_all(replicas, timeout)]
    for server in answering:
        _judge(server)
    general.compare(cluster, answering)
    return [finding for server in (primary, *replicas) for finding in server.findings]


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


def _ask_all(servers: Sequence[ExaminedServer], timeout: float) -> list[ExaminedServer]:
    """Ask servers at the same time, and return those that answered."""
    by_alias = {server.alias: server for server in servers}
    outcomes = survey(
        by_alias,
        lambda connection: _ask(by_alias[connection.alias], connection, timeout),
        timeout=timeout,
        deadline=2 * timeout + CATCH_UP_SECONDS,
    )
    for alias, outcome in outcomes.items():
        if isinstance(outcome, Exception):
            server = by_alias.pop(alias)
            server.error(
                "connection", _why(outcome, timeout), "Start the server, or correct its entry in DATABASES."
            )
    return [*by_alias.values()]


def _ask(server: ExaminedServer, connection: BaseDatabaseWrapper, timeout: float) -> None:
    with plain_cursor(connection) as cursor:
        server.product = product = get_product(connection)
        server.options, server.version = connections.settings[server.alias], connection.vendor
        doctor = DOCTORS.get(product.name)
        if doctor is not None:
            doctor.ask(cursor, server)
        if product.driver is None:
            return
        try:
            with connection.wrap_database_errors:
                _ask_position(product.driver, cursor, server, min(CATCH_UP_SECONDS, timeout / 2))
        except Error as error:
            if product.errors.is_refusal(error):
                server.refused = what_is_refused(error)
            elif not server.is_primary and (
                doctor is None or product.errors.loss(error, closed=False) is not Loss.SERVER
            ):
                raise
            # Other facts say why: a standby in the primary's place, a node of Galera that is a donor.


def _ask_position(driver: Driver, cursor: Any, server: ExaminedServer, seconds: float) -> None:
    if server.primary is None:
        server.position = driver.read_primary(cursor)
        return
    floor = server.primary.position
    if floor is not None:
        driver.wait(cursor, floor, seconds)
    reading = driver.read_replica(cursor)
    server.position = reading.position
    if reading.tentative and reading.position is not None:
        server.position = driver.place(reading.position, floor)
    if floor is not None:
        server.caught_up = server.position is not None and server.position.covers(floor)


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
