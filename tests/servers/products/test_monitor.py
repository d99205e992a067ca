"""The monitor, on real servers: what it finds, when, and what follows from it."""

import logging
import math
import threading
import time
from contextlib import closing, contextmanager

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, close_old_connections, connections
from django.test import AsyncClient, Client

from django_rwrouter import monitor, process, routing_scope, stats
from django_rwrouter.events import emit
from django_rwrouter.monitor import inline, lifecycle, prober, probes
from django_rwrouter.operations import overrides
from django_rwrouter.servers.breaker import POLICY
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from django_rwrouter.servers.in_flight import registered
from django_rwrouter.servers.server_state import Condition
from django_rwrouter.signals import (
    primary_found,
    primary_lost,
    replica_ejected,
    replica_restored,
    role_changed,
)
from django_rwrouter.stats import recorder
from tests.app.models import Book
from tests.busy_clock import busy_clock
from tests.servers.products import settings as ours
from tests.servers.products.settings import ALIASES, REPLICAS

INTERVAL = 0.2
TIMEOUT = 1.0
SETTINGS = {"INTERVAL": INTERVAL, "TIMEOUT": TIMEOUT}
NAMES = {"rwrouter-monitor", *(f"rwrouter-probe-{alias}" for alias in ALIASES)}
BUSY = 2.0
"""Seconds that a busy machine adds."""


def threads():
    """Return the monitor's own; a knock at a server's door ends by itself, within its timeout."""
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("rwrouter-")]
    return sorted(name for name in names if not name.startswith("rwrouter-knock-"))


def until(condition, seconds, what):
    """Wait until something is so; returns after how long."""
    began = busy_clock()
    while not condition():
        assert busy_clock() - began < seconds, f"After {seconds} s: {what}; {dict(monitor.snapshot())}"
        time.sleep(0.01)
    return busy_clock() - began


@pytest.fixture
def started(rwrouter):
    """Start the monitor, by a request; returns when it has heard of all servers."""
    lifecycle._monitor.in_tests = True

    def start(**changes):
        rwrouter(MONITOR={**SETTINGS, **changes})
        began = time.time()
        with routing_scope():
            pass
        until(lambda: all(seen(alias).at >= began for alias in ALIASES), 5, "not all servers were asked")

    yield start
    lifecycle._monitor.in_tests = False
    process.reset()


class Nothing:
    at = 0.0
    reachable = lag = None


def lag(alias):
    """Return a replica's lag, infinite where it is not known."""
    seconds = seen(alias).lag
    return math.inf if seconds is None else seconds


def seen(alias):
    return monitor.snapshot().get(alias, Nothing)


@contextmanager
def told(*signals):
    """The signals that are sent, with their arguments."""
    found = []

    def receive(signal, sender, **arguments):
        found.append((next(name for name, each in signals_by_name.items() if each is signal), arguments))

    signals_by_name = {name: value for name, value in globals().items() if value in signals}
    for signal in signals:
        signal.connect(receive)
    try:
        yield found
    finally:
        for signal in signals:
            signal.disconnect(receive)


def await_signals(found, number):
    """Wait until so many are sent: what they tell of is in force a moment before."""
    until(lambda: len(found) >= number, 10, "the signal is not sent")


def state(alias):
    return health.standing(alias).condition


def rounds(number):
    """Wait for so many more answers of all servers."""
    for _ in range(number):
        before = {alias: seen(alias).at for alias in ALIASES}
        until(lambda: all(seen(alias).at > before[alias] for alias in ALIASES), 10, "no round")  # noqa: B023


# --- when it runs -------------------------------------------------------------------------------


def test_it_starts_with_the_first_request_and_once(cluster, rwrouter, monkeypatch):
    rwrouter(MONITOR=SETTINGS)
    Client().get("/plain/")
    assert threads() == []  # Django's test environment.
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    assert threads() == []
    for _ in range(3):
        Client().get("/plain/")
    until(lambda: set(threads()) == NAMES, 5, threads())
    assert len(threads()) == len(NAMES)
    until(lambda: health.watched, 5, "nobody says that a monitor watches")
    monitor.reset()
    assert threads() == []
    assert not health.watched


def test_it_starts_from_an_event_loop(cluster, rwrouter, monkeypatch):
    rwrouter(MONITOR=SETTINGS)
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    assert async_to_sync(AsyncClient().get)("/async/").status_code == 200
    until(lambda: set(threads()) == NAMES, 5, threads())
    until(lambda: all(seen(alias).reachable for alias in ALIASES), 5, "not all servers were asked")


