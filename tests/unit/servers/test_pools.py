"""Connections from a pool for greenlets, such as ``django_db_geventpool`` has; no server is asked."""

import time
from types import SimpleNamespace
from weakref import WeakSet

import pytest
from django.db import OperationalError

from django_rwrouter.servers import pools, sockets

gevent = pytest.importorskip("gevent", reason="needs gevent: pip install gevent")
PATIENCE = 0.3


class Raw:
    """A driver's connection."""


class Pool:
    """The attributes of ``django_db_geventpool.backends.pool.DatabaseConnectionPool``, and how it draws."""

    def __init__(self, maxsize, connect=Raw):
        from gevent.queue import Queue

        self.maxsize = maxsize
        self.pool = Queue()
        self.create_connection = connect
        self._conns = WeakSet()

    @property
    def size(self):
        return len(self._conns)

    def get(self):
        if self.size >= self.maxsize or self.pool.qsize():
            return self.pool.get()
        raw = self.create_connection()
        self._conns.add(raw)
        return raw


class Wrapper:
    """A connection of Django's; its backend looks its pool up as ``django_db_geventpool`` does."""

    alias = "replica1"

    def __init__(self, pool):
        self._pool = pool
        self.connection = None

    @property
    def pool(self):
        return self._pool

    def ensure_connection(self):
        if self.connection is None:
            self.connection = self.pool.get()


@pytest.fixture(autouse=True)
def nobody_waits():
    pools.reset()
    yield
    pools.reset()


def test_a_full_pool_is_waited_for_no_longer_than_it_is_worth():
    pool = Pool(1)
    first, second = Wrapper(pool), Wrapper(pool)
    pools.connect(first, PATIENCE)
    began = time.monotonic()
    with gevent.Timeout(20), pytest.raises(pools.FullPoolError, match="MAX_CONNS"):
        pools.connect(second, PATIENCE)
    assert time.monotonic() - began >= PATIENCE
    assert second.pool is pool
    pool.pool.put(first.connection)
    pools.connect(second, PATIENCE)
    assert second.connection is first.connection


def test_a_server_that_lets_nobody_in_is_no_full_pool():
    wrapper = Wrapper(Pool(2, connect=lambda: gevent.sleep(60)))
    with gevent.Timeout(20), pytest.raises(OperationalError) as caught:
        pools.connect(wrapper, PATIENCE)
    assert not isinstance(caught.value, pools.FullPoolError)


def test_what_the_pool_holds_of_a_dead_server_is_ended(monkeypatch):
    pool = Pool(3)
    wrapper = Wrapper(pool)
    pools.connect(wrapper, PATIENCE)
    idle, in_check = Raw(), Raw()
    pool._conns.update([idle, in_check])
    pool.pool.put(idle)
    severed = []
    monkeypatch.setattr(sockets, "sever", severed.append)
    monkeypatch.setattr(sockets, "openers", lambda _alias: [wrapper])
    monkeypatch.setattr(
        pools, "connections", {"replica1": SimpleNamespace(_connection_pools={"replica1": pool})}
    )
    pools.end_unused("replica1")
    assert set(severed) == {idle, in_check}
