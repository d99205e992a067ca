"""Reads after a write return to the replicas as soon as these have caught up: compared with one who knows."""

import random

import pytest
from django.db import connections
from django.test import Client

from django_rwrouter import databases as encoded
from django_rwrouter.conf.options import Lifetime
from django_rwrouter.databases import get_driver
from django_rwrouter.scope.token import decode
from tests.servers.products.test_levels import shown

USERS, REQUESTS = 5, 1500
WRITES = 0.05


class Oracle:
    """Knows every replica's position, without asking as the router does."""

    def __init__(self, cluster):
        self._connections = []
        for alias in ("replica1", "replica2"):
            connection = connections[alias].copy(alias)
            connection.ensure_connection()
            self._connections.append(connection)
        self._primary = connections["default"].copy("default")
        self._primary.ensure_connection()

    def allows_a_replica(self, client):
        """Whether any replica has reached what the client wrote."""
        morsel = client.cookies.get("rwrouter")
        if morsel is None:
            return True
        token, _flaw = decode(morsel.value, {"default": Lifetime(1e12, 1e12)}, 4e9, encoded.decode)
        wanted = token.marks["default"].position
        for connection in self._connections:
            driver = get_driver(connection)
            with connection.connection.cursor() as cursor:
                reading = driver.read_replica(cursor)
            with self._primary.connection.cursor() as cursor:
                at = driver.place(reading.position, driver.read_primary(cursor))
            if at is not None and at.covers(wanted):
                return True
        return False

    def close(self):
        for connection in (*self._connections, self._primary):
            connection.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_share_of_the_primary_is_an_oracles(cluster, routed, seed):
    draw = random.Random(seed)
    users = [Client() for _ in range(USERS)]
    oracle = Oracle(cluster)
    reads = ours = theirs = 0
    try:
        for number in range(REQUESTS):
            user = draw.choice(users)
            if draw.random() < WRITES:
                user.post("/plain/", {"title": f"{number}"})
                continue
            theirs += not oracle.allows_a_replica(user)
            routed.clear()
            shown(user.get("/plain/"))
            [decision] = routed
            reads += 1
            ours += decision.alias == "default"
    finally:
        oracle.close()
    assert reads > REQUESTS * 0.9
    assert ours / reads <= theirs / reads + 0.02, (
        f"{ours} of {reads} reads on the primary; the oracle: {theirs}"
    )
