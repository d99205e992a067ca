"""The hook on a connection, asked as Django asks an execute wrapper; the databases are made up."""

import sqlite3
from contextlib import closing, nullcontext
from types import SimpleNamespace

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from django_rwrouter import ReplicaWriteError, stats, untracked_writes
from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.decision import Reason
from django_rwrouter.execution import announcements, hook, new_connections
from django_rwrouter.scope.context import current_state, entered, silenced
from django_rwrouter.scope.state import RoutingState, this_thread
from django_rwrouter.servers import in_flight, spill_slots, wrapper_installation
from django_rwrouter.signals import statement_routed
from django_rwrouter.stats import recorder
from tests.app.models import Book

INSERT = "INSERT INTO app_book (title) VALUES (%s)"


@pytest.fixture(autouse=True)
def no_counts_are_left():
    yield
    stats.reset()


@pytest.fixture
def scope():
    with entered(RoutingState(safe=True)) as state:
        yield state.scope("default")


class Connection(SimpleNamespace):
    """What the hook asks of a connection; unlike a bare namespace, it can be referred to weakly."""

    __hash__ = object.__hash__


def run(sql, *, error=None, alias="default", vendor="sqlite", many=False, driver=None):
    """Run one statement on a connection; it raises ``error`` if given."""

    def execute(sql, params, many, context):
        if error is not None:
            raise error
        return "result"

    connection = Connection(
        alias=alias,
        vendor=vendor,
        in_atomic_block=False,
        autocommit=False,
        connection=driver,
        close=lambda: None,
    )
    return hook.observe(execute, sql, ("x",), many, {"connection": connection, "cursor": SimpleNamespace()})


def postgresql(kind, sqlstate):
    error = kind("made up")
    error.__cause__ = DriverError(sqlstate)
    return error


class DriverError(Exception):
    def __init__(self, sqlstate):
        self.sqlstate = sqlstate


# --- what was executed, counts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "wrote"),
    [
        (INSERT, True),
        (INSERT.encode(), True),
        ("CALL something()", True),
        ("SELECT 1", False),
        (b"SELECT 1", False),
        ("SELECT * FROM app_book FOR UPDATE", False),
        ("SAVEPOINT s1", False),
        ("INSERT INTO django_session (a) VALUES (1)", False),
        ("DELETE FROM django_content_type", False),
        ("DELETE FROM django_session; DELETE FROM app_book", True),
    ],
    ids=str,
)
@pytest.mark.parametrize("many", [False, True], ids=["execute", "executemany"])
def test_a_write_is_what_was_executed(scope, sql, wrote, many):
    assert run(sql, many=many) == "result"
    assert scope.wrote is wrote


@pytest.mark.parametrize(
    ("sql", "locks"),
    [
        ("SELECT * FROM app_book FOR UPDATE", True),
        ("SELECT * FROM app_book FOR NO KEY UPDATE SKIP LOCKED", True),
        ("WITH book AS (SELECT * FROM app_book FOR UPDATE) SELECT * FROM book", True),
        ("SELECT * FROM app_book FOR SHARE", False),
        ("SELECT * FROM app_book WHERE title = 'FOR UPDATE'", False),
    ],
)
def test_a_locking_read_is_part_of_a_write_also_by_the_name_of_the_primary(scope, sql, locks):
    run(sql, vendor="postgresql")
    assert (scope.read_to_write, scope.wrote) == (locks, False)


def test_psycopgs_composed_sql_is_read_as_text(scope):
    class Composed:
        def as_string(self, connection):
            return INSERT

    assert run(Composed(), vendor="postgresql") == "result"
    assert scope.wrote


def test_untracked_and_silent_writes_do_not_count(scope):
    with untracked_writes():
        run(INSERT)
    with silenced():
        run(INSERT)
    assert not scope.wrote


def test_a_write_to_another_database_does_not_count(scope):
    run(INSERT, alias="other")
    assert not scope.wrote


def test_a_write_through_a_replicas_connection_counts_if_the_server_lets_it_through(scope):
    run(INSERT, alias="replica1")
    assert scope.wrote


def test_what_ran_in_a_replicas_read_only_session_does_not_count(scope):
    with closing(sqlite3.connect(":memory:")) as driver:
        driver.execute("PRAGMA query_only = ON")
        run("PRAGMA optimize", alias="replica1", driver=driver)
        assert not scope.wrote
        driver.execute("PRAGMA query_only = OFF")
        run("PRAGMA optimize", alias="replica1", driver=driver)
        assert scope.wrote


# --- failures ------------------------------------------------------------------------------------------

