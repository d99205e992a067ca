"""What is known of a replica that one thread has open."""

from time import monotonic
from types import SimpleNamespace

import pytest

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.routing.candidates import Standings
from django_rwrouter.scope.state import OpenReplicas
from django_rwrouter.servers.freshness import knowledge
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
    return Standings(cluster, primary, None, OpenReplicas(r1=replica))


def learn(position):
    knowledge.learn_replica("r1", "server", position, monotonic())


def test_a_replica_that_has_a_position_keeps_it_in_a_transaction(replica, standings):
    """It begins after that, and shows what was there then."""
    position = At(1)
    learn(At(2))
    assert standings.reached("r1", position)
    replica.in_atomic_block = True
    assert standings.reached("r1", position)


def test_in_a_transaction_nothing_is_learnt(replica, standings):
    learn(At(2))
    replica.in_atomic_block = True
    assert not standings.reached("r1", At(1))
