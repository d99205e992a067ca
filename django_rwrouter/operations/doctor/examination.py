"""Asking all servers of a cluster, each on a connection of its own and within bounds, and comparing them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.db import Error, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import code_of, get_product, meaning_of, what_is_refused
from django_rwrouter.databases.base import Driver, Loss
from django_rwrouter.operations.doctor import DOCTORS, general
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Finding, Notes
from django_rwrouter.servers.survey import plain_cursor, survey

NO_POSITION: Final = "See what the driver registered for this database product reads its position from."
"""What to do where a product of the project's own does not say where it stands."""

CATCH_UP_SECONDS: Final = 2.0
"""How long a replica is given to reach where its primary stood; level ones need microseconds."""

Answer = Facts | str
"""What a server said, or why it did not."""


def examine(cluster: Cluster, timeout: float, aliases: Collection[str] | None = None) -> list[Finding]:
    """Return what there is to say about a cluster. No server takes longer than some ``timeout`` seconds.

    The primary is asked first, because its replicas are asked whether they have reached where it stands: all
    of them, or those among ``aliases``.
    """
    primary = _ask_all(cluster, [cluster.primary], None, timeout)[cluster.primary]
    floor = primary.position if isinstance(primary, Facts) else None
    answers = {cluster.primary: primary}
    replicas = [replica.alias for replica in cluster.replicas if aliases is None or replica.alias in aliases]
    answers.update(_ask_all(cluster, replicas, floor, timeout))
    findings: list[Finding] = []
    for alias, answer in answers.items():
        notes = Notes(cluster.name, alias, findings)
        if isinstance(answer, str):
            notes.error("connection", answer, "Start the server, or correct its entry in DATABASES.")
        else:
            _judge(answer, primary if isinstance(primary, Facts) else None, notes)
    facts = [answer for answer in answers.values() if isinstance(answer, Facts)]
    return [*findings, *general.compare(cluster, facts)]


def _judge(facts: Facts, primary: Facts | None, notes: Notes) -> None:
    where = "the primary" if facts.is_primary else "a replica"
    notes.ok("connection", f"{facts.version} answers; by the settings it is {where}")
    doctor = DOCTORS.get(facts.product.name)
    if doctor is not None:
        doctor.judge(facts, primary, notes)
    elif facts.product.driver is not None:
        general.judge_position(facts, notes, NO_POSITION)
    else:
        general.judge_without_positions(facts, notes)
    general.judge(facts, notes)


def _ask_all(cluster: Cluster, aliases: list[str], floor: Any, timeout: float) -> dict[str, Answer]:
    outcomes = survey(
        aliases,
        lambda connection: _take_down(cluster, connection, floor, timeout),
        timeout=timeout,
        deadline=2 * timeout + CATCH_UP_SECONDS,
    )
    return {
        alias: outcome if isinstance(outcome, Facts) else _why(outcome, timeout)
        for alias, outcome in outcomes.items()
    }


def _take_down(cluster: Cluster, connection: BaseDatabaseWrapper, floor: Any, timeout: float) -> Facts:
    alias = connection.alias
    with plain_cursor(connection) as cursor:
        product = get_product(connection)
        facts = Facts(
            cluster=cluster,
            alias=alias,
            product=product,
            options=connections.settings[alias],
            version=connection.vendor,
        )
        doctor = DOCTORS.get(product.name)
        if doctor is not None:
            doctor.ask(cursor, facts)
        if product.driver is not None:
            try:
                with connection.wrap_database_errors:
                    _ask_position(product.driver, cursor, facts, floor, min(CATCH_UP_SECONDS, timeout / 2))
            except Error as error:
                if product.errors.is_refusal(error):
                    facts.refused = what_is_refused(error)
                elif not facts.is_primary and (
                    doctor is None or product.errors.loss(error, closed=False) is not Loss.SERVER
                ):
                    raise
                # Other facts say why: a standby in the primary's place, a node of Galera that is a donor.
    return facts


def _ask_position(driver: Driver, cursor: Any, facts: Facts, floor: Any, seconds: float) -> None:
    if facts.is_primary:
        facts.position = driver.read_primary(cursor)
        return
    if floor is not None:
        driver.wait(cursor, floor, seconds)
    reading = driver.read_replica(cursor)
    facts.position = reading.position
    if reading.tentative and reading.position is not None:
        facts.position = driver.place(reading.position, floor)
    if floor is not None:
        facts.caught_up = facts.position is not None and facts.position.covers(floor)


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
