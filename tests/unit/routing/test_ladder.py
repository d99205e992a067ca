"""The ladder, step by step: known, asked, waited for, and at its end the primary."""

import math
from types import SimpleNamespace

import pytest

from django_rwrouter.conf.clusters import Cluster, ModelRoute
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.decision import Level, Reason
from django_rwrouter.routing import decide
from django_rwrouter.routing.ladder import CLOCK_MARGIN, MAX_ASKED
from django_rwrouter.routing.pending_read import PendingRead
from django_rwrouter.routing.steps import (
    ASK_FLOOR,
    AskPrimary,
    AskReplica,
    Attempts,
    Open,
    Spill,
    Transaction,
    WaitFor,
)
from django_rwrouter.scope.state import Block, BlockKind, RoutingState
from django_rwrouter.scope.token import EMPTY, Mark, Token

NOW = 1_000_000.0
PRIMARY = "main"
PIN = 5.0
ORDER = SimpleNamespace(_meta=SimpleNamespace(app_label="shop", model_name="order", db_table="shop_order"))
"""Stands for a model."""


class At:
    """A position in a history: a number, and whose it is."""

    def __init__(self, number, history="first"):
        self.number = number
        self.history = history

    def covers(self, other):
        return self.history == other.history and self.number >= other.number

    def merge(self, other):
        return max(self, other, key=lambda position: position.number)


class InTurn:
    """Always draws the first of those that qualify."""

    def choose(self, replicas):
        return replicas[0]


class World:
    """A cluster that takes the engine's steps, as ``connections`` does, and keeps a record of them."""

    def __init__(
        self,
        where,
        *,
        opened=(),
        known=(),
        primary=None,
        down=(),
        waits=False,
        stale=None,
        age=0.0,
        watched=False,
        away=False,
        room=True,
        asked=(),
        hurry=False,
        lacking=(),
        delayed=(),
        **settings,
    ):
        """``where`` says where each replica is; ``known`` of which this is known.

        ``lacking`` are those that do not replicate the model, and ``delayed`` those that are late on purpose.
        """
        self.where = where
        self.opened = set(opened)
        self.known = set(known)
        self.primary = primary
        self.down = set(down)
        self.waits = waits
        self.stale = stale or {}
        self.age = age
        self.watched = watched
        self.away = away
        self.room = room
        self.asked = asked
        self.hurry = hurry
        shadow = settings.pop("shadow", False)
        settings.setdefault("consistency", Level.CAUSAL)
        replicas = tuple(
            ReplicaSettings(
                alias=alias,
                excepted=frozenset({"shop.order"} if alias in lacking else ()),
                delayed=alias in delayed,
            )
            for alias in where
        )
        self.cluster = Cluster(
            settings=ClusterSettings(
                name="shop", primary=PRIMARY, replicas=replicas, pin_seconds=PIN, **settings
            ),
            enabled=True,
            shadow=shadow,
        )
        self.state = RoutingState(safe=True)
        self.scope = self.state.scope("shop")
        self.steps = []

    def read(self, token=EMPTY, **read):
        """Decide one read; ``steps`` then has what was done for it."""
        decision = self.decide(token, **read)
        return decision.alias, decision.reason

    def decide(
        self,
        token=EMPTY,
        *,
        block=None,
        transaction=Transaction.NONE,
        positions=True,
        fixed=None,
        instance=None,
        **attempts,
    ):
        self.steps = []
        self.state.token = token
        attempts = Attempts(known_only=self.hurry, **attempts)
        busy = transaction is not Transaction.NONE
        here = self.standings(SimpleNamespace(in_atomic_block=busy, autocommit=True), positions)

        def take_step(step, *_rest):
            self.steps.append(step)
            assert len(self.steps) < 50, f"It goes round in circles: {self.steps[:6]}"
            self.take(step, block, attempts)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decide, "_take_step", take_step)
            patch.setattr(decide, "transaction_of", lambda *_: transaction)
            patch.setattr(decide.time, "time", lambda: NOW)
            route = ModelRoute(self.cluster, ORDER, fixed)
            return decide._decide(PendingRead(route, self.state, self.scope, block, here, attempts, instance))

    def standings(self, primary, positions):
        return SimpleNamespace(
            cluster=self.cluster,
            primary=primary,
            has_driver=positions,
            balancer=InTurn(),
            opened=self.opened,
            is_ready=lambda alias: alias in self.opened,
            reached=lambda alias, position: alias in self.known and self.where[alias].covers(position),
            staleness=lambda alias: self.stale.get(alias, self.age),
            asked_lately=lambda alias: self.watched or alias in self.asked,
            away=lambda: self.away,
        )

    def take(self, step, block, attempts):
        alias = getattr(step, "alias", None)
        if alias in self.down:
            attempts.unusable = {*attempts.unusable, alias}
            return
        match step:
            case Open():
                self.opened.add(alias)
                self.scope.replica = alias
                if step.identify and alias not in self.known:
                    self.known.add(alias)
                    attempts.asked.append(alias)
            case AskReplica():
                self.known.add(alias)
                attempts.asked.append(alias)
            case AskPrimary():
                attempts.asked_primary = True
                attempts.primary = self.primary
            case Spill():
                attempts.spilled = self.room
            case WaitFor():
                attempts.waited = True
                if self.waits:
                    self.where[alias] = step.position
                self.scope.gave_up = not self.waits
            case _:
                assert step == ASK_FLOOR
                self.scope.floors[None if block is None else block.entry] = self.primary

    def names(self):
        return [
            type(step).__name__ + (f" {step.alias}" if hasattr(step, "alias") else "") for step in self.steps
        ]


