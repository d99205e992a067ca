"""The engine's rules in words. It says which one applies; here it is tested that it is asked right."""

from itertools import combinations

import pytest
from django.contrib.sessions.models import Session
from django.db import connections

from django_rwrouter.decision import Level, Reason
from django_rwrouter.operations import explain as explain_module
from django_rwrouter.operations import hypothetical_read
from django_rwrouter.operations.explain import RULES, explain
from django_rwrouter.operations.hypothetical_read import Question
from django_rwrouter.scope.state import BlockKind
from django_rwrouter.servers.health import health
from tests.app.models import Book

OUTCOMES = {
    *(Reason.FORBIDDEN_IN_TEST, Reason.EVENT_LOOP, Reason.BEHIND, Reason.NO_REPLICA),
    *(Reason.SPILLED, Reason.DEGRADED, Reason.FAILOVER, Reason.WRITE, Reason.EXPLICIT),
    Reason.ONLY_ON_PRIMARY,
}
"""Reasons of how it went, rather than of a rule."""
NO_LEVEL = {"level": None}
APPLIES = {
    "disabled": ({"ENABLED": False}, {}),
    "primary_only": ({"PRIMARY_ONLY": ["app"]}, {}),
    "use_primary": ({}, {"block": BlockKind.PRIMARY}),
    "in_transaction": ({}, {"in_transaction": True}),
    "use_replica": ({}, {"block": BlockKind.REPLICA}),
    "instance": ({}, {"from_primary": True}),
    "wrote_in_scope": ({}, {"wrote": True}),
    "outside": ({}, {"method": ""}),
    "unsafe_method": ({}, {"method": "POST"}),
    "primary": ({}, {"level": Level.PRIMARY}),
    "eventual": ({}, {"level": Level.EVENTUAL}),
    "no_position": ({"positions": False}, {"level": Level.STRONG}),
    "bounded": ({}, {"level": Level.BOUNDED}),
    "strong": ({}, {"level": Level.STRONG}),
    "pinned": ({"PIN_SECONDS": 5}, {"token_age": 1.5}),
    "causal": ({}, {"level": Level.CAUSAL}),
    "window": ({}, {}),
}
"""What makes each rule apply: settings (``positions`` for a database that has some), and the question."""
AN_EXPLICIT_LEVEL = {("outside", "bounded"), ("unsafe_method", "bounded")}
"""These two hold unless a block says how fresh the read has to be, as the third does."""
A_POSITION = {("pinned", "causal")}
"""A write whose position is known pins nobody by time alone."""


def fit(first, second):
    """Whether both rules can apply at once."""
    if (first, second) in AN_EXPLICIT_LEVEL | A_POSITION:
        return False
    return not APPLIES[first][1].keys() & APPLIES[second][1].keys()


@pytest.fixture(autouse=True)
def _healthy():
    health.reset()
    yield
    health.reset()


@pytest.fixture
def rwrouter(settings, monkeypatch):
    """Change the settings of a cluster that has positions."""

    def change(*, positions=True, **changes):
        for module in (explain_module, hypothetical_read):
            monkeypatch.setattr(module, "tells_positions", lambda cluster: positions)
        settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"], **changes}

    change()
    return change


def ask(**question):
    return explain(Question(**{"model": Book, **question}))


def applied(explained):
    [rule] = [rule for rule in explained.rules if rule.verdict == "applies"]
    return rule


def where(outcome):
    return outcome.decision.reason.value, outcome.among


def test_each_reason_belongs_to_a_rule_or_is_an_outcome():
    reasons = {reason for rule in RULES for reason in rule.reasons}
    assert reasons == set(Reason) - OUTCOMES


def test_each_rule_is_tried_here():
    assert [rule.name for rule in RULES] == list(APPLIES)


@pytest.mark.parametrize("name", APPLIES)
def test_a_rule_applies_and_those_before_it_do_not(rwrouter, name):
    changes, question = APPLIES[name]
    rwrouter(**changes)
    explained = ask(**question)
    assert applied(explained).name == name
    verdicts = [rule.verdict for rule in explained.rules]
    place = verdicts.index("applies")
    assert set(verdicts[:place]) == {"passed"}
    assert set(verdicts[place + 1 :]) <= {"not_reached"}
    for rule in explained.rules[: place + 1]:
        assert rule.text
        assert "%" not in rule.text


@pytest.mark.parametrize(("first", "second"), [pair for pair in combinations(APPLIES, 2) if fit(*pair)])
def test_they_are_told_in_the_order_of_the_engine(rwrouter, first, second):
    """Where two rules apply at once, the one that is told first decides."""
    rwrouter(**APPLIES[first][0], **APPLIES[second][0])
    explained = ask(**APPLIES[first][1], **APPLIES[second][1])
    assert applied(explained).name == first


