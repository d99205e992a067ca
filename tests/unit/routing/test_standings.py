"""What is known of a replica that one thread has open."""

import math
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import SimpleNamespace

import pytest

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.routing import pending_read
from django_rwrouter.routing.pending_read import Standings, note_new_connection, standings_of
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import set_server
from tests.unit.routing.test_ladder import At


@pytest.fixture
def replica():
    options = dict.fromkeys(("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS"), "r1")
    made = SimpleNamespace(
        connection=object(), in_atomic_block=False, autocommit=True, settings_dict={**options, "TEST": {}}
    )
    set_server(made, "server")
    yield made
    knowledge.reset()


@pytest.fixture
def standings(replica):
    cluster = Cluster(
        settings=ClusterSettings(name="shop", primary="main", replicas=(ReplicaSettings(alias="r1"),)),
        enabled=True,
        shadow=False,
    )
    options = dict.fromkeys(("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS"), "main")
    primary = SimpleNamespace(settings_dict=options)
    return Standings(cluster, primary, None, True, {"r1": replica})


def learn(position):
    knowledge.learn_replica("r1", "server", position, monotonic())


def test_in_a_transaction_nothing_is_known_of_a_replica(replica, standings):
    """It shows the past in which it began."""
    learn(At(2))
    assert standings.reached("r1", At(1))
    replica.in_atomic_block = True
    assert not standings.reached("r1", At(1))
    assert standings.staleness("r1") == math.inf


class Connection(SimpleNamespace):
    """A connection whose health checks are as Django's."""

    alias = "r1"
    health_check_enabled = health_check_done = False
    answers = True

    def close_if_health_check_failed(self):
        self.health_check_done = True
        if not self.answers:
            self.connection = None


@pytest.mark.parametrize(
    ("given", "is_ready"),
    [
        pytest.param({}, True, id="open"),
        pytest.param({"connection": None}, False, id="closed"),
        pytest.param({"health_check_enabled": True}, True, id="pinged now"),
        pytest.param({"health_check_enabled": True, "answers": False}, False, id="pinged in vain"),
        pytest.param({"health_check_done": True, "answers": False}, True, id="pinged before"),
        pytest.param({"answers": False}, True, id="not to be pinged"),
        pytest.param({"cursor": type("_DatabaseFailure", (), {})()}, False, id="forbidden by a test"),
        pytest.param({"cursor": print}, True, id="with another cursor"),
    ],
)
def test_a_connection_that_was_opened_is_used_unless_something_speaks_against_it(standings, given, is_ready):
    standings.opened["r1"] = Connection(**{"connection": object(), **given})
    assert standings.is_ready("r1") is is_ready


def test_a_connection_to_a_replica_that_was_ejected_is_not_used_as_it_is(standings):
    standings.opened["r1"] = Connection(connection=object())
    health.failed("r1")
    assert not standings.is_ready("r1")
    health.reset()
    assert standings.is_ready("r1")


# --- kept by the thread ------------------------------------------------------------------------------


@pytest.fixture
def main(monkeypatch):
    made = SimpleNamespace(alias="main", vendor="mysql", execute_wrappers=[])
    monkeypatch.setattr(pending_read, "connections", {"main": made})
    return made


def test_what_is_known_of_connections_is_kept_by_the_thread(main, standings):
    here = standings_of(standings.cluster, on_loop=False)
    assert here.primary is main
    assert standings_of(standings.cluster, on_loop=False) is here
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(standings_of, standings.cluster, on_loop=False).result() is not here


def test_on_an_event_loop_nothing_is_kept(main, standings):
    """Django has other connections there for each task."""
    here = standings_of(standings.cluster, on_loop=True)
    assert standings_of(standings.cluster, on_loop=True) is not here
    assert standings_of(standings.cluster, on_loop=False) is not here


def test_a_change_of_the_settings_ends_it(main, standings):
    here = standings_of(standings.cluster, on_loop=False)
    changed = Cluster(settings=standings.cluster.settings, enabled=True, shadow=True)
    assert standings_of(changed, on_loop=False) is not here


def test_another_connection_of_the_primary_ends_it(main, standings):
    here = standings_of(standings.cluster, on_loop=False)
    note_new_connection(standings.cluster, main)
    assert standings_of(standings.cluster, on_loop=False) is here
    note_new_connection(standings.cluster, SimpleNamespace(alias="main"))
    assert standings_of(standings.cluster, on_loop=False) is not here


def test_a_new_connection_of_a_replica_is_not_taken_for_the_one_before(main, replica, standings):
    here = standings_of(standings.cluster, on_loop=False)
    here.opened["r1"] = replica
    note_new_connection(standings.cluster, SimpleNamespace(alias="r1"))
    assert not here.opened