def wrote(position, seconds_ago=1.0, **more):
    return Token({"shop": Mark(NOW - seconds_ago, position, **more)})


def three(a, b, c):
    return {"r1": At(a), "r2": At(b), "r3": At(c)}


ALL = ("r1", "r2", "r3")

# Name: (the world, what is read, what is done for it, where it goes).
LADDER = {
    "no token: no question": ({"where": three(0, 0, 0), "opened": ALL}, EMPTY, [], ("r1", Reason.CAUSAL)),
    "one that lacks the model takes no read of it": (
        {"where": three(7, 7, 7), "opened": ALL, "known": ALL, "lacking": ("r1",)},
        wrote(At(5)),
        [],
        ("r2", Reason.CAUSAL),
    ),
    "one that is late on purpose is not even asked": (
        {"where": three(7, 0, 7), "opened": ALL, "delayed": ("r1",), "lacking": ("r2",)},
        wrote(At(5)),
        ["AskReplica r3"],
        ("r3", Reason.CAUSAL),
    ),
    "nor drawn for a client that has not written": (
        {"where": three(0, 0, 0), "opened": ALL, "delayed": ("r1",)},
        EMPTY,
        [],
        ("r2", Reason.CAUSAL),
    ),
    "but it takes what may be old": (
        {"where": three(0, 0, 0), "opened": ALL, "delayed": ("r1",), "consistency": Level.EVENTUAL},
        wrote(At(5)),
        [],
        ("r1", Reason.EVENTUAL),
    ),
    "none has the model": (
        {"where": three(7, 7, 7), "opened": ALL, "known": ALL, "lacking": ALL},
        wrote(At(5)),
        [],
        (PRIMARY, Reason.NO_REPLICA),
    ),
    "known to have it: no question": (
        {"where": three(0, 7, 7), "opened": ALL, "known": ALL},
        wrote(At(5)),
        [],
        ("r2", Reason.CAUSAL),
    ),
    "exactly there": (
        {"where": three(5, 4, 4), "opened": ALL, "known": ALL},
        wrote(At(5)),
        [],
        ("r1", Reason.CAUSAL),
    ),
    "known, but not open": (
        {"where": three(0, 7, 0), "opened": ("r1", "r3"), "known": ALL},
        wrote(At(5)),
        ["Open r2"],
        ("r2", Reason.CAUSAL),
    ),
    "asked, and has it": (
        {"where": three(7, 7, 7), "opened": ALL},
        wrote(At(5)),
        ["AskReplica r1"],
        ("r1", Reason.CAUSAL),
    ),
    "the second that is asked has it": (
        {"where": three(0, 7, 7), "opened": ALL},
        wrote(At(5)),
        ["AskReplica r1", "AskReplica r2"],
        ("r2", Reason.CAUSAL),
    ),
    "opening asks as well": (
        {"where": three(7, 0, 0)},
        wrote(At(5)),
        ["Open r1"],
        ("r1", Reason.CAUSAL),
    ),
    "what is known to be behind is asked again": (
        {"where": three(0, 0, 0), "opened": ALL, "known": ALL, "waits": True},
        wrote(At(5)),
        ["AskReplica r1", "AskReplica r2", "AskReplica r3", "WaitFor r1"],
        ("r1", Reason.CAUSAL),
    ),
    "none will have it soon": (
        {"where": three(0, 0, 0), "opened": ALL},
        wrote(At(5)),
        ["AskReplica r1", "AskReplica r2", "AskReplica r3", "WaitFor r1"],
        (PRIMARY, Reason.BEHIND),
    ),
    "one waits on the freshest of those asked": (
        {"where": three(0, 0, 0), "opened": ALL, "stale": {"r1": 9.0, "r2": 1.0, "r3": 5.0}, "waits": True},
        wrote(At(5)),
        ["AskReplica r1", "AskReplica r2", "AskReplica r3", "WaitFor r2"],
        ("r2", Reason.CAUSAL),
    ),
    "one of them is down": (
        {"where": three(7, 0, 7), "opened": ALL, "down": ("r1",)},
        wrote(At(5)),
        ["AskReplica r1", "AskReplica r2", "AskReplica r3"],
        ("r3", Reason.CAUSAL),
    ),
    "all are down": (
        {"where": three(7, 7, 7), "down": ALL},
        wrote(At(5)),
        ["Open r1", "Open r2", "Open r3"],
        (PRIMARY, Reason.NO_REPLICA),
    ),
    # A write whose position is not known.
    "the time is all there is: the primary at first": (
        {"where": three(7, 7, 7), "opened": ALL},
        wrote(None, blind_at=NOW - 1),
        [],
        (PRIMARY, Reason.PINNED),
    ),
    "then where replicas are known to have been after it: no question": (
        {"where": three(0, 0, 0), "opened": ALL, "stale": {"r2": 6 - CLOCK_MARGIN}, "age": math.inf},
        wrote(None, 6, blind_at=NOW - 6),
        [],
        ("r2", Reason.CAUSAL),
    ),
    "the clocks of two hosts may differ": (
        {"where": three(0, 0, 0), "opened": ALL, "age": 6.1 - CLOCK_MARGIN},
        wrote(None, 6, blind_at=NOW - 6),
        ["AskFloor"],
        (PRIMARY, Reason.NO_POSITION),
    ),
    "nothing is known: one that is level with the primary": (
        {"where": three(0, 7, 0), "opened": ALL, "age": math.inf, "primary": At(7)},
        wrote(None, 60, blind_at=NOW - 60),
        ["AskFloor", "AskReplica r1", "AskReplica r2"],
        ("r2", Reason.CAUSAL),
    ),
    "nobody else": (
        {"where": three(6, 6, 6), "opened": ALL, "age": math.inf, "primary": At(7)},
        wrote(None, 60, blind_at=NOW - 60),
        ["AskFloor", "AskReplica r1", "AskReplica r2", "AskReplica r3", "WaitFor r1"],
        (PRIMARY, Reason.BEHIND),
    ),
    "the primary cannot be asked: nobody else": (
        {"where": three(7, 7, 7), "opened": ALL, "known": ALL, "age": math.inf, "away": True},
        wrote(None, 60, blind_at=NOW - 60),
        ["AskFloor"],
        (PRIMARY, Reason.NO_POSITION),
    ),
    "no position was asked for: the same": (
        {"where": three(7, 7, 7), "opened": ALL, "known": ALL, "age": math.inf},
        wrote(None, 6),
        ["AskFloor"],
        (PRIMARY, Reason.NO_POSITION),
    ),
    "a later write without a position": (
        {"where": three(7, 7, 7), "opened": ALL, "known": ALL},
        wrote(At(5), blind_at=NOW - 1),
        [],
        (PRIMARY, Reason.PINNED),
    ),
    "a later one is new enough, and does not have the earlier one's position": (
        {"where": three(0, 7, 0), "opened": ALL, "known": ALL},
        wrote(At(5), blind_at=NOW - 6),
        [],
        ("r2", Reason.CAUSAL),
    ),
    # Another history.
    "another history: the primary while the window is open": (
        {
            "where": {"r1": At(900, "second")},
            "opened": ("r1",),
            "known": ("r1",),
            "primary": At(900, "second"),
        },
        wrote(At(5)),
        ["AskReplica r1", "WaitFor r1"],
        (PRIMARY, Reason.BEHIND),
    ),
    "another history: as window afterwards": (
        {"where": {"r1": At(900, "second")}, "opened": ("r1",), "primary": At(900, "second")},
        wrote(At(5), 6),
        ["AskReplica r1", "AskPrimary"],
        ("r1", Reason.WINDOW),
    ),
    "the same history, and merely late": (
        {"where": {"r1": At(4)}, "opened": ("r1",), "primary": At(900)},
        wrote(At(5), 6),
        ["AskReplica r1", "AskPrimary", "WaitFor r1"],
        (PRIMARY, Reason.BEHIND),
    ),
    "the primary does not say": (
        {"where": {"r1": At(4)}, "opened": ("r1",), "primary": None},
        wrote(At(5), 6),
        ["AskReplica r1", "AskPrimary", "WaitFor r1"],
        (PRIMARY, Reason.BEHIND),
    ),
}