CLEAN = {
    "a violated constraint": ("sqlite", IntegrityError("UNIQUE constraint failed")),
    "a value out of range": ("mysql", DataError(1264, "")),
    "a syntax error": ("mysql", ProgrammingError(1064, "")),
    "an unknown column": ("sqlite", OperationalError("no such column: x")),
    "a lock that was not got": ("sqlite", OperationalError("database is locked")),
    "a deadlock": ("mysql", OperationalError(1213, "")),
    "a lock wait that timed out": ("mysql", OperationalError(1205, "")),
    "a query that was killed": ("mysql", OperationalError(1317, "")),
    "not supported": ("mysql", NotSupportedError(1235, "")),
    "serialization": ("postgresql", postgresql(OperationalError, "40001")),
    "a query that was cancelled": ("postgresql", postgresql(OperationalError, "57014")),
    "a column that is not there": ("postgresql", postgresql(ProgrammingError, "42703")),
    "an aborted transaction": ("postgresql", postgresql(InternalError, "25P02")),
}
BROKEN = {
    "gone away": ("mysql", OperationalError(2006, "")),
    "lost": ("mysql", OperationalError(2013, "")),
    "shutting down": ("mysql", OperationalError(1053, "")),
    "killed": ("mysql", OperationalError(1927, "")),
    "closed": ("mysql", InterfaceError(0, "")),
    "no code": ("mysql", OperationalError("lost")),
    "no state": ("postgresql", postgresql(OperationalError, None)),
    "connection failure": ("postgresql", postgresql(OperationalError, "08006")),
    "admin shutdown": ("postgresql", postgresql(OperationalError, "57P01")),
    "psycopg's own": ("postgresql", InterfaceError("the connection is closed")),
    "a database that we do not know": ("oracle", DatabaseError("ORA-03113")),
    "interrupted from outside": ("sqlite", KeyboardInterrupt()),
    "a signal's exception": ("mysql", TimeoutError()),
}


@pytest.mark.parametrize(("vendor", "error"), CLEAN.values(), ids=CLEAN)
def test_a_statement_that_failed_with_a_clean_error_did_not_write(scope, vendor, error):
    with pytest.raises(type(error)) as caught:
        run(INSERT, error=error, vendor=vendor)
    assert caught.value is error
    assert not scope.wrote


@pytest.mark.parametrize(("vendor", "error"), BROKEN.values(), ids=BROKEN)
def test_a_statement_whose_connection_broke_may_have_written(scope, vendor, error):
    with pytest.raises(type(error)):
        run(INSERT, error=error, vendor=vendor)
    assert scope.wrote


@pytest.mark.parametrize(("vendor", "error"), CLEAN.values(), ids=CLEAN)
@pytest.mark.parametrize(
    ("sql", "many"),
    [
        pytest.param(INSERT, True, id="executemany"),
        pytest.param("CALL something()", False, id="a procedure"),
        pytest.param("DELETE FROM app_tag; DELETE FROM app_book", False, id="two statements"),
    ],
)
def test_what_consists_of_several_may_have_written_before_it_failed(scope, sql, many, vendor, error):
    with pytest.raises(type(error)):
        run(sql, error=error, vendor=vendor, many=many)
    assert scope.wrote


@pytest.mark.parametrize("error", [OperationalError(2013, ""), KeyboardInterrupt()], ids=repr)
def test_a_read_that_failed_wrote_nothing(scope, error):
    with pytest.raises(type(error)):
        run("SELECT 1", error=error, vendor="mysql")
    assert not scope.wrote


def test_a_failed_write_that_is_not_tracked_pins_nobody(scope):
    with pytest.raises(OperationalError), untracked_writes():
        run(INSERT, error=OperationalError(2013, ""), vendor="mysql")
    with pytest.raises(OperationalError):
        run("DELETE FROM django_session", error=OperationalError(2013, ""), vendor="mysql")
    assert not scope.wrote


# --- writes that a replica refuses -----------------------------------------------------------------------

REFUSED = {
    "mysql, a read-only transaction": ("mysql", InternalError(1792, "")),
    "mysql, a read-only server": ("mysql", OperationalError(1290, "")),
    "mysql, a read-only mode": ("mysql", InternalError(1836, "")),
    "postgresql": ("postgresql", postgresql(InternalError, "25006")),
    "sqlite": ("sqlite", OperationalError("attempt to write a readonly database")),
}


