"""Choosing one of the replicas that qualify."""

import random
from collections import Counter
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_rwrouter import balancers
from django_rwrouter.balancers import (
    BALANCERS,
    LeastBusyBalancer,
    LeastLagBalancer,
    RandomBalancer,
    RoundRobinBalancer,
    ZoneBalancer,
    get_balancer,
)
from django_rwrouter.conf.options import ReplicaSettings
from django_rwrouter.databases.mariadb import MariaDBPosition
from django_rwrouter.servers import in_flight
from django_rwrouter.servers.freshness import knowledge

DRAWS = 20_000


def replicas(**weights):
    return tuple(ReplicaSettings(alias=alias, weight=weight) for alias, weight in weights.items())


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 1},
        {"a": 1, "b": 1},
        {"a": 3, "b": 1},
        {"a": 0.5, "b": 0.25, "c": 0.25},
        {"a": 1, "b": 8, "c": 1},
        {"a": 1e-9, "b": 1e9},
    ],
    ids=str,
)
def test_each_replica_gets_its_share(weights):
    random.seed(20)
    balancer = RandomBalancer()
    drawn = Counter(balancer.choose(replicas(**weights)).alias for _draw in range(DRAWS))
    for alias, weight in weights.items():
        assert drawn[alias] / DRAWS == pytest.approx(weight / sum(weights.values()), abs=0.015)


@pytest.mark.parametrize(("draw", "alias"), [(0.0, "a"), (0.749, "a"), (0.75, "b"), (1 - 2**-53, "b")])
def test_the_bounds_of_the_draw(monkeypatch, draw, alias):
    monkeypatch.setattr(random, "random", lambda: draw)
    assert RandomBalancer().choose(replicas(a=3, b=1)).alias == alias


def test_the_shares_of_those_that_are_left_stay_in_proportion():
    random.seed(20)
    left = replicas(a=3, b=1)[1:] + replicas(c=3)
    drawn = Counter(RandomBalancer().choose(left).alias for _draw in range(DRAWS))
    assert drawn["c"] / DRAWS == pytest.approx(0.75, abs=0.015)


@pytest.fixture(autouse=True)
def _idle():
    in_flight.reset()
    yield
    in_flight.reset()


@pytest.mark.parametrize("name", BALANCERS)
def test_one_replica_is_chosen_by_every_balancer(name):
    (only,) = replicas(a=2)
    assert get_balancer(name).choose((only,)) is only


# --- round_robin ----------------------------------------------------------------------------------


def test_turns_are_taken_as_often_as_the_weights_say():
    balancer = RoundRobinBalancer()
    candidates = replicas(a=5, b=1, c=1)
    for _round in range(3):
        drawn = Counter(balancer.choose(candidates).alias for _turn in range(7))
        assert drawn == {"a": 5, "b": 1, "c": 1}


def test_turns_are_spread_evenly():
    balancer = RoundRobinBalancer()
    drawn = [balancer.choose(replicas(a=1, b=1, c=1)).alias for _turn in range(30)]
    assert all(set(drawn[place : place + 3]) == {"a", "b", "c"} for place in range(0, 27, 3))


def test_who_comes_and_goes_gets_no_more_than_its_turns():
    balancer = RoundRobinBalancer()
    for _turn in range(100):
        balancer.choose(replicas(a=1, b=1))
    drawn = Counter(balancer.choose(replicas(a=1, b=1, c=1)).alias for _turn in range(30))
    assert all(9 <= times <= 11 for times in drawn.values())


def test_processes_begin_at_different_places():
    random.seed(20)
    first = {RoundRobinBalancer().choose(replicas(a=1, b=1, c=1)).alias for _process in range(50)}
    assert first == {"a", "b", "c"}


# --- least_lag --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _cluster(monkeypatch):
    shop = SimpleNamespace(name="shop")
    topology = SimpleNamespace(by_alias=dict.fromkeys("abc", shop))
    monkeypatch.setattr(balancers, "get_topology", lambda: topology)