@pytest.mark.parametrize(("world", "token", "steps", "end"), LADDER.values(), ids=LADDER)
def test_the_ladder(world, token, steps, end):
    world = World(**world)
    assert world.read(token) == end
    assert world.names() == steps


def test_no_answer_of_the_primary_is_too_fresh_to_tell_histories_apart():
    world = World({"r1": At(4)}, opened=["r1"], primary=At(900))
    world.read(wrote(At(5), 6))
    assert [step for step in world.steps if isinstance(step, AskPrimary)] == [AskPrimary(at_most_old=0.0)]


def test_no_more_than_a_few_replicas_are_asked():
    where = {f"r{number}": At(0) for number in range(10)}
    world = World(where, opened=where)
    assert world.read(wrote(At(5))) == (PRIMARY, Reason.BEHIND)
    assert len([step for step in world.steps if isinstance(step, AskReplica)]) == MAX_ASKED


def test_a_page_waits_once():
    world = World(three(0, 0, 0), opened=ALL)
    world.read(wrote(At(5)))
    assert "WaitFor r1" in world.names()
    assert world.read(wrote(At(5))) == (PRIMARY, Reason.BEHIND)
    assert world.steps == []
    # It goes back to the replicas as soon as somebody has learned that they are there.
    world.where["r2"] = At(5)
    assert world.read(wrote(At(5))) == ("r2", Reason.CAUSAL)


