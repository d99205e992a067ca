"""The rules as a list decide as the function before them did, whatever the read and the servers are like."""

import math

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from django_rwrouter.conf.clusters import ModelRoute
from django_rwrouter.decision import Decision, Level, Reason
from django_rwrouter.routing.steps import Transaction
from django_rwrouter.scope.state import Block, BlockKind
from django_rwrouter.scope.token import EMPTY, Mark, Token
from tests.unit.routing.previous import rules as previous
from tests.unit.routing.previous import steps as before
from tests.unit.routing.test_ladder import NOW, ORDER, At, InTurn, World

REPLICAS = ("r1", "r2", "r3")
AGES = st.sampled_from([0.0, 1.0, 4.0, 6.0, 60.0, math.inf])
SECONDS_AGO = st.sampled_from([0.5, 4.9, 5.0, 6.5, 30.0, 300.0])
PLACES = st.builds(At, st.integers(0, 3), st.sampled_from(["first", "second"]))
MARKS = st.none() | st.builds(
    lambda ago, position, blind: Mark(NOW - ago, position, NOW - blind if blind else 0.0),
    SECONDS_AGO,
    st.none() | PLACES,
    st.none() | SECONDS_AGO,
)
BLOCKS = st.none() | st.one_of(
    st.sampled_from([Block(kind=BlockKind.PRIMARY), Block(kind=BlockKind.REPLICA)]),
    st.builds(
        lambda level, bound: Block(
            kind=BlockKind.CONSISTENCY, level=level, max_staleness=bound, entry=object()
        ),
        st.sampled_from(Level),
        st.sampled_from([0.0, 2.0, 10.0]),
    ),
)
SUBSETS = st.frozensets(st.sampled_from(REPLICAS))
FLAG = st.booleans()
WORLDS = st.fixed_dictionaries(
    {
        "where": st.fixed_dictionaries(dict.fromkeys(REPLICAS, PLACES)),
        "opened": SUBSETS,
        "known": SUBSETS,
        "primary": st.none() | PLACES,
        "down": SUBSETS,
        "waits": FLAG,
        "stale": st.dictionaries(st.sampled_from(REPLICAS), AGES),
        "age": AGES,
        "watched": FLAG,
        "away": FLAG,
        "room": FLAG,
        "asked": SUBSETS,
        "hurry": FLAG,
        "lacking": SUBSETS,
        "delayed": SUBSETS,
        "shadow": FLAG,
        "consistency": st.sampled_from([level for level in Level if level is not Level.BOUNDED]),
        "monotonic_reads": FLAG,
        "max_lag": st.none() | st.sampled_from([2.0, 10.0]),
        "outside_request": st.sampled_from(["primary", "replica"]),
        "replica_per": st.sampled_from(["request", "query"]),
    }
)
READS = st.fixed_dictionaries(
    {
        "safe": FLAG,
        "outside": FLAG,
        "loading": FLAG,
        "wrote": FLAG,
        "read_to_write": FLAG,
        "read_primary": FLAG,
        "gave_up": FLAG,
        "fixed": st.none() | st.sampled_from([Reason.PRIMARY_ONLY, Reason.MIGRATION]),
        "instance": st.none() | st.sampled_from(["main", "r1"]),
        "transaction": st.sampled_from(Transaction),
        "positions": FLAG,
        "unusable": SUBSETS,
        "forbidden": SUBSETS,
        "replica": st.none() | st.sampled_from(REPLICAS),
    }
)
RARE = ("outside", "loading", "wrote", "read_to_write", "fixed")
"""Which end most decisions at once: given to one read in a few."""


def prepare(world, read, mark):
    """Return a world's state and scope, as the read finds them."""
    state, scope = world.state, world.scope
    state.safe, state.outside, state.loading = read["safe"], read["outside"], read["loading"]
    for name in ("wrote", "read_to_write", "read_primary", "gave_up", "replica"):
        setattr(scope, name, read[name])
    return EMPTY if mark is None else Token({"shop": mark})


def decide_before(world, read, mark, block):
    """Decide with the function that the list has replaced, and take its steps."""
    token = prepare(world, read, mark)
    world.state.token = token
    attempts = before.Attempts(
        known_only=world.hurry, unusable=read["unusable"], forbidden=set(read["forbidden"])
    )
    situation = before.Situation(
        transaction=before.Transaction[read["transaction"].name],
        now=NOW,
        balancer=InTurn(),
        opened=world.opened,
        positions=read["positions"],
        reached=lambda alias, position: alias in world.known and world.where[alias].covers(position),
        staleness=lambda alias: world.stale.get(alias, world.age),
        asked_lately=lambda alias: world.watched or alias in world.asked,
        away=lambda: world.away,
    )
    route = ModelRoute(world.cluster, ORDER, read["fixed"])
    steps = []
    while True:
        verdict = previous.route_read(
            route, world.state, world.scope, block, read["instance"], situation, attempts
        )
        if isinstance(verdict, Decision):
            return (verdict.alias, verdict.reason, verdict.would_be, steps)
        steps.append(described(verdict))
        assert len(steps) < 50
        world.take(translated(verdict), block, attempts)


def decide_now(world, read, mark, block):
    """Decide with the list."""
    token = prepare(world, read, mark)
    decision = world.decide(
        token,
        block=block,
        transaction=read["transaction"],
        positions=read["positions"],
        fixed=read["fixed"],
        instance=read["instance"],
        unusable=read["unusable"],
        forbidden=set(read["forbidden"]),
    )
    return (decision.alias, decision.reason, decision.would_be, [described(step) for step in world.steps])


def copy_of(world):
    """Make a world, whose replicas may move on."""
    return World(**{**world, "where": dict(world["where"])})


def described(step):
    values = {name: getattr(step, name, None) for name in ("alias", "bound", "identify", "at_most_old")}
    return type(step).__name__, values


def translated(step):
    """Return the step of today's that is called the same."""
    from django_rwrouter.routing import steps

    kind = getattr(steps, type(step).__name__)
    return kind(**{name: getattr(step, name) for name in step.__dataclass_fields__})


@effort(max_examples=3000, deadline=None)
@given(world=WORLDS, read=READS, mark=MARKS, block=BLOCKS, busy=FLAG)
def test_a_read_is_decided_as_before(world, read, mark, block, busy):
    if not busy:  # Most that could be drawn ends in the first rules.
        read = {**read, **dict.fromkeys(RARE, False), "fixed": None, "transaction": Transaction.NONE}
    old = decide_before(copy_of(world), read, mark, block)
    new = decide_now(copy_of(world), read, mark, block)
    if world["shadow"]:  # Which of the replicas would be read makes no difference.
        old, new = [(*one[:2], one[2] is not None, *one[3:]) for one in (old, new)]
        if mark is not None and mark.uncovered_at and new[2]:
            return  # Under shadow the primary was asked for a write without a position, and is no more.
    assert new == old
