"""Asking and waiting, with servers that are made up."""

import threading
import time
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.conf.options import ClusterSettings, ReplicaSettings
from django_rwrouter.databases.base import Reading
from django_rwrouter.servers import asking, waiting
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.identity import server_of


class At(int):
    """A position on a line."""

    def covers(self, other):
        return self >= other

    def merge(self, other):
        return max(self, other)


class FakeDriver:
    """Answers from a table of servers, by the connection's alias."""

    def __init__(self, positions):
        self.positions = positions
        self.failing = set()
        self.refusing = set()
        self.asked = []
        self.on_wait = lambda alias, seconds: None

    def read_primary(self, alias):
        return self._answer("primary", alias)

    def read_replica(self, alias):
        return Reading(f"server of {alias}", self._answer("replica", alias))

    def place(self, position, primary):
        return position

    def wait(self, alias, position, seconds):
        self.asked.append(("wait", alias))
        self.on_wait(alias, seconds)
        return self.positions[alias].covers(position)

    def _answer(self, what, alias):
        self.asked.append((what, alias))
        if alias in self.refusing:
            raise OperationalError(1227, "Access denied; you need the REPLICATION CLIENT privilege")
        if alias in self.failing:
            raise OperationalError(2013, "gone")
        return self.positions[alias]


class Connection(SimpleNamespace):
    """As much of Django's as is needed."""

    def ensure_connection(self):
        self.connection = self.connection or object()

    def close_if_health_check_failed(self):
        pass


@pytest.fixture
def world(monkeypatch):
    driver = FakeDriver({"main": At(5), "r1": At(5), "r2": At(4)})
    closed = []
    connections = {
        alias: Connection(
            alias=alias,
            vendor="mysql",
            connection=None,
            in_atomic_block=False,
            autocommit=True,
            close=lambda alias=alias: closed.append(alias),
            settings_dict={
                "ENGINE": "e",
                "NAME": alias,
                "HOST": "h",
                "PORT": 1,
                "USER": "u",
                "OPTIONS": {},
                "TEST": {},
            },
        )
        for alias in driver.positions
    }

    for module in (asking, waiting):
        monkeypatch.setattr(module, "ask", lambda connection, question: question(connection.alias))
        monkeypatch.setattr(module, "get_driver", lambda connection: driver)
        monkeypatch.setattr(module, "connections", connections)
    forget()
    yield SimpleNamespace(driver=driver, connections=connections, closed=closed)
    forget()


def forget():
    knowledge.reset()
    health.reset()
    waiting.reset()


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=time.monotonic())
    for module in (asking, waiting):
        monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


def cluster(name="shop", **settings):
    replicas = (ReplicaSettings(alias="r1"), ReplicaSettings(alias="r2"))
    return Cluster(
        settings=ClusterSettings(name=name, primary="main", replicas=replicas, **settings),
        enabled=True,
        shadow=False,
    )


def test_the_primary_is_asked_each_time_unless_a_recent_answer_will_do(world):
    primary = world.connections["main"]
    assert asking.ask_primary(cluster(), primary) == 5
    assert asking.ask_primary(cluster(), primary, at_most_old=60) == 5
    assert world.driver.asked == [("primary", "main")]
    world.driver.positions["main"] = At(6)
    assert asking.ask_primary(cluster(), primary) == 6


def test_a_primary_that_does_not_answer_is_no_error(world, caplog):
    world.driver.failing.add("main")
    assert asking.ask_primary(cluster(), world.connections["main"]) is None
    assert "could not be asked" in caplog.text
    assert world.closed == ["main"]


@pytest.mark.parametrize("transaction", [{"in_atomic_block": True}, {"autocommit": False}], ids=repr)
def test_in_a_transaction_it_is_left_to_django_to_close_its_connection(world, transaction):
    world.driver.failing.add("main")
    vars(world.connections["main"]).update(transaction)
    assert asking.ask_primary(cluster(), world.connections["main"]) is None
    assert world.closed == []


def test_a_primary_that_is_away_is_not_waited_for(world):
    """Each of many reads would wait for connect_timeout, and some more than once."""
    health.lost_primary("shop", 60)
    assert asking.ask_primary(cluster(), world.connections["main"]) is None
    assert world.driver.asked == []
    health.found_primary("shop")
    assert asking.ask_primary(cluster(), world.connections["main"]) == 5


def test_a_connection_that_is_open_is_asked_though_the_primary_seems_away(world):
    """It may take no new connections, and the request has just written on the one it has."""
    primary = world.connections["main"]
    primary.ensure_connection()
    health.lost_primary("shop", 60)
    assert asking.ask_primary(cluster(), primary) == 5
    assert not health.is_away("shop")