def test_a_page_keeps_its_replica_among_those_that_qualify():
    world = World(three(7, 7, 7), opened=ALL, known=ALL)
    world.scope.replica = "r3"
    assert world.read(wrote(At(5)))[0] == "r3"
    world.where["r3"] = At(0)
    assert world.read(wrote(At(5)))[0] == "r1"


def test_the_replica_of_the_page_is_asked_first():
    world = World(three(7, 7, 7), opened=ALL)
    world.scope.replica = "r3"
    world.read(wrote(At(5)))
    assert world.names() == ["AskReplica r3"]


def test_with_a_draw_for_each_query_it_does_not_matter():
    world = World(three(7, 7, 7), opened=ALL, known=ALL, replica_per="query")
    world.scope.replica = "r3"
    assert world.read(wrote(At(5)))[0] == "r1"


@pytest.mark.parametrize(
    ("may_block", "steps"), [(True, ["LoadToken", "AskReplica"]), (False, ["AskReplica"])]
)
def test_the_token_is_looked_at_first(may_block, steps):
    """It is a step only where that may take time."""
    world = World(three(7, 7, 7), opened=ALL)
    world.state.load_token, world.state.may_block = lambda: wrote(At(5)), may_block
    assert world.read(None) == ("r1", Reason.CAUSAL)
    assert [name for name, *_rest in world.scope.steps] == steps


