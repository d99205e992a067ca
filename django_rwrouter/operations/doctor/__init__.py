"""Examines whether the servers are configured as the router requires.

``examination`` asks all servers of a cluster and compares them, and one module for each database judges what
its servers said. Nothing is ever changed on a server.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from django_rwrouter.databases.mariadb import MariaDB
from django_rwrouter.databases.mysql import MySQL
from django_rwrouter.databases.postgresql import PostgreSQL
from django_rwrouter.operations.doctor import mariadb, mysql, postgresql
from django_rwrouter.operations.doctor.examined_server import ExaminedServer


class Doctor(Protocol):
    """What the doctor asks the servers of one product, and makes of the answers; a module will do."""

    def ask(self, cursor: Any, server: ExaminedServer) -> None:
        """Write what a server says of itself into ``server``; the cursor is the database library's own."""
        ...

    def judge(self, server: ExaminedServer) -> None:
        """Add what there is to say about a server, with ``server.error()`` and its like."""
        ...


DOCTORS: Final[dict[str, Doctor]] = {MariaDB.name: mariadb, MySQL.name: mysql, PostgreSQL.name: postgresql}
"""By the name of the product."""


def register(name: str, doctor: Doctor) -> None:
    """Have the servers of a product examined, beside what is examined of all."""
    DOCTORS[name] = doctor
