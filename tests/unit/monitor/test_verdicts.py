"""What follows from what probes find."""

import pytest
from django.db import OperationalError

from django_rwrouter import stats
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Reading
from django_rwrouter.events.causes import NOT_IN_RECOVERY, TIMEOUT
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.monitor.verdicts import Verdicts
from django_rwrouter.servers import asking, in_flight, sockets
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import loads
from django_rwrouter.servers.server_state import Condition


class At(int):
    """A position on a line."""

    def covers(self, other):
        return self >= other

    def encode(self):
        return str(int(self))


class Driver:
    replicas_are_read_only = False

    def place(self, position, primary):
        return None if primary is None else position


class StrictDriver(Driver):
    replicas_are_read_only = True


class World:
    """A watch, a clock, and what was told."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.told = []
        self.verdicts = Verdicts(get_topology(), away_seconds=4)
        monkeypatch.setattr(health, "_clock", lambda: self.now)
        monkeypatch.setattr(health, "_jitter", lambda: 0.0)
        monkeypatch.setattr("django_rwrouter.servers.freshness.monotonic", lambda: self.now)
        monkeypatch.setattr(
            stats, "note_event", lambda name, subject="", detail="": self.told.append((name, subject, detail))
        )
        health.watch(10_000)

    def hears(self, alias, position=None, *, server=None, writable=None, driver=None, **more):
        if writable is None:
            writable = alias == "default"
        reading = Reading(server or f"server of {alias}", position, more.pop("tentative", False), writable)
        began = more.pop("began", self.now)
        finding = ProbeResult(alias=alias, began=began, reading=reading, driver=driver or Driver(), **more)
        self.verdicts.heard(finding, self.now)

    def fails(self, alias, why="OperationalError 2002"):
        self.verdicts.heard(ProbeResult(alias=alias, began=self.now, failure=why), self.now)

    def take_told(self):
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def world(monkeypatch):
    for each in (health, knowledge, in_flight):
        each.reset()
    yield World(monkeypatch)
    for each in (health, knowledge, in_flight):
        each.reset()


def restored(world, alias="replica1"):
    return health.standing(alias).condition is Condition.HEALTHY


# --- replicas -----------------------------------------------------------------------------------


def test_one_that_fails_is_ejected_and_told_once(world):
    world.hears("replica1", At(5))
    assert knowledge.position("server of replica1") == 5
    for _ in range(3):
        world.fails("replica1")
    assert health.unusable() == {"replica1"}
    assert world.take_told() == [("replica_ejected", "replica1", "OperationalError 2002")]
    assert knowledge.position("server of replica1") is None
    assert not world.verdicts.snapshot()["replica1"].reachable


def test_what_was_asked_before_it_was_ejected_proves_nothing(world):
    world.fails("replica1", TIMEOUT)
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    for began in (990, 995):
        world.hears("replica1", At(9), began=began)
    assert not restored(world)
    assert knowledge.position("server of replica1") is None


def test_a_position_from_before_the_ejection_is_not_placed_after_it(world):
    world.hears("replica1", At(9), tentative=True)
    world.now += 1
    asking.trip("replica1", "by a read")
    world.hears("default", At(9))
    assert knowledge.position("server of replica1") is None


def test_what_is_published_of_one_that_is_back_is_not_where_it_stood_before(world):
    """With the primary away, the new position stays without its place."""
    world.hears("replica1", At(9))
    world.now += 1
    asking.trip("replica1", "by a read")
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    for _ in range(POLICY.proofs):
        world.hears("replica1", At(3), tentative=True)
    assert restored(world)
    assert world.verdicts.findings["replica1"].reading is None


def test_it_is_back_when_it_has_said_anew_where_it_stands(world):
    world.hears("replica1", At(5))
    world.fails("replica1", TIMEOUT)
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    world.hears("replica1")  # It answers, and does not know.
    world.hears("replica1")
    world.hears("replica1")
    assert not restored(world)
    for proofs in range(1, POLICY.proofs + 1):
        world.hears("replica1", At(6))
        assert restored(world) is (proofs == POLICY.proofs)
    assert knowledge.position("server of replica1") == 6
    assert [name for name, *_more in world.take_told()] == ["replica_ejected", "replica_restored"]


def test_one_that_never_said_where_it_stands_needs_not(world):
    """Replication by files and offsets, say: what is not known of it now was not known before."""
    world.hears("replica1")
    world.fails("replica1")
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    for _ in range(POLICY.proofs):
        world.hears("replica1")
    assert restored(world)


def test_nor_on_a_database_without_positions(world):
    world.fails("replica1")
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    for _ in range(POLICY.proofs):
        world.verdicts.heard(ProbeResult(alias="replica1", began=world.now), world.now)
    assert restored(world)


def test_trouble_of_our_own_ejects_nobody(world):
    with pytest.raises(ZeroDivisionError):
        world.verdicts.heard(ProbeResult(alias="replica1", began=0, trouble=ZeroDivisionError()), world.now)
    assert not health.unusable()


# --- positions that need the primary's ----------------------------------------------------------


def test_a_tentative_position_waits_for_the_primary_to_be_asked_after_it(world):
    cluster = get_topology().clusters["default"]
    world.hears("default", At(5))
    world.now += 1
    world.hears("replica1", At(5), tentative=True)
    assert knowledge.position("server of replica1") is None
    assert world.verdicts.must_place(cluster)
    world.hears("default", At(6), began=world.now - 0.5)  # It was asked before.
    assert world.verdicts.must_place(cluster)
    world.now += 1
    world.hears("default", At(6))
    assert not world.verdicts.must_place(cluster)
    assert knowledge.position("server of replica1") == 5
    assert world.verdicts.snapshot()["replica1"].position == "5"


def test_a_primary_that_is_a_standby_places_nothing(world):
    """And is not asked for ever."""
    world.hears("replica1", At(5), tentative=True)
    world.hears("default", writable=False)
    assert not world.verdicts.must_place(get_topology().clusters["default"])
    assert knowledge.has_positions("default", ["replica1"])


def test_servers_that_refuse_to_say_where_they_stand_are_well(world):
    for alias in ("default", "replica1", "replica2"):
        world.verdicts.heard(
            ProbeResult(alias=alias, began=world.now, driver=Driver(), refusal="42501"), world.now
        )
    assert not health.unusable()
    assert not health.is_away("default")
    assert not knowledge.has_positions("default", ["replica1", "replica2"])
    assert {(seen.reachable, seen.refused) for seen in world.verdicts.snapshot().values()} == {
        (True, "42501")
    }


def test_an_ejected_replica_with_a_tentative_position_is_proved_by_it(world):
    """While the primary is away nobody can place it, and reads that are not bound to one may go there."""
    world.hears("replica1", At(5), tentative=True)
    world.fails("default")
    world.fails("replica1")
    world.now += POLICY.first_pause * (1 + POLICY.jitter)
    for _ in range(POLICY.proofs):
        world.hears("replica1", At(5), tentative=True)
    assert restored(world)
    assert knowledge.position("server of replica1") is None


# --- roles --------------------------------------------------------------------------------------

# Name: (the alias, whether it takes writes, round by round; what is told).
ROLES = {
    "a primary": ("default", [True, True], []),
    "a replica": ("replica1", [False, False], []),
    "a primary that is demoted": ("default", [True, False, False], ["replica"]),
    "a primary that is read-only from the beginning": ("default", [False, False], ["replica"]),
    "and is one again": ("default", [False, True, True], ["replica", "primary"]),
    "a replica that is promoted": ("replica1", [False, True, True], ["primary"]),
    "a replica that is writable from the beginning": ("replica1", [True, True], ["primary"]),
    "a server that does not say": ("replica1", [None, None], []),
}


@pytest.mark.parametrize(("alias", "rounds", "told"), ROLES.values(), ids=ROLES)
def test_a_role_is_told_when_it_changes(world, alias, rounds, told):
    for writable in rounds:
        reading = Reading(f"server of {alias}", At(5), writable=writable)
        finding = ProbeResult(alias=alias, began=world.now, reading=reading, driver=Driver())
        world.verdicts.heard(finding, world.now)
    assert world.take_told() == [("role_changed", alias, role) for role in told]
    assert not health.unusable()


def test_where_replicas_cannot_take_writes_one_that_does_is_none(world):
    world.hears("replica1", None, writable=True, driver=StrictDriver())
    assert health.standing("replica1").why == NOT_IN_RECOVERY
    world.now += 100
    for _ in range(POLICY.proofs + 1):
        world.hears("replica1", None, writable=True, driver=StrictDriver())
    assert not restored(world)


@pytest.mark.parametrize(
    "more", [{"is_primary": True}, {"server": "server of default"}], ids=["settings", "server"]
)
def test_unless_it_is_the_primary_under_another_name(world, more):
    world.hears("default", At(5))
    world.hears("replica1", None, writable=True, driver=StrictDriver(), **more)
    assert world.take_told() == []
    assert restored(world)


# --- the primary --------------------------------------------------------------------------------


def test_a_primary_that_does_not_answer_is_away_and_told_once(world):
    for _ in range(3):
        world.fails("default")
        world.now += 3
        assert health.is_away("default")
        assert world.verdicts.is_lost("default")
    world.hears("default", At(5))
    assert not health.is_away("default")
    assert not world.verdicts.is_lost("default")
    assert [name for name, *_more in world.take_told()] == ["primary_lost", "primary_found"]


def test_while_a_primary_is_demoted_each_probe_opens_a_new_connection(world):
    """Its address may lead to another server any time."""
    for writable in (True, False, False, True):
        world.hears("default", At(5), writable=writable)
        assert world.verdicts.must_connect("default") is not writable
    world.hears("replica1", At(5), writable=True)
    assert not world.verdicts.must_connect("replica1")
    world.fails("replica1")
    assert world.verdicts.must_connect("replica1")


# --- slow replicas ------------------------------------------------------------------------------


def work(world, **means):
    for alias, seconds in means.items():
        world.hears(alias, At(5))
        for _ in range(POLICY.reads_per_sample):
            loads[alias].count += 1
            loads[alias].seconds += seconds
    world.verdicts.end_round()
    world.now += 1


def test_a_slow_replica_is_left_alone_for_longer(world):
    for looks in range(1, POLICY.slow_samples + 1):
        assert restored(world), looks
        work(world, replica1=0.5, replica2=0.02)
    assert health.standing("replica1").why == "slow: 500 ms, its peers 20 ms"
    assert world.take_told() == [("replica_ejected", "replica1", "slow: 500 ms, its peers 20 ms")]
    began = world.now
    while not restored(world):
        work(world, replica1=0.02, replica2=0.02)
    assert POLICY.slow_pause - 2 <= world.now - began <= POLICY.slow_pause + 1


def test_the_last_healthy_replica_is_kept_however_slow(world):
    health.set_drained([("replica2", 0.0, "")])
    for _ in range(3 * POLICY.slow_samples):
        work(world, replica1=0.5, replica2=0.02)
    assert restored(world)


# --- what is shown ------------------------------------------------------------------------------


def test_what_is_shown(world):
    world.hears("default", At(5), seconds=0.001)
    world.hears("replica1", At(5), seconds=0.002)
    world.fails("replica2", "OperationalError 2003")
    world.now += 1.5
    found = world.verdicts.snapshot()
    assert found["default"].lag == 0
    assert found["replica1"].lag == 1.5
    assert found["replica2"].lag is None
    assert [(each.role, each.position, each.reachable, each.failure) for each in found.values()] == [
        ("primary", "5", True, ""),
        ("replica", "5", True, ""),
        ("unknown", "", False, "OperationalError 2003"),
    ]
    assert found["replica1"].probe_seconds == 0.002


def test_servers_of_others_are_nobodys_business(world):
    world.verdicts.heard(ProbeResult(alias="other", began=0), world.now)
    world.verdicts.heard(ProbeResult(alias="other", began=0, failure="gone"), world.now)
    assert world.verdicts.snapshot() == {}
    assert world.take_told() == []


def test_an_error_is_no_name_of_a_host():
    from django_rwrouter.events import emit

    assert emit.why(OperationalError(2002, "can't connect to db.internal")) == "OperationalError 2002"


# --- a primary's address that leads elsewhere ---------------------------------------------------


class Opened:
    """A connection of this process."""

    alias = "default"
    connection = None
    close_at = None


def retired(world, *answers):
    """Whether an open connection is given up after the primary has given these answers."""
    connection = Opened()
    sockets.note_opened(connection)
    for answer in answers:
        world.hears("default", At(5), **answer)
    return connection.close_at == 0.0


def test_connections_to_a_demoted_primary_are_given_up(world):
    assert not retired(world, {}, {})
    assert retired(world, {}, {"writable": False})


def test_and_those_to_a_server_that_was_behind_the_address(world):
    assert retired(world, {}, {"server": "its successor"})
    assert not retired(world, {"server": "its successor"})
