"""Choosing one of the replicas that qualify."""

import random
from collections import Counter

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_rwrouter.balancers import RandomBalancer, get_balancer
from django_rwrouter.conf import ReplicaSettings

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
