"""Whoever waits for a server that has fallen silent is freed, whatever it was that was asked."""

import threading
import time

import pytest
from django.db import Error, connections

from django_rwrouter.monitor.rounds import cut_off
from tests.busy_clock import busy_clock
from tests.servers.products.settings import TIMEOUT


def ping(connection):
    assert not connection.is_usable()


def ask(connection):
    with pytest.raises(Error), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.parametrize("wait", [ping, ask])
@pytest.mark.parametrize("alias", ["default", "replica1"])
def test_connections_of_other_threads(cluster, alias, wait):
    """One in a ping, or in a statement, and one that nobody uses at the moment."""
    server = {"default": cluster.primary, "replica1": cluster.replicas[0]}[alias]
    opened, frozen, seconds = threading.Barrier(3), threading.Event(), {}

    def use(name, how):
        connection = connections[alias]
        connection.ensure_connection()
        opened.wait(10)
        frozen.wait(10)
        if name == "idle":
            cut.wait(10)
        began = busy_clock()
        try:
            how(connection)
            seconds[name] = busy_clock() - began
        finally:
            connection.close()

    cut = threading.Event()
    threads = [
        threading.Thread(target=use, args=("busy", wait)),
        threading.Thread(target=use, args=("idle", ping)),
    ]
    for thread in threads:
        thread.start()
    opened.wait(10)
    server.freeze()
    try:
        frozen.set()
        time.sleep(0.3)
        assert seconds == {}
        cut_off(alias)
        cut.set()
        for thread in threads:
            thread.join(10)
    finally:
        server.thaw()
    assert seconds.keys() == {"busy", "idle"}
    assert seconds["busy"] < TIMEOUT
    assert seconds["idle"] < TIMEOUT / 2