@pytest.mark.parametrize(("vendor", "error"), REFUSED.values(), ids=REFUSED)
def test_a_write_that_a_replica_refuses_is_explained(scope, vendor, error):
    with pytest.raises(ReplicaWriteError) as caught:
        run(INSERT, error=error, vendor=vendor, alias="replica1")
    assert caught.value.__cause__ is error
    for word in ("'replica1'", "'app_book'", ".using("):
        assert word in str(caught.value)
    assert not scope.wrote


@pytest.mark.parametrize(("vendor", "error"), REFUSED.values(), ids=REFUSED)
def test_the_same_on_the_primary_is_the_primarys_own_error(scope, vendor, error):
    """There it means that the primary was demoted."""
    with pytest.raises(type(error)) as caught:
        run(INSERT, error=error, vendor=vendor)
    assert caught.value is error


@pytest.mark.parametrize(("vendor", "error"), CLEAN.values(), ids=CLEAN)
def test_other_errors_of_a_replica_pass(vendor, error):
    with pytest.raises(type(error)) as caught:
        run("SELECT 1", error=error, vendor=vendor, alias="replica1")
    assert caught.value is error


# --- opening -----------------------------------------------------------------------------------------------


class Opened:
    """A connection that has just been opened, of any database."""

    def __init__(self, alias, vendor, error=None, *, autocommit=True):
        self.alias, self.vendor, self.autocommit = alias, vendor, autocommit
        self.settings_dict = {"TEST": {"MIRROR": None}}
        self.execute_wrappers = []
        self.executed = []
        self.error = error
        self.connection = self

    def cursor(self):
        return self

    def execute(self, sql):
        self.executed.append(sql)
        if self.error:
            raise self.error

    def commit(self):
        self.executed.append("commit")

    def close(self):
        self.executed.append("close")

    @property
    def wrap_database_errors(self):
        return pytest.MonkeyPatch.context()  # any context manager will do


READ_ONLY = {
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "postgresql": (
        "SELECT set_config('default_transaction_read_only', 'on', false) WHERE pg_is_in_recovery()"
    ),
    "sqlite": "PRAGMA query_only = ON",
}


@pytest.mark.parametrize(("vendor", "statement"), READ_ONLY.items())
def test_a_replicas_session_is_made_read_only(vendor, statement):
    connection = Opened("replica1", vendor)
    new_connections.prepare(connection=connection)
    assert connection.executed[:1] == [statement]
    assert connection.execute_wrappers == [hook.observe]


def test_without_autocommit_the_setting_is_committed():
    """PostgreSQL would undo it on a rollback."""
    connection = Opened("replica1", "postgresql", autocommit=False)
    new_connections.prepare(connection=connection)
    assert connection.executed[1:2] == ["commit"]


@pytest.mark.parametrize(
    ("alias", "vendor", "hooked"),
    [("default", "mysql", True), ("replica1", "oracle", True), ("other", "mysql", False)],
)
def test_other_sessions_are_left_alone(alias, vendor, hooked):
    connection = Opened(alias, vendor)
    new_connections.prepare(connection=connection)
    assert connection.executed == []
    assert (connection.execute_wrappers == [hook.observe]) is hooked