def test_the_freshest_is_chosen_and_those_hardly_older_are_drawn():
    for number, began in enumerate([99.0, 99.95, 100.0]):
        knowledge.learn_primary("shop", MariaDBPosition({0: (1, number)}), began)
    for alias, number in {"a": 2, "b": 1, "c": 0}.items():
        knowledge.learn_replica(alias, f"server {alias}", MariaDBPosition({0: (1, number)}), 100.0)
    drawn = {LeastLagBalancer().choose(replicas(a=1, b=1, c=100)).alias for _draw in range(100)}
    assert drawn == {"a", "b"}


def test_while_nothing_is_known_all_are_drawn():
    drawn = {LeastLagBalancer().choose(replicas(a=1, b=1)).alias for _draw in range(100)}
    assert drawn == {"a", "b"}


# --- least_busy -------------------------------------------------------------------------------------


def busy(alias, reads):
    for _read in range(reads):
        in_flight.loads[alias].running[object()] = None, 0.0


def test_of_two_the_one_with_fewer_reads_is_chosen():
    busy("a", 3)
    busy("b", 1)
    assert {LeastBusyBalancer().choose(replicas(a=1, b=1)).alias for _draw in range(100)} == {"b"}


def test_a_heavier_one_may_have_more_reads():
    busy("a", 3)
    busy("b", 1)
    assert {LeastBusyBalancer().choose(replicas(a=4, b=1)).alias for _draw in range(100)} == {"a"}


def test_the_busiest_of_many_is_never_chosen_and_others_are_not_all_the_same():
    for alias, reads in {"a": 9, "b": 1, "c": 0, "d": 2}.items():
        busy(alias, reads)
    drawn = Counter(LeastBusyBalancer().choose(replicas(a=1, b=1, c=1, d=1)).alias for _draw in range(1000))
    assert drawn.keys() == {"b", "c", "d"}


def test_idle_replicas_get_their_shares():
    random.seed(20)
    drawn = Counter(LeastBusyBalancer().choose(replicas(a=1, b=1)).alias for _draw in range(DRAWS))
    assert drawn["a"] / DRAWS == pytest.approx(0.5, abs=0.015)


# --- zone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "expected"), [("a", {"near", "nearer"}), ("b", {"far"}), ("c", {"near", "nearer", "far"})]
)
def test_the_own_zone_comes_first_and_others_if_there_is_none(settings, zone, expected):
    settings.RWROUTER = {"ZONE": zone}
    candidates = (
        ReplicaSettings(alias="near", zone="a"),
        ReplicaSettings(alias="nearer", zone="a"),
        ReplicaSettings(alias="far", zone="b"),
    )
    assert {ZoneBalancer().choose(candidates).alias for _draw in range(100)} == expected


class Mine:
    def choose(self, replicas):
        return replicas[-1]


class WithArguments(Mine):
    def __init__(self, needed):
        self.needed = needed


class NotOne:
    pass


def test_a_balancer_is_found_by_name_and_made_once():
    assert isinstance(get_balancer("random"), RandomBalancer)
    assert get_balancer("random") is get_balancer("random")


def test_a_balancer_is_found_by_its_dotted_path():
    assert get_balancer(f"{__name__}.Mine").choose("ab") == "b"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rnadom", ["'rnadom'", "'random'", "BALANCER"]),
        ("no.such.Thing", ["'no.such.Thing'", "No module named"]),
        ("django_rwrouter.balancers.Nothing", ["Nothing"]),
        (f"{__name__}.WithArguments", ["WithArguments", "needed"]),
        (f"{__name__}.NotOne", ["NotOne", "choose()"]),
    ],
)
def test_one_that_cannot_be_used_is_explained(name, words):
    with pytest.raises(ImproperlyConfigured) as caught:
        get_balancer(name)
    for word in words:
        assert word in str(caught.value)
