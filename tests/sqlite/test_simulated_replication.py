"""SQLite under the simulator of the test project, which registers positions as any project can.

Replicas move when a test says so: nothing here waits for replication.
"""

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter import consistency, current_token, monitor, routing_scope
from django_rwrouter import databases as registry
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examination import examine
from django_rwrouter.operations.replication import Stage, ask_progress
from django_rwrouter.routing import decision_cache
from django_rwrouter.scope.context import current_state
from django_rwrouter.servers import asking, freshness, health, spill_slots
from tests.app.models import Book
from tests.settings import DATABASES
from tests.sqlite.conftest import REPLICAS, ask
from tests.unit.databases import position_properties as properties

TESTPROJECT = Path(__file__).resolve().parents[2] / "testproject"
sys.path.append(str(TESTPROJECT))

from sqlite_replication import positions  # noqa: E402
from sqlite_replication.positions import SQLiteDriver, SQLitePosition  # noqa: E402
from sqlite_replication.simulator import SQLiteReplicationSimulator, hold, release  # noqa: E402

LAG = 2.0


@pytest.fixture
def simulator(databases, settings, monkeypatch):
    """Replicas that are level with the primary, and move when the test says so."""
    connections.close_all()  # What is open was prepared for a database without positions.
    monkeypatch.setattr(registry, "_products", dict(registry._products))
    positions.register()
    settings.RWROUTER = {"REPLICAS": list(REPLICAS), "WAIT_TIMEOUT": 0, "MONITOR": {"MODE": "inline"}}
    files = [Path(DATABASES[alias]["NAME"]) for alias in (DEFAULT_DB_ALIAS, *REPLICAS)]
    simulator = SQLiteReplicationSimulator(files[0], files[1:], lag=LAG)
    with closing(simulator):
        simulator.synchronise()
        yield simulator
    connections.close_all()


@pytest.fixture
def cluster(simulator):
    return get_topology().clusters["default"]


def state(alias=DEFAULT_DB_ALIAS):
    """Return what the driver learns of a file."""
    connection = connections[alias]
    connection.ensure_connection()
    with closing(connection.connection.cursor()) as cursor:
        return SQLiteDriver().read_replica(cursor)


def written():
    """Write; return the client's token."""
    with routing_scope(), consistency("causal"):
        Book.objects.create(title="new")
        return current_token()


def read(level, token="", **options):
    """Read as another request would; return alias and reason."""
    with routing_scope(safe=True, token=token), consistency(level, **options):
        decision = ask()
    return decision.alias, decision.reason.value


# --- the router ----------------------------------------------------------------------------------


def test_causal_reads_from_a_replica_once_it_has_the_write(simulator):
    token = written()
    assert read("causal", token) == ("default", "behind")
    simulator.synchronise()
    alias, reason = read("causal", token)
    assert (alias in REPLICAS, reason) == (True, "causal")


def test_strong_reads_from_a_replica_that_has_all_that_was_written(simulator):
    written()
    assert read("strong") == ("default", "behind")
    simulator.synchronise()
    alias, reason = read("strong")
    assert (alias in REPLICAS, reason) == (True, "strong")


def test_bounded_reads_from_a_replica_that_is_known_to_be_fresh(simulator):
    written()
    assert read("bounded", max_staleness=60)[0] == "default"  # Nothing is known that the replicas have.
    simulator.synchronise()
    alias, reason = read("bounded", max_staleness=60)
    assert (alias in REPLICAS, reason) == (True, "bounded")


def test_what_ends_gives_its_place_on_the_primary_back(simulator, settings):
    """Somebody may hold on to what it remembered, as the traceback of an error does."""
    settings.RWROUTER = {**settings.RWROUTER, "MAX_LAG": 0.000001}

    def body():
        remembered.append(current_state())
        yield Book.objects.db  # Asked for, and never read.

    def view(_request):
        remembered.append(current_state())
        return HttpResponse(Book.objects.db)

    def places():
        return spill_slots.taken("default")

    remembered = []
    with routing_scope(safe=True):
        remembered.append(current_state())
        assert Book.objects.db == "default"
        assert places() == 1
    assert places() == 0
    for answer in (view, lambda _request: StreamingHttpResponse(body())):
        settings.ROOT_URLCONF = (path("", answer),)
        assert b"".join(Client().get("/")) == b"default"
        assert places() == 0


