"""At ``causal`` and ``strong`` no read is stale, whatever question fails, hangs or is late."""

from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_rwrouter.routing import ladder
from django_rwrouter.routing.ladder import CLOCK_MARGIN
from django_rwrouter.routing.steps import Draw
from tests.sqlite.causal_model import REPLICAS, ReadIsStaleError, play, world

pytestmark = pytest.mark.usefixtures("databases")

ANSWERS = st.lists(st.sampled_from(["answers", "fails", "hangs", "late"]), max_size=5)
CLIENTS = st.sampled_from(["ann", "bob"])
SKEW = st.floats(0.1 - CLOCK_MARGIN, CLOCK_MARGIN - 0.1)
STEPS = st.one_of(
    st.tuples(st.just("tick"), st.floats(0.01, 30)),
    st.tuples(st.just("replicate"), st.sampled_from(REPLICAS), st.sampled_from([0.5, 1.0])),
    st.tuples(st.just("commit")),
    st.tuples(st.just("away"), st.just(4.0)),
    st.tuples(st.just("probe"), st.sampled_from(["default", *REPLICAS]), ANSWERS),
    st.tuples(st.just("write"), CLIENTS, SKEW, ANSWERS),
    st.tuples(st.just("write"), CLIENTS, SKEW, ANSWERS, st.floats(0, 4.9)),
    st.tuples(st.just("read"), CLIENTS, st.sampled_from(["causal", "strong"]), ANSWERS),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEPS, min_size=5, max_size=40))
def test_no_read_is_stale(steps):
    play(steps)


LOST = ("write", "ann", 0.0, ["fails"])
BY_A_SLOW_CLOCK = ("write", "ann", 0.5 - CLOCK_MARGIN, ["fails"])
LEVEL = [("replicate", replica, 1.0) for replica in REPLICAS]
PROBES = [("probe", alias, []) for alias in ("default", *REPLICAS)]
STALE_WITHOUT_THE_RULE = [*LEVEL, *PROBES, LOST, ("tick", 6), ("read", "ann", "causal", [])]
STALE_WITHOUT_THE_MARGIN = [
    *LEVEL,
    *PROBES,
    ("tick", 1),
    BY_A_SLOW_CLOCK,
    ("tick", 6),
    ("read", "ann", "causal", []),
]
STALE_WITHOUT_THE_END_OF_A_TRANSACTION = [
    *LEVEL,
    ("write", "ann", 0.0, [], 4.9),
    ("tick", 1),
    ("read", "ann", "causal", []),
]


@pytest.mark.parametrize(
    "steps",
    [STALE_WITHOUT_THE_RULE, STALE_WITHOUT_THE_MARGIN, STALE_WITHOUT_THE_END_OF_A_TRANSACTION],
    ids=["the rule", "the margin", "a transaction"],
)
def test_these_are_not(steps):
    play(steps)


def test_without_the_rule_a_read_is_stale():
    """So the test above can fail."""

    def draw(_wrote_at, reason, candidates):
        return Draw(candidates.replicas, reason)

    with patch.object(ladder, "_newer_than", draw), pytest.raises(ReadIsStaleError):
        play(STALE_WITHOUT_THE_RULE)


def test_without_the_margin_a_read_is_stale():
    with patch.object(ladder, "CLOCK_MARGIN", 0.0), pytest.raises(ReadIsStaleError):
        play(STALE_WITHOUT_THE_MARGIN)


def test_replicas_answer_again_when_they_are_known_to_have_been_level():
    with world() as made:
        made.write("ann", 0.0, ["fails"])
        made.tick(6)
        assert made.read("ann", "causal", []) == "default"
        for _name, *arguments in LEVEL:
            made.replicate(*arguments)
        for _name, *arguments in PROBES:
            made.probe(*arguments)
        assert made.read("ann", "causal", ["fails"]) in REPLICAS
        made.tick(600)
        assert made.read("ann", "causal", ["fails"]) in REPLICAS
