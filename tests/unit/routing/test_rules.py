"""The rules of "Where a read goes", as tables over the pure engine."""

import itertools
import math
from types import SimpleNamespace

import pytest

from django_rwrouter.conf.clusters import Cluster, ModelRoute
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.routing import decide
from django_rwrouter.routing.pending_read import PendingRead
from django_rwrouter.routing.rules import UNCONDITIONAL
from django_rwrouter.routing.steps import Attempts, Open, Transaction
from django_rwrouter.scope.state import Block, BlockKind, RoutingState
from django_rwrouter.scope.token import EMPTY, Mark, Token
from django_rwrouter.servers.health import health

NOW = 1_000_000.0
PRIMARY, REPLICAS = "main", ("r1", "r2")
EVERYTHING = frozenset(REPLICAS)

USE_PRIMARY = Block(kind=BlockKind.PRIMARY)
USE_REPLICA = Block(kind=BlockKind.REPLICA)


class First:
    def choose(self, replicas):
        return replicas[0]


class Last:
    def choose(self, replicas):
        return replicas[-1]


def level(value):
    return Block(kind=BlockKind.CONSISTENCY, level=Level(value))


def wrote(seconds_ago, cluster="shop"):
    return Token({cluster: Mark(NOW - seconds_ago)})


def route(
    *,
    enabled=True,
    shadow=False,
    fixed=None,
    safe=True,
    outside=False,
    token=EMPTY,
    block=None,
    instance=None,
    transaction=Transaction.NONE,
    balancer=None,
    opened=EVERYTHING,
    unusable=frozenset(),
    forbidden=frozenset(),
    scope=None,
    staleness=0.0,
    away=False,
    switched_off=False,
    spilled=None,
    **settings,
):
    """Ask the engine about one read; what is not given is as plain as can be."""
    settings.setdefault("replicas", tuple(ReplicaSettings(alias=alias) for alias in REPLICAS))
    cluster = Cluster(
        settings=ClusterSettings(name="shop", primary=PRIMARY, **settings),
        enabled=enabled,
        shadow=shadow,
    )
    state = RoutingState(safe=safe, outside=outside)
    state.token = token
    known = state.scope("shop")
    for name, value in (scope or {}).items():
        setattr(known, name, value)
    if switched_off:
        health.set_off(frozenset({"shop"}))
    world = WorldOfOne(
        transaction=transaction, opened=opened, staleness=staleness, away=away, balancer=balancer or First()
    )
    attempts = Attempts(unusable=unusable, forbidden=set(forbidden), spilled=spilled)
    try:
        return world.decide(ModelRoute(cluster, None, fixed), state, known, block, instance, attempts)
    finally:
        health.set_off(frozenset())


class StepAskedError(Exception):
    """Tells which step was asked for, which nobody takes here."""


class WorldOfOne:
    """A world for one decision, whose positions and freshness are as given."""

    def __init__(self, *, transaction, opened, staleness, away, balancer):
        self.transaction = transaction
        busy = transaction is not Transaction.NONE
        self.here = SimpleNamespace(
            primary=SimpleNamespace(in_atomic_block=busy, autocommit=True),
            has_driver=True,
            balancer=balancer,
            opened=dict.fromkeys(opened, SimpleNamespace(connection=object())),
            is_ready=lambda alias: alias in opened,
            staleness=lambda _alias: staleness,
            reached=lambda *_: False,
            asked_lately=lambda _alias: True,
            away=lambda: away,
        )

    def decide(self, route, state, scope, block, instance, attempts):
        def take(step, *_rest):
            raise StepAskedError(step)

        self.here.cluster = route.cluster
        state.load_token = lambda: take("LoadToken")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decide, "_take_step", take)
            patch.setattr(decide, "transaction_of", lambda *_: self.transaction)
            patch.setattr(decide.time, "time", lambda: NOW)
            try:
                return decide._decide(PendingRead(route, state, scope, block, self.here, attempts, instance))
            except StepAskedError as asked:
                return asked.args[0]


