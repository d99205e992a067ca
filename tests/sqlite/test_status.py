"""What is known of each cluster now, on SQLite; real servers are looked at in tests/servers/mariadb."""

import time

import pytest
from django.db import connection, connections

from django_rwrouter import routing_scope, stats
from django_rwrouter.operations import overrides
from django_rwrouter.operations.cluster_now import ServerNow
from django_rwrouter.operations.status import overview
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition, ServerState
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.summary import Database
from django_rwrouter.stats.table import RoutingStatistics
from tests.app.models import Book

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _databases(databases):
    """Each test changes them."""


@pytest.fixture
def cluster():
    """Return the only cluster, as it is now."""

    def now(**how):
        [cluster] = overview(**how).clusters
        return cluster

    return now


def conditions(cluster):
    return {server.alias: server.state.condition.value for server in cluster.servers}


def read(alias, times):
    for _ in range(times):
        stats.count_statement("default", alias, "read", "window", "", 0.001)


def test_servers_that_are_well(cluster):
    now = cluster()
    assert conditions(now) == dict.fromkeys(("default", "replica1", "replica2"), "healthy")
    assert (now.name, now.level, now.routing, now.switched_off) == ("default", "window", "on", None)
    assert [server.is_primary for server in now.servers] == [True, False, False]


def test_servers_that_cannot_be_reached(cluster, servers):
    servers.kill("replica1")
    now = cluster()
    assert conditions(now) == {"default": "healthy", "replica1": "unreachable", "replica2": "healthy"}
    assert now.replicas[0].state.failure == now.replicas[0].state.why == "OperationalError"


def test_nothing_is_asked_where_a_monitor_watches(cluster, servers):
    servers.kill("replica1")
    health.watch(60)
    assert conditions(cluster())["replica1"] == "healthy"
    assert conditions(cluster(ask=True))["replica1"] == "unreachable"


def test_what_this_process_has_ejected(cluster):
    health.failed("replica2", "OperationalError 2013")
    health.watch(60)
    replica = cluster().replicas[1]
    assert (replica.state.condition, replica.state.why) == (Condition.EJECTED, "OperationalError 2013")
    assert abs(replica.state.since - time.time()) < 60


def test_what_an_operator_has_drained_is_shown_with_who_and_why(cluster):
    overrides.drain("replica1", "a new disk", "kim")
    health.reset()  # As in a process that has not heard of it yet.
    replica = cluster().replicas[0]
    assert (replica.state.condition, replica.state.why) == (Condition.DRAINED, "a new disk (kim)")
    assert (replica.drained.by, replica.state.since) == ("kim", replica.drained.at)


def test_a_drained_replica_that_is_down_is_shown_as_both(cluster, servers):
    overrides.drain("replica1")
    servers.kill("replica1")
    replica = cluster().replicas[0]
    assert (replica.state.condition, replica.state.failure) == (Condition.DRAINED, "OperationalError")


@pytest.mark.parametrize(
    ("enabled", "switched_off", "routing"),
    [
        (True, False, "on"),
        (True, True, "switched_off"),
        ("shadow", False, "shadow"),
        ("shadow", True, "switched_off"),
        (False, False, "off"),
    ],
)
def test_whether_it_routes_at_all(cluster, settings, enabled, switched_off, routing):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "ENABLED": enabled}
    if switched_off:
        overrides.switch_off("default", "stale reads", "kim")
    now = cluster()
    assert now.routing == routing
    assert (now.switched_off is not None) is switched_off


def test_an_override_of_what_the_settings_do_not_name(settings):
    overrides.drain("replica2")
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    [override] = overview().ineffective
    assert override.target == "replica2"


def test_the_shares_of_the_reads_and_of_the_weights(cluster, settings):
    settings.RWROUTER = {"REPLICAS": {"replica1": {"WEIGHT": 3}, "replica2": {}}}
    read("default", 20)
    read("replica1", 60)
    read("replica2", 20)
    stats.count_statement("default", "default", "write", "write", "", 0.001)
    stats.count_event("read_spilled", "default")
    stats.flush()
    now = cluster()
    assert [server.weight_share for server in now.servers] == [0, 75, 25]
    assert [server.used.reads.count for server in now.servers] == [20, 60, 20]
    assert [server.used.share for server in now.servers] == [20, 60, 20]
    assert [server.used.replica_share for server in now.servers] == [0, 75, 25]
    assert now.primary.used.writes.count == 1
    assert 20 / 300 <= now.primary.reads_per_second <= 20 / 240
    assert (now.spilled, now.degraded) == (1, 0)


def test_how_long_reads_took_and_what_failed(cluster):
    for milliseconds in (1, 1, 1, 1, 1, 1, 1, 1, 1, 100):
        stats.count_statement("default", "replica1", "read", "window", "", milliseconds / 1000)
    stats.count_event("replica_ejected", "replica1")
    stats.flush()
    used = cluster().replicas[0].used
    assert 0.5 < used.reads.p50_milliseconds <= 1
    assert 50 < used.reads.p95_milliseconds <= 160
    assert used.errors == 1