def test_a_primary_that_refuses_to_say_is_there_and_has_no_position(world, caplog):
    primary = world.connections["main"]
    world.driver.refusing.add("main")
    assert [asking.ask_primary(cluster(), primary) for _ in range(3)] == [None] * 3
    assert not health.is_away("shop")
    assert world.closed == []
    assert not knowledge.has_positions("shop", ["r1", "r2"])
    assert caplog.text.count("refuses to tell its position") == 1
    world.driver.refusing.clear()
    assert asking.ask_primary(cluster(), primary) == 5
    assert knowledge.has_positions("shop", ["r1", "r2"])


def test_a_replica_that_refuses_to_say_is_no_dead_one(world, caplog):
    replicas = ["r1", "r2"]
    for alias in replicas:
        assert knowledge.has_positions("shop", replicas)
        world.driver.refusing.add(alias)
        asking.ask_replica(cluster(), world.connections[alias])
    assert not knowledge.has_positions("shop", replicas)
    assert caplog.text.count("refuses to tell its position") == 2
    world.driver.refusing.clear()
    asking.ask_replica(cluster(), world.connections["r2"])
    assert knowledge.has_positions("shop", replicas)


def test_a_replica_that_refuses_to_wait_has_not_arrived(world):
    def refuse(alias, seconds):
        raise OperationalError(1370, "execute command denied to user for routine")

    world.driver.on_wait = refuse
    assert not waiting.wait(cluster(), world.connections["r1"], At(5))


def test_a_replica_that_does_not_answer_is_one(world):
    world.driver.failing.add("r1")
    with pytest.raises(OperationalError):
        asking.ask_replica(cluster(), world.connections["r1"])


def test_what_a_replica_says_is_known_of_its_server(world):
    asking.ask_replica(cluster(), world.connections["r1"])
    assert server_of(world.connections["r1"]) == "server of r1"
    assert knowledge.reached("server of r1", At(5))


# --- waiting ------------------------------------------------------------------------------------


def test_waiting_is_for_wait_timeout(world):
    seen = []
    world.driver.on_wait = lambda alias, seconds: seen.append(seconds)
    assert waiting.wait(cluster(wait_timeout=0.3), world.connections["r1"], At(5))
    assert not waiting.wait(cluster(wait_timeout=0.3), world.connections["r2"], At(5))
    assert seen == [0.3, 0.3]


def test_without_a_timeout_nobody_waits(world):
    assert not waiting.wait(cluster(wait_timeout=0.0), world.connections["r1"], At(5))
    assert world.driver.asked == []


def test_what_the_server_says_of_its_waiting_is_not_enough(world):
    """It may follow another history, whose numbers are higher."""
    world.driver.wait = lambda alias, position, seconds: True
    assert not waiting.wait(cluster(), world.connections["r2"], At(5))