# Each rule that sends a read to the primary, in the order in which they are asked, and what makes it fit.
TO_PRIMARY = {
    Reason.DISABLED: {"enabled": False},
    Reason.PRIMARY_ONLY: {"fixed": Reason.PRIMARY_ONLY},
    Reason.USE_PRIMARY: {"block": USE_PRIMARY},
    Reason.IN_TRANSACTION: {"transaction": Transaction.BLOCK},
    Reason.INSTANCE: {"instance": PRIMARY, "scope": {"read_primary": True}},
    Reason.WROTE_IN_SCOPE: {"scope": {"wrote": True}},
    Reason.OUTSIDE_SCOPE: {"outside": True, "safe": False},
    Reason.UNSAFE_METHOD: {"safe": False},
    Reason.LEVEL_PRIMARY: {"consistency": Level.PRIMARY},
    Reason.PINNED: {"token": wrote(1)},
    Reason.FORBIDDEN_IN_TEST: {"forbidden": EVERYTHING},
    Reason.NO_REPLICA: {"unusable": EVERYTHING},
    Reason.SPILLED: {"staleness": math.inf, "spilled": True},
}
# And those that let a replica answer.
TO_REPLICA = {
    Reason.USE_REPLICA: {"block": USE_REPLICA},
    Reason.EVENTUAL: {"consistency": Level.EVENTUAL},
    Reason.WINDOW: {},
    Reason.OUTSIDE_REPLICA: {"outside": True, "safe": False, "outside_request": "replica"},
    Reason.DEGRADED: {"staleness": math.inf, "spilled": False},
}
MIGRATION = {"fixed": Reason.MIGRATION}
ON_THE_LADDER = {Reason.CAUSAL, Reason.STRONG, Reason.BOUNDED, Reason.BEHIND, Reason.NO_POSITION}
BY_OTHERS = {
    Reason.EVENT_LOOP,  # the caller's, which must not wait
    Reason.WRITE,
    Reason.EXPLICIT,
    Reason.FAILOVER,  # for a statement that has failed
    Reason.ONLY_ON_PRIMARY,
}


def test_a_kill_switch_thrown_at_run_time_comes_first():
    verdict = route(switched_off=True, block=USE_REPLICA)
    assert (verdict.alias, verdict.reason) == (PRIMARY, Reason.DISABLED)


def test_each_reason_is_in_one_of_these_tables():
    assert {*TO_PRIMARY, *TO_REPLICA, Reason.MIGRATION, *ON_THE_LADDER, *BY_OTHERS} == set(Reason)


@pytest.mark.parametrize(("reason", "given"), [*TO_PRIMARY.items(), (Reason.MIGRATION, MIGRATION)], ids=str)
def test_a_rule_alone_sends_the_read_to_the_primary(reason, given):
    verdict = route(**given)
    assert (verdict.alias, verdict.reason, verdict.operation) == (PRIMARY, reason, "read")
    assert reason.on_primary


@pytest.mark.parametrize(("reason", "given"), TO_REPLICA.items(), ids=str)
def test_a_rule_alone_lets_a_replica_answer(reason, given):
    verdict = route(**given)
    assert (verdict.alias, verdict.reason, verdict.would_be) == ("r1", reason, None)
    assert not reason.on_primary


def both(one, other):
    """Make both fit, or ``None`` where they exclude each other."""
    if any(one[key] != other[key] for key in one.keys() & other.keys() if key != "scope"):
        return None
    return {**one, **other, "scope": {**one.get("scope", {}), **other.get("scope", {})}}


PAIRS = [
    pytest.param(first, given, id=f"{first.value} before {second.value}")
    for first, second in itertools.combinations(TO_PRIMARY, 2)
    if (given := both(TO_PRIMARY[first], TO_PRIMARY[second])) is not None
]


@pytest.mark.parametrize(("first", "given"), PAIRS)
def test_where_two_rules_fit_the_first_decides(first, given):
    assert route(**given).reason is first


def test_most_pairs_can_be_made():
    assert len(PAIRS) == 78  # all of 13 rules: none of them excludes another


USE_REPLICA_YIELDS_TO = {
    Reason.DISABLED,
    Reason.PRIMARY_ONLY,
    Reason.IN_TRANSACTION,
    Reason.FORBIDDEN_IN_TEST,
    Reason.NO_REPLICA,
}


