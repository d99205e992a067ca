"""Whether the servers are set up for what the router does with them.

``facts`` is what a server said, ``examination`` asks all servers of a cluster and compares them, and one
module for each database judges what its servers said. Nothing is ever changed on a server.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from django_rwrouter.operations.doctor import mariadb, mysql, postgresql
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Notes


class Doctor(Protocol):
    """What the doctor asks the servers of one product, and makes of the answers; a module will do."""

    def ask(self, cursor: Any, facts: Facts) -> None:
        """Write what a server says of itself into ``facts``; the cursor is the database library's own."""
        ...

    def judge(self, facts: Facts, primary: Facts | None, notes: Notes) -> None:
        """Note what is to be said of one server; ``primary`` is ``None`` where that did not answer."""
        ...


DOCTORS: Final[dict[str, Doctor]] = {}
"""By the name of the product."""


def register(name: str, doctor: Doctor) -> None:
    """Have the servers of a product examined, beside what is examined of all."""
    DOCTORS[name] = doctor


for _doctor in (mariadb, mysql, postgresql):
    register(_doctor.PRODUCT.name, _doctor)