def test_only_a_few_wait_at_once_and_the_others_not_at_all(world):
    """And their places are free again, also after an error."""
    hold, begun = threading.Event(), threading.Semaphore(0)

    def block(alias, seconds):
        begun.release()
        hold.wait(10)
        raise OperationalError(2013, "gone")

    world.driver.on_wait = block

    def wait():
        with pytest.raises(OperationalError):
            waiting.wait(cluster(), world.connections["r1"], At(5))

    threads = [threading.Thread(target=wait) for _ in range(waiting.MAX_WAITING)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert begun.acquire(timeout=10)
        assert not waiting.wait(cluster(), world.connections["r1"], At(5))
        assert world.driver.asked.count(("wait", "r1")) == waiting.MAX_WAITING
    finally:
        hold.set()
        for thread in threads:
            thread.join()
    world.driver.on_wait = lambda alias, seconds: None
    assert waiting.wait(cluster(), world.connections["r1"], At(5))


def waits(world, alias="r2", **settings):
    """Whether a read that needs position 5 waits for it; ``r2`` is not there."""
    world.driver.asked.clear()
    waiting.wait(cluster(wait_timeout=0.05, **settings), world.connections[alias], At(5))
    return ("wait", alias) in world.driver.asked


def test_after_some_waits_in_vain_nobody_waits_for_a_while(world, clock):
    assert [waits(world) for _ in range(waiting.VAIN_WAITS + 2)] == [True] * waiting.VAIN_WAITS + [False] * 2
    clock.now += waiting.REST * 0.05 - 0.01
    assert not waits(world)
    clock.now += 0.02
    assert waits(world), "Nobody tries whether waiting helps again."
    assert not waits(world), "One tries, not each."


def test_while_one_tries_whether_waiting_helps_the_others_do_not_wait(world, clock):
    for _ in range(waiting.VAIN_WAITS):
        waits(world)
    clock.now += waiting.REST * 0.05
    others = []

    def meanwhile(alias, seconds):
        world.driver.on_wait = lambda alias, seconds: others.append(alias)
        waiting.wait(cluster(wait_timeout=0.05), world.connections["r1"], At(5))

    world.driver.on_wait = meanwhile
    assert waits(world)
    assert others == []


def test_one_wait_that_helped_ends_the_rest(world, clock):
    for _ in range(waiting.VAIN_WAITS):
        waits(world)
    clock.now += waiting.REST * 0.05
    assert waits(world, "r1")
    assert [waits(world) for _ in range(waiting.VAIN_WAITS)] == [True] * waiting.VAIN_WAITS
    assert not waits(world)


def test_waits_in_vain_that_come_and_go_stop_nobody(world, clock):
    """Replicas that are as late as one waits: half of the reads are worth it."""
    for _ in range(10):
        for _ in range(waiting.VAIN_WAITS - 1):
            assert waits(world)
        assert waits(world, "r1")


def test_each_cluster_rests_for_itself(world, clock):
    for _ in range(waiting.VAIN_WAITS):
        waits(world)
    assert not waits(world)
    assert waits(world, name="blog")


# --- synchronous replicas -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "position", "enough"),
    [
        (1, 5, True),
        (1, 4, True),
        (2, 5, False),
        (2, 4, True),
        ("all", 5, False),
        ("all", 4, True),
        (1, 6, False),
        (9, 4, True),
    ],
)
def test_as_many_replicas_as_wanted(world, wanted, position, enough):
    seconds = 60 if enough else 0.1
    assert waiting.wait_for_all(cluster(sync_replicas=wanted, sync_timeout=seconds), At(position)) is enough


def test_one_that_catches_up_meanwhile(world):
    def catch_up(alias, seconds):
        world.driver.positions["r2"] = At(5)

    world.driver.on_wait = catch_up
    assert waiting.wait_for_all(cluster(sync_replicas="all", sync_timeout=60), At(5))


def test_one_that_fails_is_not_waited_for_and_left_alone(world, caplog):
    world.driver.failing.add("r1")
    assert not waiting.wait_for_all(cluster(sync_replicas="all", sync_timeout=60), At(4))
    assert health.unusable() == {"r1"}
    world.driver.asked.clear()
    assert waiting.wait_for_all(cluster(sync_replicas=1, sync_timeout=60), At(4))
    assert not [alias for _what, alias in world.driver.asked if alias == "r1"]


def test_one_that_is_the_primary_itself_has_everything(world):
    """As in test runs, where replicas mirror it."""
    world.connections["r2"].settings_dict["NAME"] = "main"
    assert waiting.wait_for_all(cluster(sync_replicas="all", sync_timeout=60), At(5))


@pytest.mark.parametrize(
    ("key", "ours", "theirs"),
    [
        ("OPTIONS", {"target_session_attrs": "read-write"}, {"target_session_attrs": "standby"}),
        ("USER", "writer", "reader"),
        ("PORT", 5432, 5433),
        ("HOST", "a", "b"),
    ],
)
def test_an_address_alone_does_not_make_a_replica_the_primary(world, key, ours, theirs):
    """One list of hosts may lead to other servers for each session; a proxy may tell them by the user."""
    primary, replica = world.connections["main"], world.connections["r2"]
    replica.settings_dict |= {**primary.settings_dict, key: theirs}
    primary.settings_dict[key] = ours
    assert not waiting.wait_for_all(cluster(sync_replicas="all", sync_timeout=0.1), At(5))


# --- tripping the breaker -----------------------------------------------------------------------


def test_tripping_forgets_what_was_measured_and_tells_it_once(monkeypatch):
    told = []
    monkeypatch.setattr(asking.emit, "replica_ejected", lambda alias, why: told.append((alias, why)))
    knowledge.learn_replica("replica1", "server 1", At(5), time.monotonic())
    assert asking.trip("replica1", "slow", pause=POLICY.slow_pause)
    assert knowledge.last_server("replica1") is None
    assert health.standing("replica1").why == "slow"
    assert not asking.trip("replica1", "OperationalError 2013")  # It was open already.
    asking.pass_over("replica2", OperationalError(2013))
    assert told == [("replica1", "slow"), ("replica2", "OperationalError 2013")]