@pytest.mark.parametrize(
    ("question", "outcome", "otherwise"),
    [
        pytest.param(
            {"level": Level.CAUSAL, "token_age": 1.5},
            ("causal", ("replica1", "replica2")),
            ("behind", ("default",)),
            id="causal",
        ),
        pytest.param(
            {"level": Level.STRONG},
            ("strong", ("replica1", "replica2")),
            ("behind", ("default",)),
            id="strong",
        ),
        pytest.param(
            {"level": Level.CAUSAL},
            ("causal", ("replica1", "replica2")),
            None,
            id="causal, and nothing written",
        ),
        pytest.param({}, ("window", ("replica1", "replica2")), ("spilled", ("default",)), id="window"),
        pytest.param({"level": Level.EVENTUAL}, ("eventual", ("replica1", "replica2")), None, id="eventual"),
        pytest.param({"token_age": 1.5}, ("pinned", ("default",)), None, id="pinned"),
        pytest.param({"write": True}, ("write", ("default",)), None, id="write"),
    ],
)
def test_it_says_where_it_goes_and_where_if_replicas_are_behind(rwrouter, question, outcome, otherwise):
    explained = ask(**question)
    assert where(explained.outcome) == outcome
    assert (explained.otherwise and where(explained.otherwise)) == otherwise


def test_it_says_what_is_done_on_the_way(rwrouter):
    explained = ask(level=Level.STRONG)
    assert explained.outcome.steps == (
        "The primary is asked where it stands, once for the request or the block.",
        "A replica is drawn, and its connection opened if it is not open yet.",
        "A replica is asked where it stands, unless that is known already.",
    )
    assert explained.otherwise.steps[-1].startswith("A replica is waited for, 0.05 s at most (WAIT_TIMEOUT);")


def test_a_token_that_has_expired_says_nothing(rwrouter):
    assert applied(ask(token_age=5.1)).name == "window"
    assert where(ask(level=Level.CAUSAL, token_age=599).otherwise) == ("behind", ("default",))
    assert ask(level=Level.CAUSAL, token_age=601).otherwise is None


def test_with_the_primary_away_a_replica_that_lags_answers(rwrouter):
    health.lost_primary("default", 60)
    assert where(ask().otherwise) == ("degraded", ("replica1", "replica2"))


@pytest.mark.parametrize(("mode", "asked"), [("thread", 0), ("inline", 1), ("off", 1)])
def test_where_a_monitor_samples_all_servers_no_read_has_to_ask(rwrouter, mode, asked):
    rwrouter(MONITOR={"MODE": mode})
    steps = ask().outcome.steps
    assert sum("is asked where it stands, unless" in step for step in steps) == 2 * asked


def test_replicas_that_are_left_alone_do_not_answer(rwrouter):
    health.failed("replica1")
    assert where(ask(level=Level.EVENTUAL).outcome) == ("eventual", ("replica2",))
    health.set_drained([("replica2", 0.0, "")])
    explained = ask(level=Level.EVENTUAL)
    assert applied(explained).name == "eventual"
    assert where(explained.outcome) == ("no_replica", ("default",))


def test_a_kill_switch_that_was_thrown_counts(rwrouter):
    health.set_off(frozenset({"default"}))
    assert applied(ask()).name == "disabled"


def test_a_cluster_without_replicas_has_the_same_rules(rwrouter):
    rwrouter(PRIMARY="other", REPLICAS=[])
    explained = ask()
    assert applied(explained).name == "window"
    assert where(explained.outcome) == ("no_replica", ("other",))


@pytest.mark.parametrize(
    ("method", "rule"), [("GET", "window"), ("POST", "in_transaction"), ("", "outside")], ids=str
)
def test_a_transaction_around_each_view_counts_where_the_view_may_write(rwrouter, monkeypatch, method, rule):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    assert applied(ask(method=method)).name == rule


def test_under_shadow_it_says_who_would_answer(rwrouter):
    rwrouter(ENABLED="shadow")
    explained = ask()
    assert explained.outcome.decision.would_be
    assert where(explained.outcome) == ("window", ("replica1", "replica2"))


def test_without_positions_causal_counts_as_window(settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    explained = ask(level=Level.CAUSAL)
    assert applied(explained).name == "window"
    assert "which counts as “window”" in next(r.text for r in explained.rules if r.name == "causal")


@pytest.mark.parametrize("level", [Level.STRONG, Level.BOUNDED])
def test_without_positions_the_primary_keeps_what_no_window_does(settings, level):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    assert where(ask(level=level).outcome) == ("no_position", ("default",))


def test_a_model_of_no_cluster_is_left_to_others(settings):
    settings.RWROUTER = {"CLUSTERS": {"apart": {"PRIMARY": "other", "MODELS": ["auth"]}}}
    explained = ask()
    assert applied(explained).name == "ours"
    assert (explained.cluster, explained.outcome) == ("", None)


def test_sessions_are_always_read_from_the_primary(rwrouter):
    assert applied(ask(model=Session)).name == "primary_only"