@pytest.fixture
def processes():
    """Let other processes write what they know of replica1, and what cannot be read of another."""

    def write(*known):
        now = int(time.time()) // 60 * 60
        RoutingStatistics.objects.on_primary().put(
            [
                Row(
                    process=f"{number:032}",
                    resolution=60,
                    start=now,
                    data={
                        "statements": [],
                        "events": [],
                        "servers": [
                            {"alias": "replica1", "role": "replica", "position": "0-1-7", **state},
                            {"alias": "replica2", "condition": "of a newer version"},
                            ["replica2", "of", "an", "older"],
                        ],
                    },
                )
                for number, state in enumerate(known)
            ]
        )

    return write


def test_what_the_other_processes_know_of_a_server(cluster, processes):
    processes(
        {"lag": 0.5},
        {"condition": "ejected", "since": 1_700_000_100, "why": "OperationalError 2013"},
        {"condition": "ejected", "since": 1_700_000_000, "why": "OperationalError 2002", "lag": 2.5},
    )
    assert overview().processes == 3
    replica, other = cluster().replicas
    assert replica.opinions == {"healthy": 1, "ejected": 2}
    assert (replica.state.condition, replica.state.since, replica.state.why) == (
        Condition.EJECTED,
        1_700_000_000,
        "OperationalError 2002",
    )
    assert (replica.state.role, replica.state.lag, replica.state.position) == ("replica", 2.5, "0-1-7")
    assert (other.opinions, other.state.condition) == ({}, Condition.HEALTHY)


@pytest.mark.parametrize(("position", "is_level"), [("0-1-9", True), ("0-1-7", False), ("", False)])
def test_a_replica_that_stands_where_its_primary_stands_is_level(cluster, position, is_level):
    servers = [
        {"alias": "default", "role": "primary", "position": "0-1-9"},
        {"alias": "replica1", "role": "replica", "lag": 0.52, "position": position},
    ]
    minute = int(time.time()) // 60 * 60
    row = Row(process="a" * 32, resolution=60, start=minute, data={"servers": servers})
    RoutingStatistics.objects.on_primary().put([row])
    replica, other = cluster().replicas
    assert replica.is_level is is_level
    assert replica.lag_bound == (("level", 0.0) if is_level else ("at most", 0.6))
    assert not other.is_level


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, ("", 0.0)),
        ({"lag": 0.004}, ("at most", 0.1)),
        ({"lag": 2.31}, ("at most", 2.4)),
        ({"lag_at_least": 2.39}, ("at least", 2.3)),
    ],
)
def test_how_far_a_replica_is_behind_is_rounded_to_the_safe_side(known, text):
    state = ServerState(alias="replica1", **known)
    used = Database("default", "replica1", is_primary=False)
    assert ServerNow(state=state, is_primary=False, used=used).lag_bound == text


@pytest.mark.parametrize(
    ("backend", "statistics"), [("database", "here"), ("off", "off"), ("tests.unit.Backend", "elsewhere")]
)
def test_where_statistics_are(settings, backend, statistics):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "STATS": {"BACKEND": backend}}
    assert overview().statistics == statistics


def test_without_the_tables(cluster):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_rwrouter_routingstatistics")
        cursor.execute("DROP TABLE django_rwrouter_routingoverride")
    now = overview()
    assert (now.statistics, now.overrides_failure) == ("missing", "")
    assert [server.used.reads.count for server in now.clusters[0].servers] == [0, 0, 0]


def test_with_the_primary_away_the_rest_is_known_all_the_same(monkeypatch, tmp_path):
    overrides.drain("replica1")
    health.reset()
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", str(tmp_path))
    now = overview()
    assert conditions(now.clusters[0]) == {
        "default": "unreachable",
        "replica1": "healthy",
        "replica2": "healthy",
    }
    assert (now.statistics, now.overrides_failure) == ("unreachable", "OperationalError")


def test_it_is_neither_routed_nor_counted(routed):
    with routing_scope(safe=True):
        overview()
    stats.flush()
    assert routed == []
    assert RoutingStatistics.objects.on_primary().count() == 0


def test_what_this_process_knows_is_written_for_the_others(cluster):
    health.failed("replica2", "OperationalError 2013")
    health.lost_primary("default", 60)
    stats.count_event("request")
    stats.flush()
    [row] = RoutingStatistics.objects.on_primary()
    states = [ServerState.from_json(entry) for entry in row.data["servers"]]
    assert [(state.alias, state.condition.value, state.why) for state in states] == [
        ("default", "unreachable", "no answer"),
        ("replica1", "healthy", ""),
        ("replica2", "ejected", "OperationalError 2013"),
    ]
    health.reset()
    now = cluster()
    assert now.replicas[1].opinions == {"ejected": 1}
    assert now.replicas[1].state.condition is Condition.EJECTED


def test_nothing_is_configured(settings):
    settings.RWROUTER = {}
    assert overview().clusters == ()


def test_several_clusters(settings):
    settings.RWROUTER = {
        "CLUSTERS": {
            "main": {"REPLICAS": ["replica1"]},
            "apart": {"PRIMARY": "other", "MODELS": ["auth"], "CONSISTENCY": "eventual"},
        }
    }
    main, apart = overview().clusters
    assert (main.name, apart.name, apart.level) == ("main", "apart", "eventual")
    assert [server.alias for server in apart.servers] == ["other"]
    assert Book.objects.count() == 0