def test_a_database_without_positions_has_a_window():
    world = World(three(7, 7, 7), opened=ALL)
    for token in (wrote(None, 1), wrote(None, 1, blind_at=NOW - 1)):
        assert world.read(token, positions=False) == (PRIMARY, Reason.PINNED)
    for token in (wrote(None, 6), wrote(None, 6, blind_at=NOW - 6)):
        assert world.read(token, positions=False) == ("r1", Reason.WINDOW)


@pytest.mark.parametrize("name", ["strong", "bounded"])
def test_without_positions_what_no_window_keeps_is_read_from_the_primary(name):
    world = World(three(7, 7, 7), opened=ALL)
    for token in (EMPTY, wrote(None, 1), wrote(None, 6)):
        assert world.read(token, block=level(name), positions=False) == (PRIMARY, Reason.NO_POSITION)


def test_a_token_with_a_position_is_never_read_as_one_without():
    """Whatever a server has answered lately: somebody has had a position of it."""
    world = World(three(4, 4, 4), opened=ALL, known=ALL, primary=At(9))
    assert world.read(wrote(At(5), 60), positions=False) == (PRIMARY, Reason.BEHIND)


def test_where_the_primary_stands_is_asked_once_for_a_page():
    world = World(three(7, 7, 7), opened=ALL, known=ALL, age=math.inf, primary=At(7))
    blind = wrote(None, 60, blind_at=NOW - 60)
    assert world.read(blind) == ("r1", Reason.CAUSAL)
    assert world.names() == ["AskFloor"]
    assert world.read(blind) == ("r1", Reason.CAUSAL)
    assert world.names() == []


def test_a_token_that_comes_later_asks_again():
    """What it speaks of may have been written after the primary was asked."""
    world = World(three(7, 7, 7), opened=ALL, known=ALL, age=math.inf, primary=At(7))
    world.read(wrote(None, 60, blind_at=NOW - 60))
    world.state.add_token(wrote(None, 50, blind_at=NOW - 50))
    world.primary = At(9)
    assert world.read(world.state.token) == (PRIMARY, Reason.BEHIND)


@pytest.mark.parametrize("name", ["causal", "strong", "bounded"])
def test_in_shadow_nothing_is_asked(name):
    world = World(three(0, 0, 0), shadow=True)
    alias, reason = world.read(wrote(At(5)), block=level(name))
    assert (alias, reason, world.steps) == (PRIMARY, Reason(name), [])


# --- strong -------------------------------------------------------------------------------------


def level(name, max_staleness=0.0):
    return Block(kind=BlockKind.CONSISTENCY, level=Level(name), max_staleness=max_staleness, entry=object())


def test_strong_asks_for_its_floor_once_and_needs_no_token():
    world = World(three(7, 7, 7), opened=ALL, primary=At(7), consistency=Level.STRONG)
    assert world.read(None) == ("r1", Reason.STRONG)
    assert world.names() == ["AskFloor", "AskReplica r1"]
    world.primary = At(8)
    assert world.read(None) == ("r1", Reason.STRONG)
    assert world.steps == []