def test_a_file_that_was_made_anew_is_of_another_history(simulator):
    token = written()
    simulator.synchronise()
    with closing(connections[DEFAULT_DB_ALIAS].copy()) as connection:
        connection.ensure_connection()
        connection.connection.execute("DROP TABLE replication_counter")
        positions.install(connection.connection)
    for title in range(10):
        Book.objects.create(title=title)
    simulator.synchronise()
    assert read("causal", token)[0] == "default"


# --- what operators see ---------------------------------------------------------------------------


def test_the_page_replication_shows_how_far_each_replica_is(simulator, cluster):
    before = ask_progress([cluster])[0]
    assert [steps.stage for steps in before.replicas] == [Stage.LEVEL, Stage.LEVEL]
    written()
    behind = ask_progress([cluster])[0]
    assert behind.has_positions
    assert behind.written == state().position.encode()
    for steps in behind.replicas:
        assert (steps.stage, steps.to_replay, steps.progress.delay) == (Stage.BEHIND, 1, LAG)
        assert steps.replayed == before.written
    simulator.synchronise()
    assert [steps.stage for steps in ask_progress([cluster])[0].replicas] == [Stage.LEVEL, Stage.LEVEL]


def test_the_status_shows_role_and_lag(simulator, cluster):
    seen = monitor.server_states(cluster, 5.0)
    assert {alias: server.role for alias, server in seen.items()} == {
        "default": "primary",
        "replica1": "replica",
        "replica2": "replica",
    }
    assert all(seen[alias].lag is not None for alias in REPLICAS)


def test_the_doctor_judges_the_positions_of_a_product_that_it_does_not_know(simulator, cluster):
    def judged():
        return {
            (finding.alias, finding.message)
            for finding in examine(cluster, 0.5)
            if finding.topic == "position"
        }

    assert judged() == {
        ("default", "it says where it stands"),
        *((alias, "it has reached where the primary stood") for alias in REPLICAS),
    }
    written()
    message = "it has not reached where the primary stood, or belongs to another history"
    assert {(alias, message) for alias in REPLICAS} < judged()


# --- the counter ----------------------------------------------------------------------------------


def test_each_change_is_counted_and_a_copy_has_the_same_count(simulator):
    before = state().position
    book = Book.objects.create(title="new")
    created = state().position
    Book.objects.filter(pk=book.pk).update(title="newer")
    updated = state().position
    Book.objects.all().delete()
    deleted = state().position
    assert [position.changes - before.changes for position in (created, updated, deleted)] == [1, 2, 3]
    assert state("replica1").position == before
    simulator.synchronise()
    assert state("replica1").position == deleted


def test_what_is_rolled_back_is_not_counted(simulator):
    before = state().position
    with transaction.atomic():
        Book.objects.create(title="new")
        transaction.set_rollback(True)
    assert state().position == before


def test_a_table_that_is_created_later_is_counted_from_then_on(simulator):
    connections[DEFAULT_DB_ALIAS].ensure_connection()
    raw = connections[DEFAULT_DB_ALIAS].connection
    raw.execute('CREATE TABLE "a ""table" (number INTEGER)')
    raw.execute('INSERT INTO "a ""table" VALUES (1)')
    before = state().position
    positions.install(raw)
    installed = state().position
    assert installed.covers(before)
    assert installed != before  # A copy that was made before may lack the row.
    raw.execute('INSERT INTO "a ""table" VALUES (2)')
    assert state().position.changes == installed.changes + 1


def test_a_file_without_a_counter_says_nothing(databases):
    reading = state()
    assert Path(reading.server) == Path(DATABASES[DEFAULT_DB_ALIAS]["NAME"])
    assert (reading.position, reading.writable) == (None, None)


anything = st.builds(SQLitePosition, st.sampled_from(["0123abcd", "f0000000"]), st.integers(0, 4))


@given(anything, anything, anything)
def test_positions_are_ordered_within_a_history(a, b, c):
    properties.check_order(a, b, c)
    properties.check_merge(a, b, c)
    properties.check_others_are_never_covered(a)
    assert SQLitePosition.decode(a.encode()) == a


@given(st.text(alphabet="0123456789abcdef@ \n", max_size=24) | st.text(max_size=24))
def test_what_is_no_position_is_refused(text):
    properties.check_is_refused(SQLitePosition.decode, text)


