"""The state of a cluster's servers now, with connections that are made up."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from django.db import OperationalError, ProgrammingError

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.databases.base import Reading
from django_rwrouter.monitor import probes, server_states
from django_rwrouter.servers import survey as surveys

LONG = 60.0
"""Seconds; nothing here takes so long."""


class At(int):
    """A position on a line."""

    def covers(self, other):
        return self >= other

    def encode(self):
        return str(int(self))


class FakeConnection:
    vendor = "postgresql"
    wrap_database_errors = nullcontext()

    def __init__(self, alias):
        self.alias = alias
        self.connection = None

    def ensure_connection(self):
        if self.alias == "down":
            raise OperationalError(2003, "nothing at 10.0.0.1")
        self.connection = SimpleNamespace(cursor=lambda: SimpleNamespace(close=lambda: None))

    def is_usable(self):
        return True

    def close(self):
        pass


class Driver:
    """The replica gets one further with each question."""

    def __init__(self, replica, *, refuses=False):
        self.replica = replica
        self.refuses = refuses

    def describe_primary(self, _cursor):
        if self.refuses:
            cause = Exception()
            cause.sqlstate = "42501"
            raise ProgrammingError("permission denied for function pg_current_wal_flush_lsn") from cause
        return Reading("s1", At(5), writable=True)

    def read_replica(self, _cursor):
        self.replica += 1
        return Reading("s2", At(self.replica - 1), writable=False)


@pytest.fixture
def look(monkeypatch):
    """Return the states of the servers behind these aliases."""
    monkeypatch.setattr(surveys, "own_connection", lambda alias, _timeout: FakeConnection(alias))
    monkeypatch.setattr(probes.connections, "create_connection", FakeConnection)
    monkeypatch.setattr(probes.identity, "is_primary", lambda _own, _primary: False)

    def look(primary, replica, driver=None):
        monkeypatch.setattr(probes, "get_driver", lambda _connection: driver)
        replicas = (ReplicaSettings(alias=replica),)
        settings = ClusterSettings(name="shop", primary=primary, replicas=replicas)
        states = server_states(Cluster(settings=settings, enabled=True, shadow=False), LONG)
        return states[primary], states[replica]

    return look


def test_a_replica_that_reaches_the_primary_lags_at_most_since_that_was_asked(look):
    primary, replica = look("well", "replica", Driver(3))
    assert (primary.role, primary.position, primary.lag) == ("primary", "5", None)
    assert (replica.role, replica.position) == ("replica", "5")
    assert replica.lag > 0
    assert replica.lag_at_least is None


def test_a_replica_that_does_not_reach_it_lags_at_least_so_long(look, monkeypatch):
    monkeypatch.setattr("django_rwrouter.monitor.cluster_state.PATIENCE", 0.1)
    _primary, replica = look("well", "replica", Driver(-1000))
    assert replica.lag is None
    assert replica.lag_at_least >= 0.1


def test_a_primary_that_cannot_be_reached_lets_its_replicas_answer(look):
    primary, replica = look("down", "well", Driver(3))
    assert primary.failure == "OperationalError 2003"
    assert (replica.role, replica.lag, replica.lag_at_least) == ("replica", None, None)


def test_a_server_that_refuses_to_say_where_it_stands_has_answered(look):
    primary, replica = look("well", "down", Driver(3, refuses=True))
    assert primary.reachable
    assert primary.refused == "pg_current_wal_flush_lsn"
    assert (replica.failure, replica.refused) == ("OperationalError 2003", "")


def test_without_positions_it_counts_that_a_server_answers(look):
    primary, replica = look("well", "down")
    assert primary.failure == ""
    assert replica.failure == "OperationalError 2003"


def test_another_name_of_the_primary_is_not_waited_for(look, monkeypatch):
    """Promoted once, it may tell for ever how far it had replayed as a replica."""
    monkeypatch.setattr(probes.identity, "is_primary", lambda _own, _primary: True)
    driver = Driver(-1000)
    _primary, replica = look("well", "replica", driver)
    assert (replica.lag, driver.replica) == (0.0, -999)
