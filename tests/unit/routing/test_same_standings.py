"""A thread's standings say what the functions before them said, whatever is known and open."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.routing.snapshot import Standings
from django_rwrouter.scope.state import OpenReplicas, ThreadConnections, this_thread
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.identity import set_server
from tests.unit.routing.previous import snapshot as previous
from tests.unit.routing.test_ladder import At

SERVER = st.none() | st.sampled_from(["s1", "s2"])
CONNECTIONS = st.none() | st.fixed_dictionaries(
    {"opened": st.booleans(), "busy": st.booleans(), "server": SERVER, "same": st.booleans()}
)
PLACES = [At(number, history) for number in range(3) for history in ("first", "second")]


def connection(name, *, opened=True, busy=False, server=None, same=False):
    options = dict.fromkeys(("ENGINE", "NAME", "HOST", "PORT", "USER", "OPTIONS"), "main" if same else name)
    made = SimpleNamespace(
        connection=object() if opened else None,
        in_atomic_block=busy,
        autocommit=True,
        settings_dict={**options, "TEST": {}},
    )
    set_server(made, server)
    return made


@effort(max_examples=500, deadline=None)
@given(
    one=CONNECTIONS,
    sampled=st.dictionaries(st.sampled_from(["s1", "s2"]), st.tuples(st.sampled_from(PLACES), st.booleans())),
    behind=SERVER,
    primary=st.lists(st.sampled_from(PLACES), max_size=2),
    position=st.sampled_from(PLACES),
    before=st.none() | st.sampled_from(PLACES),
)
def test_standings_are_as_before(one, sampled, behind, primary, position, before):
    with pytest.MonkeyPatch.context() as patch:
        clock = 1000.0
        for module in ("django_rwrouter.servers.freshness",):
            patch.setattr(f"{module}.monotonic", lambda: clock)
        knowledge.reset()
        for number, where in enumerate(primary):
            knowledge.learn_primary("shop", where, 900.0 + number)
        for server, (where, recent) in sampled.items():
            knowledge.learn_replica("r1", server, where, clock - (0.5 if recent else 70.0))
        if behind is not None:
            knowledge._behind["r1"] = behind
        made = connection("r1", **(one or {}))
        everyone = {"r1": made}
        patch.setattr(previous, "connections", everyone)
        patch.setattr("django_rwrouter.routing.snapshot.connections", everyone)
        main = connection("main", same=True)
        here = ThreadConnections(main, None, OpenReplicas({} if one is None else everyone))
        old_scope = SimpleNamespace(satisfied={})
        ours = SimpleNamespace(primary=main, opened=here.opened, same_as_primary={})
        if before is not None:
            here.satisfied["r1"] = old_scope.satisfied[this_thread(), "r1"] = before
        cluster = Cluster(
            settings=ClusterSettings(name="shop", primary="main", replicas=(ReplicaSettings(alias="r1"),)),
            enabled=True,
            shadow=False,
        )
        standings = Standings(cluster, main, here.opened, here.satisfied)
        for _ in range(2):
            assert standings.reached("r1", position) == previous.reached(old_scope, ours, "r1", position)
            assert standings.staleness("r1") == previous.staleness("shop", ours, "r1")
            assert standings.asked_lately("r1") == previous.asked_lately(cluster, ours, "r1")
        assert here.satisfied.get("r1") is old_scope.satisfied.get((this_thread(), "r1"))
        knowledge.reset()