@pytest.mark.parametrize("other", [reason for reason in TO_PRIMARY if reason is not Reason.USE_PRIMARY])
def test_use_replica_beats_all_but_what_must_be(other):
    reason = route(**both({"block": USE_REPLICA}, TO_PRIMARY[other])).reason
    assert reason is (other if other in USE_REPLICA_YIELDS_TO else Reason.USE_REPLICA)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"safe": False}, Reason.EVENTUAL, id="an unsafe method"),
        pytest.param({"safe": False, "outside": True}, Reason.EVENTUAL, id="outside any scope"),
        pytest.param({"token": wrote(1)}, Reason.EVENTUAL, id="the client's token"),
        pytest.param({"consistency": Level.PRIMARY}, Reason.EVENTUAL, id="the configured level"),
        pytest.param({"scope": {"wrote": True}}, Reason.WROTE_IN_SCOPE, id="not the scope's own write"),
        pytest.param({"transaction": Transaction.BLOCK}, Reason.IN_TRANSACTION, id="not a transaction"),
        pytest.param(
            {"instance": PRIMARY, "scope": {"read_primary": True}},
            Reason.INSTANCE,
            id="not what was read from the primary",
        ),
        pytest.param({"fixed": Reason.MIGRATION}, Reason.MIGRATION, id="not a migration's model"),
    ],
)
def test_an_explicit_level_replaces(given, reason):
    assert route(block=level("eventual"), **given).reason is reason


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("primary", Reason.LEVEL_PRIMARY),
        ("eventual", Reason.EVENTUAL),
        ("window", Reason.WINDOW),
    ],
)
@pytest.mark.parametrize("configured", list(Level))
def test_an_explicit_level_counts_and_not_the_configured_one(configured, block, reason):
    assert route(consistency=configured, block=level(block)).reason is reason


@pytest.mark.parametrize(
    ("seconds_ago", "reason"),
    [
        (0, Reason.PINNED),
        (6.9, Reason.PINNED),
        (7, Reason.WINDOW),
        (700, Reason.WINDOW),
        (-3, Reason.PINNED),
    ],
)
def test_a_window_lasts_for_pin_seconds(seconds_ago, reason):
    assert route(token=wrote(seconds_ago), pin_seconds=7.0).reason is reason


def test_a_write_to_another_cluster_pins_nobody_here():
    assert route(token=wrote(1, cluster="blog")).reason is Reason.WINDOW


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, None),
        ({"outside": True, "safe": False, "outside_request": "replica"}, None),
        ({"consistency": Level.EVENTUAL}, Reason.EVENTUAL),
        ({"consistency": Level.PRIMARY}, Reason.LEVEL_PRIMARY),
        ({"block": level("window"), "safe": False}, None),
        ({"block": USE_REPLICA}, Reason.USE_REPLICA),
        ({"block": USE_PRIMARY}, Reason.USE_PRIMARY),
        ({"scope": {"wrote": True}}, Reason.WROTE_IN_SCOPE),
        ({"safe": False}, Reason.UNSAFE_METHOD),
        ({"transaction": Transaction.BLOCK}, Reason.IN_TRANSACTION),
    ],
    ids=str,
)
def test_the_token_is_asked_for_only_where_it_matters(given, reason):
    verdict = route(token=None, **given)
    assert verdict == "LoadToken" if reason is None else verdict.reason is reason


# --- what is followed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "scope", "reason"),
    [
        (PRIMARY, {"read_primary": True}, Reason.INSTANCE),
        (PRIMARY, {"wrote": True}, Reason.INSTANCE),
        (PRIMARY, {}, Reason.WINDOW),  # unpickled: the primary was read in another request
        ("r1", {"read_primary": True}, Reason.WINDOW),
        ("r1", {"wrote": True}, Reason.WROTE_IN_SCOPE),
        (None, {"read_primary": True}, Reason.WINDOW),
    ],
    ids=str,
)
def test_an_object_is_followed_on_the_primary_only_if_it_was_read_there_in_this_scope(
    instance, scope, reason
):
    assert route(instance=instance, scope=scope).reason is reason


# --- transactions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transaction", "given", "reason"),
    [
        ("VIEW", {}, Reason.WINDOW),
        ("VIEW", {"safe": False}, Reason.IN_TRANSACTION),
        ("VIEW", {"scope": {"wrote": True}}, Reason.WROTE_IN_SCOPE),
        ("VIEW", {"block": USE_REPLICA}, Reason.USE_REPLICA),
        ("VIEW", {"block": USE_REPLICA, "safe": False}, Reason.IN_TRANSACTION),
        ("VIEW", {"block": level("eventual"), "safe": False}, Reason.IN_TRANSACTION),
        ("BLOCK", {"block": level("eventual")}, Reason.IN_TRANSACTION),
    ],
    ids=str,
)
def test_the_transaction_around_a_view_is_no_reason_for_a_safe_method(transaction, given, reason):
    assert route(transaction=Transaction[transaction], **given).reason is reason


# --- the draw ---------------------------------------------------------------------------------------