@pytest.mark.parametrize(
    "changes", [{"MONITOR": {"MODE": "off"}}, {"REPLICAS": []}], ids=["off", "no replicas"]
)
def test_it_does_not_start(cluster, rwrouter, monkeypatch, changes):
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    rwrouter(**changes)
    Client().get("/plain/")
    assert threads() == []
    assert monitor.snapshot() == {}
    assert not health.watched


def test_other_settings_make_a_new_one(cluster, started):
    started()
    [before] = [thread for thread in threading.enumerate() if thread.name == "rwrouter-monitor"]
    started(INTERVAL=0.1)
    until(lambda: not before.is_alive(), 5, "the old thread goes on")
    until(lambda: len(threads()) == len(NAMES), 5, threads())


# --- what it finds ------------------------------------------------------------------------------


def test_what_it_knows_of_servers_that_are_well(cluster, started):
    started()
    rounds(2)
    began = time.time()
    rounds(1)
    found = monitor.snapshot()
    assert found.keys() == set(ALIASES)
    for alias, each in found.items():
        assert each.reachable
        assert each.role == ("primary" if alias == "default" else "replica")
        assert each.position
        assert 0 <= each.probe_seconds < TIMEOUT
        assert began <= each.at <= time.time()
        # A level replica is known to be no older than the newest sample.
        until(lambda: lag(alias) < 2 * INTERVAL + BUSY, 10, "not fresh")  # noqa: B023
    # They are asked one after the other, and PostgreSQL logs a little even while nobody writes.
    until(lambda: len({each.position for each in monitor.snapshot().values()}) == 1, 20, "not level")


def test_how_far_behind_a_replica_is_at_most(cluster, started):
    started()
    cluster.pause(cluster.replicas[0])
    Book.objects.create(title="new")
    cluster.wait(cluster.replicas[1])
    written = time.monotonic()
    rounds(3)
    behind = time.monotonic() - written
    assert lag("replica1") > behind
    until(lambda: lag("replica2") < 2 * INTERVAL + BUSY, 10, "it is not known to be level")
    assert seen("replica1").reachable
    cluster.resume(cluster.replicas[0])
    until(lambda: lag("replica1") < 2 * INTERVAL + BUSY, 10, "it is not known to have caught up")


@pytest.fixture
def not_quite(monkeypatch):
    """Replicas that at the first look of each probe are where they were at the last one."""
    looks, before = threading.local(), {}
    ask, read = probes.ask, probes._read

    def ask_anew(*arguments, **options):
        looks.is_first = True
        return ask(*arguments, **options)

    def look(connection, driver):
        reading = read(connection, driver)
        older, before[connection.alias] = before.get(connection.alias, reading), reading
        is_first, looks.is_first = looks.is_first, False
        return older if is_first else reading

    monkeypatch.setattr(prober, "ask", ask_anew)
    monkeypatch.setattr(probes, "_read", look)