def test_strong_has_a_floor_for_each_entry_of_a_block():
    world = World(three(7, 0, 0), opened=ALL, known=ALL, primary=At(7))
    first, second = level("strong"), level("strong")
    assert world.read(block=first) == ("r1", Reason.STRONG)
    world.primary = At(8)
    assert world.read(block=first) == ("r1", Reason.STRONG)
    assert world.read(block=second) == (PRIMARY, Reason.BEHIND)
    assert world.names()[0] == "AskFloor"


def test_strong_without_an_answer_reads_the_primary():
    world = World(three(7, 7, 7), opened=ALL, primary=None, consistency=Level.STRONG)
    assert world.read() == (PRIMARY, Reason.NO_POSITION)
    assert world.names() == ["AskFloor"]


def test_strong_of_an_old_history_never_becomes_a_window():
    world = World({"r1": At(900, "first")}, opened=["r1"], primary=At(5, "second"), consistency=Level.STRONG)
    assert world.read(wrote(At(5), 600)) == (PRIMARY, Reason.BEHIND)


# --- bounded ------------------------------------------------------------------------------------

# Name: (what is known, the bound, what is done, where it goes).
BOUNDED = {
    "known to be fresh": ({"r1": 9.0, "r2": 1.0}, 2.0, [], ("r2", Reason.BOUNDED)),
    "exactly": ({"r1": 2.0}, 2.0, [], ("r1", Reason.BOUNDED)),
    "not fresh enough": (
        {"r1": 9.0, "r2": 9.0, "r3": 9.0},
        2.0,
        ["AskPrimary", "AskReplica r1", "AskReplica r2", "AskReplica r3"],
        (PRIMARY, Reason.BEHIND),
    ),
}


@pytest.mark.parametrize(("stale", "bound", "steps", "end"), BOUNDED.values(), ids=BOUNDED)
def test_bounded(stale, bound, steps, end):
    world = World(three(0, 0, 0), opened=ALL, known=ALL, stale=stale, age=math.inf, primary=At(5))
    assert world.read(wrote(At(5)), block=level("bounded", bound)) == end
    assert world.names() == steps


def test_bounded_without_an_answer_reads_the_primary():
    world = World(three(0, 0, 0), opened=ALL, age=math.inf, primary=None)
    assert world.read(block=level("bounded", 2.0)) == (PRIMARY, Reason.NO_POSITION)


# --- window: within MAX_LAG, and what happens if none is ------------------------------------------

ASK_ALL = ["AskPrimary", "AskReplica r1", "AskReplica r2", "AskReplica r3"]
LATE = {"r1": 9.0, "r2": 6.0, "r3": 8.0}