def test_a_connection_that_is_not_open_is_to_be_opened():
    assert route(opened=()) == Open("r1", Reason.WINDOW, identify=True)
    assert route(opened={"r2"}) == Open("r1", Reason.WINDOW, identify=True)
    assert route(opened=(), consistency=Level.EVENTUAL) == Open("r1", Reason.EVENTUAL)
    assert route(opened={"r1"}).alias == "r1"


@pytest.mark.parametrize("given", TO_REPLICA.values(), ids=map(str, TO_REPLICA))
@pytest.mark.parametrize(
    ("sets", "alias", "reason"),
    [
        ({"unusable": {"r1"}}, "r2", None),
        ({"forbidden": {"r1"}}, "r2", None),
        ({"unusable": {"r1", "r2"}}, PRIMARY, Reason.NO_REPLICA),
        ({"forbidden": {"r1", "r2"}}, PRIMARY, Reason.FORBIDDEN_IN_TEST),
        ({"unusable": {"r1"}, "forbidden": {"r2"}}, PRIMARY, Reason.FORBIDDEN_IN_TEST),
        ({"replicas": ()}, PRIMARY, Reason.NO_REPLICA),
    ],
    ids=str,
)
def test_replicas_that_cannot_answer_are_passed_over(given, sets, alias, reason):
    verdict = route(**given, **sets)
    expected = reason or route(**given).reason
    assert (verdict.alias, verdict.reason) == (alias, expected)


@pytest.mark.parametrize(
    ("replica_per", "kept", "sets", "alias"),
    [
        ("request", None, {}, "r2"),
        ("request", "r1", {}, "r1"),
        ("request", "r1", {"unusable": {"r1"}}, "r2"),
        ("request", "r2", {"unusable": {"r2"}}, "r1"),
        ("query", "r1", {}, "r2"),
        ("query", None, {"unusable": {"r2"}}, "r1"),
    ],
    ids=str,
)
def test_the_replica_of_the_scope_is_kept_while_it_works(replica_per, kept, sets, alias):
    verdict = route(balancer=Last(), replica_per=replica_per, scope={"replica": kept}, **sets)
    assert verdict.alias == alias


def test_a_kept_replica_whose_connection_is_not_open_in_this_thread_is_opened():
    assert route(scope={"replica": "r2"}, opened=()) == Open("r2", Reason.WINDOW, identify=True)


def test_the_balancer_sees_only_those_that_may_be_drawn():
    seen = []
    balancer = SimpleNamespace(choose=lambda replicas: seen.extend(replicas) or replicas[0])
    route(balancer=balancer, unusable={"r1"})
    assert [replica.alias for replica in seen] == ["r2"]


# --- shadow -----------------------------------------------------------------------------------------


LAG = {Reason.SPILLED, Reason.DEGRADED}
"""Under shadow the replicas are not asked, and take no reads that could lag."""


@pytest.mark.parametrize(
    ("reason", "given"), [each for each in TO_REPLICA.items() if each[0] not in LAG], ids=str
)
def test_shadow_says_where_the_read_would_have_gone_and_opens_nothing(reason, given):
    verdict = route(shadow=True, opened=(), **given)
    assert (verdict.alias, verdict.reason, verdict.would_be) == (PRIMARY, reason, "r1")


@pytest.mark.parametrize(
    ("reason", "given"), [each for each in TO_PRIMARY.items() if each[0] not in LAG], ids=str
)
def test_shadow_changes_nothing_where_the_primary_answers_anyway(reason, given):
    verdict = route(shadow=True, **given)
    assert (verdict.alias, verdict.reason, verdict.would_be) == (PRIMARY, reason, None)


# --- the engine itself ------------------------------------------------------------------------------


def test_decisions_are_shared_and_not_made_anew():
    cluster = Cluster(settings=ClusterSettings(name="shop"), enabled=True, shadow=False)
    model_route = ModelRoute(cluster, None, None)
    first = model_route.decide("default", Reason.PINNED)
    assert first == Decision(alias="default", reason=Reason.PINNED)
    assert model_route.decide("default", Reason.PINNED) is first
    assert model_route.decide("default", Reason.PINNED, "write") is not first


def test_reasons_that_hold_whatever_the_code_asks_for():
    assert {
        Reason.DISABLED,
        Reason.PRIMARY_ONLY,
        Reason.MIGRATION,
        Reason.FORBIDDEN_IN_TEST,
    } == UNCONDITIONAL


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_each_reason_can_be_shown_to_people(reason):
    assert str(reason.label)
    assert reason.value == reason.value.lower()
    assert reason == reason.value