def test_a_replica_under_constant_writes_is_known_to_be_fresh(cluster, not_quite, started):
    """Asked at once after the primary it has not quite everything; so it is asked again."""
    interval = 1.0
    started(INTERVAL=interval)
    over = threading.Event()

    def write():
        try:
            while not over.is_set():
                Book.objects.using("default").create(title="more")
                time.sleep(0.002)
        finally:
            connections.close_all()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rounds(1)
        lags = []
        for _ in range(5):
            rounds(1)
            lags.append(max(lag(alias) for alias in REPLICAS))
    finally:
        over.set()
        writer.join()
    # Asked once, it would be known to have what the primary had an interval ago.
    assert sorted(lags)[len(lags) // 2] < 0.8 * interval


def test_nobody_sees_or_counts_what_it_asks(cluster, started, django_assert_num_queries):
    started()
    stats.flush()
    stats.reset()
    lifecycle._monitor.in_tests = True
    with django_assert_num_queries(0, connection=connections["default"]):
        rounds(3)
    pending = recorder._counters.take()
    assert [row.data["statements"] for row in pending if row.data["statements"]] == []


def test_a_connection_is_not_kept_for_ever(cluster, started, monkeypatch):
    """An address may lead to another server by now."""
    monkeypatch.setattr(prober, "RENEW_SECONDS", 0.1)
    started()
    before = {alias: each._connection for alias, each in lifecycle._monitor.rounds.probers.items()}
    rounds(2)
    after = {alias: each._connection for alias, each in lifecycle._monitor.rounds.probers.items()}
    assert not [alias for alias in ALIASES if before[alias] is after[alias]]


# --- replicas that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_a_replica_that_fails_comes_back_when_it_has_proved_its_position(cluster, started, trouble):
    replica = cluster.replicas[0]
    with told(replica_ejected, replica_restored) as signals:
        started()
        getattr(replica, trouble)()
        until(lambda: state("replica1") is Condition.EJECTED, 2 * INTERVAL + TIMEOUT + BUSY, "not ejected")
        assert not seen("replica1").reachable
        assert state("replica2") is Condition.HEALTHY
        until(lambda: knowledge.last_server("replica1") is None, 5, "what is known of it still holds")
        time.sleep(POLICY.first_pause * (1 + POLICY.jitter))
        assert state("replica1") is Condition.EJECTED
        replica.start() if trouble == "kill" else replica.thaw()
        took = until(lambda: state("replica1") is Condition.HEALTHY, 10, "not restored")
        server = knowledge.last_server("replica1")
        await_signals(signals, 2)
    assert took < 3 * INTERVAL + BUSY
    assert knowledge.position(server) is not None
    assert [name for name, _arguments in signals] == ["replica_ejected", "replica_restored"]
    assert signals[0][1]["alias"] == "replica1"


def test_a_frozen_replica_holds_up_nobody_else(cluster, started):
    started()
    cluster.replicas[0].freeze()
    until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
    began = busy_clock()
    before = seen("replica2").at
    count = 0
    while count < 5:
        until(lambda: seen("replica2").at > before, 2 * INTERVAL + BUSY, "replica2 is not asked")  # noqa: B023
        before = seen("replica2").at
        count += 1
    assert busy_clock() - began < 6 * INTERVAL * 1.2 + BUSY


def test_a_replica_that_was_passed_over_is_not_left_to_the_next_round(cluster, started):
    """An attempt to connect that nobody can end takes a second or two, and rounds go by meanwhile."""
    interval = 2.4
    started(INTERVAL=interval)
    rounds(1)
    server = cluster.replicas[0]
    server.freeze()
    try:
        until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
        before = seen("default").at
        until(lambda: seen("default").at > before, 5, "no round")
    finally:
        server.thaw()
    # One answer at once, and the other half an interval later.
    assert until(lambda: state("replica1") is Condition.HEALTHY, 10, "not back") < 1.1 * interval


def test_the_second_proof_is_asked_for_after_half_an_interval(cluster, started):
    interval = 4.0
    started(INTERVAL=interval)
    server = cluster.replicas[0]
    server.kill()
    until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
    server.start()
    until(lambda: seen("replica1").reachable, 10, "not reachable")
    assert until(lambda: state("replica1") is Condition.HEALTHY, 10, "not back") < 0.8 * interval


def test_a_kept_connection_that_was_ended_is_no_failure(cluster, started):
    with told(replica_ejected, primary_lost) as signals:
        started()
        for prober in lifecycle._monitor.rounds.probers.values():
            prober.abort()
        rounds(3)
    assert signals == []
    assert all(each.reachable for each in monitor.snapshot().values())


def test_a_replica_that_takes_no_connection_does_not_come_back(cluster, started, monkeypatch):
    """Each probe of one that is out opens a new connection."""
    started()
    with monkeypatch.context() as changed:
        changed.setitem(connections.settings["replica1"], "PASSWORD", "wrong")
        assert health.failed("replica1", "by a request")
        time.sleep(POLICY.first_pause * 1.3)
        rounds(1)
        assert state("replica1") is Condition.EJECTED
        assert "OperationalError" in seen("replica1").failure
    until(lambda: state("replica1") is Condition.HEALTHY, 5, "not restored")


def test_what_is_logged_names_no_host_or_user(cluster, started, caplog):
    caplog.set_level(logging.DEBUG, logger="django_rwrouter")
    started()
    cluster.replicas[0].kill()
    until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
    address = connections.settings["replica1"]

    def messages():
        return [record.getMessage() for record in caplog.records]

    until(lambda: any("'replica1'" in message for message in messages()), 5, "it is not logged")
    for private in (address["HOST"], address["USER"], str(address["PORT"]), address["PASSWORD"]):
        assert not any(private in message for message in messages())


# --- the primary --------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_while_the_primary_is_away_replicas_are_watched(cluster, started, trouble):
    with told(primary_lost, primary_found, replica_ejected) as signals:
        started()
        getattr(cluster.primary, trouble)()
        until(lambda: health.is_away("default"), 2 * INTERVAL + TIMEOUT + BUSY, "nobody has noticed")
        for _ in range(3):
            before = {alias: seen(alias).at for alias in REPLICAS}
            until(
                lambda: all(seen(alias).at > before[alias] for alias in REPLICAS),  # noqa: B023
                2 * INTERVAL + BUSY,
                "the replicas are not asked",
            )
        assert all(seen(alias).reachable for alias in REPLICAS)
        until(lambda: all(lag(alias) > 3 * INTERVAL for alias in REPLICAS), 5, "taken for fresh")
        assert health.is_away("default")
        cluster.primary.start() if trouble == "kill" else cluster.primary.thaw()
        until(lambda: not health.is_away("default"), 5, "it is not found again")
        await_signals(signals, 2)
    assert [name for name, _arguments in signals] == ["primary_lost", "primary_found"]


def test_a_replica_comes_back_while_the_primary_is_away(cluster, started):
    started()
    cluster.primary.kill()
    cluster.replicas[0].kill()
    until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
    cluster.replicas[0].start()
    until(lambda: state("replica1") is Condition.HEALTHY, 10, "not restored")


# --- roles --------------------------------------------------------------------------------------


def test_a_promoted_replica_is_told_and_on_postgresql_ejected(fresh, started):
    with told(role_changed, replica_ejected) as signals:
        started()
        fresh.promote(fresh.replicas[0])
        until(lambda: seen("replica1").role == "primary", 5, "nobody has noticed")
        rounds(2)
    assert [a["role"] for name, a in signals if name == "role_changed" and a["alias"] == "replica1"] == [
        "primary"
    ]
    ejected = [arguments["why"] for name, arguments in signals if name == "replica_ejected"]
    if connections["default"].vendor == "postgresql":
        assert ejected == ["not in recovery"]
    else:
        assert ejected == []


def test_a_primary_that_is_read_only_is_told(cluster, started, monkeypatch):
    address = {key: connections.settings["replica2"][key] for key in ("HOST", "PORT")}
    with told(role_changed) as signals:
        started()
        with monkeypatch.context() as changed:
            for key, value in address.items():
                changed.setitem(connections.settings["default"], key, value)
            for prober in lifecycle._monitor.rounds.probers.values():
                prober.abort()
            if connections["default"].vendor != "postgresql":
                cluster.replicas[1].sql("SET GLOBAL read_only = ON")
            until(lambda: seen("default").role == "replica", 5, "nobody has noticed")
            rounds(2)
        # The address leads to a primary again: who looks finds it, though the old one still answers.
        until(lambda: seen("default").role == "primary", 2 * INTERVAL + BUSY, "nobody has noticed")
        await_signals(signals, 2)
    assert [(a["alias"], a["role"]) for _name, a in signals] == [
        ("default", "replica"),
        ("default", "primary"),
    ]


def test_a_replica_that_is_the_primary_under_another_name_is_fine(cluster, started, monkeypatch):
    for key in ("HOST", "PORT"):
        monkeypatch.setitem(connections.settings["replica1"], key, connections.settings["default"][key])
    with told(role_changed, replica_ejected) as signals:
        started()
        rounds(3)
    assert signals == []
    assert lag("replica1") == 0


# --- operators ----------------------------------------------------------------------------------


def test_a_drained_replica_takes_no_reads_within_two_intervals(cluster, started):
    started()
    row = {"kind": "drain", "target": "replica1", "reason": "new disks", "made_by": "", "made_at": 5}
    overrides.RoutingOverride.objects.using("default").create(**row)
    took = until(lambda: state("replica1") is Condition.DRAINED, 5, "not drained")
    assert took < 2 * INTERVAL + BUSY
    assert health.unusable() == {"replica1"}
    # While the primary is away, what was known last stays.
    overrides.RoutingOverride.objects.using("default").all().delete()
    took = until(lambda: state("replica1") is Condition.HEALTHY, 5, "still drained")
    assert took < 2 * INTERVAL + BUSY


def test_drains_are_kept_while_the_primary_is_away(cluster, started):
    started()
    row = {"kind": "drain", "target": "replica1", "reason": "", "made_by": "", "made_at": 5}
    overrides.RoutingOverride.objects.using("default").create(**row)
    until(lambda: state("replica1") is Condition.DRAINED, 5, "not drained")
    cluster.primary.kill()
    until(lambda: health.is_away("default"), 5, "nobody has noticed")
    time.sleep(3 * INTERVAL)
    assert state("replica1") is Condition.DRAINED


def test_before_migrate_nothing_is_wanted(cluster, started, caplog):
    with connections["default"].schema_editor() as editor:
        editor.delete_model(overrides.RoutingOverride)
    try:
        with told(primary_lost, replica_ejected) as signals:
            started()
            rounds(3)
        assert signals == []
        assert not caplog.records
        assert all(each.reachable for each in monitor.snapshot().values())
    finally:
        with connections["default"].schema_editor() as editor:
            editor.create_model(overrides.RoutingOverride)


# --- reads that hang ----------------------------------------------------------------------------


@pytest.mark.parametrize("renew_seconds", [60.0, 0.0], ids=["kept", "renewed"])
def test_a_read_that_hangs_on_a_frozen_replica_is_ended(cluster, started, monkeypatch, renew_seconds):
    """Whatever the driver's own patience is, also where the monitor itself just opens a connection."""
    monkeypatch.setattr(prober, "RENEW_SECONDS", renew_seconds)
    if connections["default"].vendor == "mysql":
        options = {**connections.settings["replica1"]["OPTIONS"], "read_timeout": 60}
        monkeypatch.setitem(connections.settings["replica1"], "OPTIONS", options)
    started()
    ready, frozen, ended = threading.Event(), threading.Event(), []

    def read():
        connection = connections["replica1"]
        try:
            connection.ensure_connection()
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                ready.set()
                frozen.wait(10)
                began = busy_clock()
                try:
                    with registered(connection):
                        cursor.execute("SELECT title FROM app_book")
                except OperationalError as error:
                    ended.append((busy_clock() - began, emit.why(error)))
        finally:
            connection.close()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert ready.wait(10)
    cluster.replicas[0].freeze()
    frozen.set()
    reader.join(30)
    assert not reader.is_alive()
    [(seconds, _why)] = ended
    assert seconds < 2 * INTERVAL + TIMEOUT + 1 + BUSY


@pytest.mark.parametrize("ends", [False, True], ids=["by default", "END_PRIMARY_STATEMENTS"])
def test_what_hangs_on_the_primary_goes_on_unless_the_site_wants_an_error(
    cluster, started, monkeypatch, ends
):
    if connections["default"].vendor == "mysql":
        options = {**connections.settings["default"]["OPTIONS"], "read_timeout": 60}
        monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
        connections["default"].close()
    started(END_PRIMARY_STATEMENTS=ends)
    ready, frozen, outcome = threading.Event(), threading.Event(), []

    def write():
        try:
            with routing_scope(), connections["default"].cursor() as cursor:
                cursor.execute("SELECT 1")
                ready.set()
                frozen.wait(10)
                cursor.execute("UPDATE app_book SET title = 'new'")
                outcome.append("written")
        except OperationalError:
            outcome.append("ended")
        finally:
            connections["default"].close()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    assert ready.wait(10)
    turn = lifecycle._monitor.rounds._rounds.workers["default"].turn
    cluster.primary.freeze()
    frozen.set()
    try:
        until(lambda: turn.misses >= 5 or outcome, 20, "the monitor does not wait")
        assert outcome == (["ended"] if ends else [])
    finally:
        cluster.primary.thaw()
    writer.join(10)
    assert outcome == (["ended"] if ends else ["written"])


def test_a_lock_on_the_table_of_overrides_says_nothing_of_the_server(cluster, started):
    overrides.drain("replica1")
    with told(primary_lost) as signals:
        started()
        until(lambda: state("replica1") is Condition.DRAINED, 5, "not drained")
        other = connections.create_connection("default")
        with closing(other), other.cursor() as cursor:
            if other.vendor == "mysql":
                cursor.execute("LOCK TABLES django_rwrouter_routingoverride WRITE")
            else:
                cursor.execute("BEGIN")
                cursor.execute("LOCK TABLE django_rwrouter_routingoverride IN ACCESS EXCLUSIVE MODE")
            for _ in range(6):
                before = seen("default").at
                until(lambda: seen("default").at > before, 3 * BUSY, "it is not asked")  # noqa: B023
                assert seen("default").reachable
                assert state("replica1") is Condition.DRAINED
            cursor.execute("UNLOCK TABLES" if other.vendor == "mysql" else "ROLLBACK")
        overrides.undrain("replica1")
    assert signals == []


def test_a_slow_probe_ends_no_read(cluster, started, monkeypatch):
    """One probe in vain is no proof: the next, on a new connection, is answered."""
    cut = []
    monkeypatch.setattr("django_rwrouter.monitor.rounds.cut_off", lambda alias, _hung_for: cut.append(alias))
    started()
    cluster.replicas[0].freeze()
    until(lambda: state("replica1") is Condition.EJECTED, 5, "not ejected")
    cluster.replicas[0].thaw()
    until(lambda: seen("replica1").reachable, 5, "not found")
    assert cut == []


# --- inline -------------------------------------------------------------------------------------


def test_inline_a_request_asks_when_it_is_time(cluster, rwrouter, monkeypatch):
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    rwrouter(MONITOR={"INTERVAL": 600.0, "TIMEOUT": 20.0, "MODE": "inline"})
    Client().get("/plain/")
    first = dict(monitor.snapshot())
    assert first.keys() == set(ALIASES)
    assert all(each.reachable for each in first.values())
    assert threads() == []
    until(lambda: health.watched, 5, "nobody says that a monitor watches")
    Client().get("/plain/")
    assert {alias: each.at for alias, each in monitor.snapshot().items()} == {
        alias: each.at for alias, each in first.items()
    }
    monkeypatch.setattr(inline, "monotonic", lambda: time.monotonic() + 1.2 * 600.0)
    Client().get("/plain/")
    assert all(seen(alias).at > first[alias].at for alias in ALIASES)
    monitor.reset()


def test_inline_nobody_waits_on_an_event_loop(cluster, rwrouter, monkeypatch):
    rwrouter(MONITOR={**SETTINGS, "MODE": "inline"})
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    assert async_to_sync(AsyncClient().get)("/async/").status_code == 200
    assert monitor.snapshot() == {}
    monitor.reset()


def test_inline_a_frozen_replica_costs_a_request_its_timeout_more_and_more_seldom(
    cluster, rwrouter, monkeypatch
):
    monkeypatch.setattr(lifecycle._monitor, "in_tests", True)
    rwrouter(MONITOR={"INTERVAL": INTERVAL, "TIMEOUT": 1, "MODE": "inline"}, CONSISTENCY="eventual")
    Client().get("/plain/")
    # A kept connection may be read before the next round, and psycopg would wait on it for ever.
    connections.close_all()
    cluster.replicas[0].freeze()
    began, ended = [], []
    probe = prober.Prober.probe

    def timed(prober, *arguments, **options):
        if prober.alias != "replica1":
            return probe(prober, *arguments, **options)
        began.append(time.monotonic())
        finding = probe(prober, *arguments, **options)
        ended.append(time.monotonic())
        return finding

    monkeypatch.setattr(prober.Prober, "probe", timed)
    while len(began) < 4:
        before = busy_clock()
        assert Client().get("/plain/").status_code == 200
        assert busy_clock() - before < 2 * 2 + BUSY
        time.sleep(0.05)
    assert state("replica1") is Condition.EJECTED
    rests = [begin - end for end, begin in zip(ended, began[1:], strict=False)]
    assert [rest >= INTERVAL * 2**number for number, rest in enumerate(rests)] == [True] * 3
    cluster.replicas[0].thaw()
    monitor.reset()


def test_the_ping_of_a_kept_connection_does_not_hang(cluster, started, rwrouter, monkeypatch):
    """A request that meets the frozen replica first; the ping comes before any statement."""
    for alias in REPLICAS:
        monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", None)
        monkeypatch.setitem(connections.settings[alias], "CONN_HEALTH_CHECKS", True)
    connections.close_all()
    rwrouter(CONSISTENCY="eventual")
    started()
    while not all(connections[alias].connection for alias in REPLICAS):
        assert Client().get("/plain/").content == b"old"
    for server in cluster.replicas:
        server.freeze()
    close_old_connections()  # What Django does between requests, though not for its test client.
    began = busy_clock()
    assert Client().get("/plain/").content == b"old"
    # The ping, and at most one attempt to connect to the other, before that is found out as well.
    assert busy_clock() - began < 2 * INTERVAL + TIMEOUT + 1 + ours.TIMEOUT + BUSY