# Name: (the world, what is done, where it goes).
RECENT = {
    "within MAX_LAG": (
        {"stale": {"r1": 9.0, "r2": 5.0, "r3": math.inf}, "watched": True},
        [],
        ("r2", Reason.WINDOW),
    ),
    "MAX_LAG is PIN_SECONDS unless it is set": (
        {"stale": {"r1": 9.0, "r2": 5.0, "r3": 1.0}, "max_lag": 2.0, "watched": True},
        [],
        ("r3", Reason.WINDOW),
    ),
    "nobody watches: the servers are asked": (
        {"stale": LATE},
        [*ASK_ALL, "Spill"],
        (PRIMARY, Reason.SPILLED),
    ),
    "a monitor watches: nobody is asked": (
        {"stale": LATE, "watched": True},
        ["Spill"],
        (PRIMARY, Reason.SPILLED),
    ),
    "nor where nothing is known yet": (
        {"age": math.inf, "watched": True},
        ["Spill"],
        (PRIMARY, Reason.SPILLED),
    ),
    "nor those that have just been asked": (
        {"stale": LATE, "asked": ALL},
        ["Spill"],
        (PRIMARY, Reason.SPILLED),
    ),
    "one is known, and it is another's turn": (
        {"stale": {"r2": 0.0, "r3": 0.0}, "age": math.inf},
        ["AskPrimary", "AskReplica r1"],
        ("r2", Reason.WINDOW),
    ),
    "one is known, and it is its turn": ({"stale": {"r1": 0.0}, "age": math.inf}, [], ("r1", Reason.WINDOW)),
    "no time to ask": ({"stale": {"r2": 0.0}, "age": math.inf, "hurry": True}, [], ("r2", Reason.WINDOW)),
    "the primary has enough to do": (
        {"stale": LATE, "watched": True, "room": False},
        ["Spill"],
        ("r2", Reason.DEGRADED),
    ),
    "the primary is away": ({"stale": LATE, "watched": True, "away": True}, [], ("r2", Reason.DEGRADED)),
    "and nobody watches": ({"stale": LATE, "away": True}, [], ("r2", Reason.DEGRADED)),
    "the primary does not say where it stands": (
        {"stale": LATE, "primary": None, "room": False},
        ["AskPrimary", "Spill"],
        ("r2", Reason.DEGRADED),
    ),
    "all that lag are the same to a process that knows nothing": (
        {"age": math.inf, "watched": True, "away": True},
        [],
        ("r1", Reason.DEGRADED),
    ),
    "one that lags is dead": (
        {"stale": LATE, "watched": True, "away": True, "opened": (), "down": ("r2",)},
        ["Open r2", "Open r3"],
        ("r3", Reason.DEGRADED),
    ),
    "all are dead": (
        {"stale": LATE, "watched": True, "away": True, "opened": (), "down": ALL},
        ["Open r2", "Open r3", "Open r1"],
        (PRIMARY, Reason.NO_REPLICA),
    ),
}


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("window", EMPTY),
        ("window", wrote(None, 6, blind_at=NOW - 6)),
    ],
    ids=["never wrote", "long ago"],
)
@pytest.mark.parametrize(("world", "steps", "end"), RECENT.values(), ids=RECENT)
def test_a_read_that_is_bound_to_no_position(world, steps, end, token, name):
    world = World(
        three(0, 0, 0),
        **{"opened": ALL, "known": ALL, "primary": At(5), "consistency": Level(name), **world},
    )
    assert world.read(token) == end
    assert world.names() == steps


PRIMARY_LOST = {"asked_primary": True, "spilled": False}
"""What is noted of a read that has spilled to the primary, and failed with it."""


@pytest.mark.parametrize("watched", [False, True])
def test_a_read_that_has_lost_the_primary_does_not_go_there_again(watched):
    world = World(three(0, 0, 0), opened=ALL, known=ALL, stale=LATE, watched=watched)
    assert world.read(block=level("window"), **PRIMARY_LOST) == ("r2", Reason.DEGRADED)
    assert world.names() == []


def test_it_has_nowhere_else_to_go_if_it_is_bound_to_it():
    world = World(three(0, 0, 0), opened=ALL, known=ALL, waits=False)
    assert world.read(wrote(At(5), 60), block=level("causal"), **PRIMARY_LOST) == (PRIMARY, Reason.BEHIND)
    assert "AskPrimary" not in world.names()


@pytest.mark.parametrize("away", [False, True])
def test_eventual_reads_never_look_at_the_lag(away):
    world = World(three(0, 0, 0), opened=ALL, age=math.inf, away=away, consistency=Level.EVENTUAL)
    assert world.read() == ("r1", Reason.EVENTUAL)
    assert world.read(block=level("causal")) == ("r1", Reason.CAUSAL)  # nor causal ones, without a token
    assert world.steps == []


def test_a_new_connection_says_which_server_it_has_reached():
    world = World(three(0, 0, 0), known=ALL, consistency=Level.WINDOW)
    world.read()
    assert world.steps == [Open("r1", Reason.WINDOW, bound=False, identify=True)]


def test_without_positions_every_replica_qualifies():
    world = World(three(0, 0, 0), opened=ALL, age=math.inf, consistency=Level.WINDOW)
    assert world.read(positions=False) == ("r1", Reason.WINDOW)