def test_sessions_are_left_alone_for_poolers_that_share_them(settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"], "READ_ONLY_SESSIONS": False}
    connection = Opened("replica1", "mysql")
    new_connections.prepare(connection=connection)
    assert connection.executed == []


def test_a_replica_that_cannot_be_made_read_only_is_not_left_open():
    connection = Opened("replica1", "mysql", error=OperationalError(2013, ""))
    with pytest.raises(OperationalError):
        new_connections.prepare(connection=connection)
    assert connection.executed[-1] == "close"


def test_the_hook_is_on_a_connection_once():
    connection = Opened("default", "sqlite")
    for _time in range(3):
        wrapper_installation.install(connection)
    assert connection.execute_wrappers == [hook.observe]


def test_the_hook_is_outside_all_others():
    """Django takes a wrapper of execute_wrapper() off the end, whatever is there by then."""
    connection = Opened("default", "sqlite")
    connection.execute_wrappers.append("of a block that is open")
    wrapper_installation.install(connection)
    assert connection.execute_wrappers == [hook.observe, "of a block that is open"]


# --- what listeners hear -----------------------------------------------------------------------------------


@pytest.fixture
def heard():
    calls = []

    def listen(**kwargs):
        calls.append(kwargs)

    statement_routed.connect(listen, weak=False)
    yield calls
    statement_routed.disconnect(listen)


def test_each_statement_is_told_with_what_is_known_of_it(scope, heard):
    run(INSERT)
    run("SELECT * FROM app_book", alias="replica1")
    told = [
        (call["alias"], call["sql"], call["wrote"], call["decision"].reason, call["decision"].operation)
        for call in heard
    ]
    assert told == [
        ("default", INSERT, True, Reason.EXPLICIT, "write"),
        ("replica1", "SELECT * FROM app_book", False, Reason.EXPLICIT, "read"),
    ]
    assert all(0 <= call["seconds"] < 1 for call in heard)


@pytest.mark.parametrize("sql", ["SAVEPOINT s1", "RELEASE SAVEPOINT s1", "BEGIN", "SET x = 1"])
def test_transaction_control_is_not_told(heard, sql):
    run(sql)
    assert heard == []


def test_neither_are_failures_other_databases_and_our_own_statements(heard):
    with pytest.raises(IntegrityError):
        run(INSERT, error=IntegrityError())
    run(INSERT, alias="other")
    with silenced():
        run(INSERT)
    assert heard == []


# --- what other wrappers are told ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (INSERT, (Reason.EXPLICIT, "write")),
        ("SELECT * FROM app_book", (Reason.EXPLICIT, "read")),
        ("SELECT VERSION()", None),
    ],
    ids=["a write", "a read", "it reads no data"],
)
def test_wrappers_inside_are_told_the_decision_while_the_statement_runs(scope, sql, told):
    found = []

    def execute(sql, params, many, context):
        found.append(context[announcements.DECISION])

    connection = SimpleNamespace(alias="default", vendor="sqlite", in_atomic_block=False, connection=None)
    hook.observe(execute, sql, (), False, {"connection": connection, "cursor": SimpleNamespace()})
    (decision,) = found
    assert (decision and (decision.reason, decision.operation)) == told


# --- what a server has to do ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, OperationalError(1205, "")], ids=repr)
@pytest.mark.parametrize("alias", ["default", "replica1"])
def test_what_runs_now_is_known(alias, error):
    in_flight.reset()
    running = []

    def execute(sql, params, many, context):
        running.append([connection for connection, _began in in_flight.loads[alias].running.values()])
        if error is not None:
            raise error

    connection = SimpleNamespace(
        alias=alias, vendor="mysql", in_atomic_block=False, autocommit=True, connection=None
    )
    with nullcontext() if error is None else pytest.raises(OperationalError):
        hook.observe(execute, "SELECT 1", (), False, {"connection": connection, "cursor": SimpleNamespace()})
    assert running == [[connection]]
    assert not in_flight.loads[alias].running


@pytest.mark.parametrize(
    ("reason", "counted"),
    [(Reason.WINDOW, 1), (Reason.OUTSIDE_REPLICA, 1), (Reason.DEGRADED, 0), (Reason.FAILOVER, 0), (None, 0)],
)
@pytest.mark.parametrize("error", [None, OperationalError(1205, "")], ids=repr)
def test_replicas_are_compared_by_reads_that_are_spread_over_them(scope, reason, counted, error):
    """Not by those that name one, or go where it is least bad."""
    in_flight.reset()
    decision = get_topology().route(Book).decide("replica1", reason or Reason.EXPLICIT)
    current_state().announced_reads["replica1"] = {"app_book": decision} if reason else {}
    with nullcontext() if error is None else pytest.raises(OperationalError):
        run("SELECT * FROM app_book", error=error, vendor="mysql", alias="replica1")
    count, seconds = in_flight.loads["replica1"].take()
    assert count == counted
    assert (seconds > 0) is bool(counted)


@pytest.mark.parametrize("error", [None, OperationalError(1205, "")], ids=repr)
def test_a_read_that_spilled_gives_its_place_back(error):
    with entered(RoutingState(safe=True)) as state:
        assert spill_slots.take(state, this_thread(), "default", 1)
        route = get_topology().route(Book)
        state.announced_reads["default"] = {"app_book": route.decide("default", Reason.SPILLED)}
        with nullcontext() if error is None else pytest.raises(OperationalError):
            run("SELECT * FROM app_book", error=error, vendor="mysql")
        assert not state.spilled


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (OperationalError(2013, ""), True),
        (InterfaceError(0, ""), True),
        (InternalError(3032, ""), True),
        (IntegrityError(1062, ""), False),
        (ProgrammingError(1064, ""), False),
        (DataError(1264, ""), False),
    ],
    ids=repr,
)
def test_what_failed_because_of_the_server_is_counted(error, counted):
    recorder.reset()
    with pytest.raises(type(error)):
        run("SELECT 1", error=error, vendor="mysql")
    events = [tuple(event) for row in recorder._counters.take() for event in row.data["events"]]
    assert events == [("statement_failed", "default", 1)] * counted