# --- the demonstration ----------------------------------------------------------------------------

DEMONSTRATION = """
import json, os
import django

django.setup()
from django.core.management import call_command
from django_rwrouter import current_token, routing_scope
from django_rwrouter.testing import capture_routing
from lab.models import Probe
from sqlite_replication.configured import configured_simulator

call_command("prepare_board")
simulator = configured_simulator()
simulator.synchronise()
call_command("check", fail_level="WARNING", verbosity=0)


def read():
    with capture_routing() as decisions, routing_scope(safe=True, token=token):
        Probe.objects.count()
    return decisions[-1].reason.value


with routing_scope():
    Probe.objects.create()
    token = current_token()
reasons = [read()]
simulator.synchronise()
reasons.append(read())
print(json.dumps(reasons))
"""


def test_the_demonstration_reads_from_replicas_again_once_they_have_the_write(tmp_path):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
        "PYTHONPATH": os.pathsep.join([str(TESTPROJECT.parent), str(TESTPROJECT)]),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATA_DIR": str(tmp_path),
        "RWROUTER_CONSISTENCY": "causal",
        "RWROUTER_WAIT_TIMEOUT": "0",
        "RWROUTER_MONITOR": "inline",
        "RWROUTER_STATS": "off",
    }
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DEMONSTRATION)],
        env=environment,
        cwd=tmp_path,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == ["behind", "causal"]


def test_a_held_replica_stays_and_catches_up_when_it_is_released(tmp_path):
    primary, replicas = tmp_path / "primary.sqlite3", [tmp_path / "one.sqlite3", tmp_path / "two.sqlite3"]
    with closing(sqlite3.connect(primary)) as connection, connection:
        connection.execute("CREATE TABLE note (text TEXT)")
    simulation = SQLiteReplicationSimulator(primary, replicas)

    def rows():
        counts = []
        for file in replicas:
            with closing(sqlite3.connect(file)) as connection:
                counts += connection.execute("SELECT count(*) FROM note").fetchone()
        return counts

    simulation.synchronise()
    hold(replicas[0])
    with closing(sqlite3.connect(primary)) as connection, connection:
        connection.execute("INSERT INTO note VALUES ('x')")
    simulation.synchronise()
    assert rows() == [0, 1]
    release(replicas[0])
    simulation._show()
    assert rows() == [1, 1]
    simulation.close()


def test_a_bound_holds_when_no_monitor_looks_any_more(simulator, routed, monkeypatch):
    """In a long scope no request begins, and so no round of an inline monitor."""
    ahead = [0.0]
    for module in (decision_cache, freshness, health):
        monkeypatch.setattr(module, "monotonic", lambda: time.monotonic() + ahead[0])
    health.health.watch(4.0)  # As a round does.
    with routing_scope(safe=True), consistency("bounded", max_staleness=5.0):
        list(Book.objects.all())
        list(Book.objects.all())
        ahead[0] = 60.0
        list(Book.objects.all())
    assert [decision.alias in REPLICAS for decision in routed] == [True, True, False]


@pytest.mark.parametrize(("method", "silent"), [("POST", DEFAULT_DB_ALIAS), ("GET", "replica1")])
def test_time_does_not_go_back_where_a_server_does_not_say_how_far_it_is(simulator, settings, method, silent):
    """A client has seen a row on the primary, or on a replica; the other replica lacks it."""
    settings.MIDDLEWARE = ["django_rwrouter.middleware.ReadWriteMiddleware"]
    settings.ROOT_URLCONF = (path("", lambda _request: HttpResponse(Book.objects.count())),)
    both = {**settings.RWROUTER, "CONSISTENCY": "causal", "MONOTONIC_READS": True}
    settings.RWROUTER = {**both, "REPLICAS": ["replica1"]}
    Book.objects.create(title="somebody else's")
    hold(simulator.replicas[1])
    simulator.synchronise()
    ask = asking.ask

    def asked(connection, question):
        if connection.alias == silent:
            raise OperationalError("no answer")
        return ask(connection, question)

    client = Client()
    try:
        with patch.object(asking, "ask", asked):
            assert client.generic(method, "/").content == b"1"
        settings.RWROUTER = both
        assert [client.get("/").content for _visit in range(5)] == [b"1"] * 5
    finally:
        release(simulator.replicas[1])