# --- monotonic reads ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("monotonic", "end"), [(False, ("r1", Reason.WINDOW)), (True, ("r2", Reason.WINDOW))]
)
def test_under_window_what_was_seen_binds_where_time_must_not_go_back(monotonic, end):
    world = World(three(0, 7, 0), opened=ALL, known=ALL, consistency=Level.WINDOW, monotonic_reads=monotonic)
    seen = Token({"shop": Mark(position=At(5), seen_at=NOW - 1)})
    assert world.read(seen) == end


def test_what_was_seen_is_no_leave_to_lag():
    """Under ``window``, one that has come far enough and stands still since answers no more."""
    stale = {"r1": 60.0, "r2": 60.0}
    world = World(
        three(7, 7, 7), opened=ALL, known=ALL, stale=stale, consistency=Level.WINDOW, monotonic_reads=True
    )
    seen = Token({"shop": Mark(position=At(5), seen_at=NOW - 1)})
    assert world.read(seen) == ("r3", Reason.WINDOW)
    world.where["r3"] = At(0)
    assert world.read(seen) == (PRIMARY, Reason.BEHIND)


def test_what_was_seen_binds_also_when_all_lag_and_the_primary_is_away():
    world = World(
        three(7, 4, 7),
        opened=ALL,
        known=ALL,
        watched=True,
        stale={"r1": 90.0, "r2": 60.0, "r3": 60.0},
        away=True,
        consistency=Level.WINDOW,
        monotonic_reads=True,
    )
    assert world.read(Token({"shop": Mark(position=At(5), seen_at=NOW - 1)})) == ("r1", Reason.DEGRADED)
    blind = Token({"shop": Mark(blind_at=NOW - 1, seen_at=NOW - 1)})
    assert world.read(blind) == (PRIMARY, Reason.NO_POSITION)


def test_what_was_seen_of_a_server_that_did_not_say_how_far_it_is_binds_by_its_time():
    world = World(
        three(7, 7, 7),
        opened=ALL,
        known=ALL,
        stale={"r1": 4.0},
        primary=At(9),
        consistency=Level.WINDOW,
        monotonic_reads=True,
    )
    assert world.read(Token({"shop": Mark(blind_at=NOW - 5, seen_at=NOW - 5)})) == ("r2", Reason.WINDOW)
    assert world.read(Token({"shop": Mark(blind_at=NOW - 1, seen_at=NOW - 1)})) == (PRIMARY, Reason.BEHIND)


def test_servers_are_asked_also_where_time_must_not_go_back():
    """The question is no answer yet, which would be limited to those that are fresh: none."""
    world = World(
        three(7, 7, 7), opened=ALL, stale=LATE, primary=At(7), consistency=Level.WINDOW, monotonic_reads=True
    )
    seen = Token({"shop": Mark(position=At(5), seen_at=NOW - 1)})
    assert world.read(seen) == (PRIMARY, Reason.SPILLED)
    assert world.names() == [*ASK_ALL, "Spill"]


def test_a_write_that_pins_no_more_and_tells_no_position_binds_nothing():
    world = World(
        three(7, 7, 7),
        opened=ALL,
        stale=LATE,
        primary=At(7),
        room=False,
        consistency=Level.WINDOW,
        monotonic_reads=True,
    )
    assert world.read(Token({"shop": Mark(wrote_at=NOW - 60)})) == ("r2", Reason.DEGRADED)


def test_a_write_pins_first():
    world = World(three(7, 7, 7), opened=ALL, known=ALL, consistency=Level.WINDOW, monotonic_reads=True)
    assert world.read(wrote(At(5))) == (PRIMARY, Reason.PINNED)


# --- what comes before --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["causal", "strong"])
def test_a_transaction_of_the_view_asks_like_any_request_until_it_writes(name):
    world = World(three(7, 7, 7), opened=ALL, primary=At(7), consistency=Level(name))
    assert world.read(wrote(At(5)), transaction=Transaction.VIEW) == ("r1", Reason(name))
    world.scope.wrote = True
    assert world.read(wrote(At(5)), transaction=Transaction.VIEW) == (PRIMARY, Reason.WROTE_IN_SCOPE)
    assert world.steps == []
