"""``manage.py rwrouter doctor`` with real servers, some of them set up wrongly on purpose."""

import contextlib
import io
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.monitor import server_states
from launcher.mariadb import MariaDBCluster, ServerError
from launcher.mysql import MySQLCluster
from launcher.postgresql import PostgreSQLCluster
from launcher.programs import fetch
from tests.busy_clock import busy_clock

ALIASES = ("default", "replica1", "replica2")
PASSWORD = "a secret that nobody may see"
RWROUTER = {"REPLICAS": ["replica1", "replica2"], "CONSISTENCY": "causal"}


class Kind(NamedTuple):
    cluster: Callable[..., Any]
    engine: str
    driver: str
    options: dict[str, int]


MYSQL_OPTIONS = {"connect_timeout": 2, "read_timeout": 2}
KINDS = {
    "mariadb": Kind(MariaDBCluster, "django.db.backends.mysql", "MySQLdb", MYSQL_OPTIONS),
    "mysql": Kind(MySQLCluster, "django.db.backends.mysql", "MySQLdb", MYSQL_OPTIONS),
    "postgresql": Kind(PostgreSQLCluster, "django.db.backends.postgresql", "psycopg", {"connect_timeout": 2}),
}


@contextlib.contextmanager
def running(kind, **more):
    pytest.importorskip(KINDS[kind].driver, reason=f"the driver of {kind} is not installed")
    cluster = KINDS[kind].cluster(2, password=PASSWORD, **more)
    try:
        if kind == "mysql":
            fetch("mysql")  # They are fetched when first needed, and cannot be had everywhere.
    except ServerError as error:
        pytest.skip(str(error))
    try:
        cluster.start()
    except ServerError as error:
        if "not found" in str(error):
            pytest.skip(str(error))
        raise
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def mariadb_servers():
    with running("mariadb") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def mysql_servers():
    with running("mysql") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def postgresql_servers():
    with running("postgresql") as cluster:
        yield cluster


@pytest.fixture
def mariadb(mariadb_servers, django_db_blocker):
    with configured("mariadb", mariadb_servers), django_db_blocker.unblock():
        yield mariadb_servers
    mariadb_servers.heal()


@pytest.fixture
def mysql(mysql_servers, django_db_blocker):
    with configured("mysql", mysql_servers), django_db_blocker.unblock():
        yield mysql_servers
    mysql_servers.heal()


@pytest.fixture
def postgresql(postgresql_servers, django_db_blocker):
    with configured("postgresql", postgresql_servers), django_db_blocker.unblock():
        yield postgresql_servers
    postgresql_servers.heal()


@contextlib.contextmanager
def configured(kind, cluster, **changes):
    """Put the cluster's servers behind the aliases; the doctor opens connections of its own."""
    before = {alias: connections.settings[alias] for alias in ALIASES}
    for alias, server in zip(ALIASES, cluster.servers, strict=True):
        connections.settings[alias] = {
            **before[alias],
            "ENGINE": KINDS[kind].engine,
            "HOST": "127.0.0.1",
            "PORT": str(server.port),
            "NAME": "rwrouter",
            "USER": "rwrouter",
            "PASSWORD": PASSWORD,
            "OPTIONS": KINDS[kind].options,
            "CONN_MAX_AGE": 0,
            **changes,
        }
    try:
        with override_settings(RWROUTER=RWROUTER):
            yield
    finally:
        connections.settings.update(before)


def doctor(*arguments):
    """Run it; return what is not in order as (alias, topic, severity), and the exit code."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    try:
        call_command("rwrouter", "doctor", "--json", *arguments, stdout=output, stderr=errors)
    except SystemExit as end:
        code = end.code
    text = output.getvalue()
    assert PASSWORD not in text
    assert errors.getvalue() == ""
    findings = json.loads(text)["findings"]
    return {(f["alias"], f["topic"], f["severity"]) for f in findings if f["severity"] != "ok"}, code


def says(findings, code):
    """Ask until it says this: on a busy machine a replica is behind for longer than the doctor waits."""
    deadline = time.monotonic() + 20
    while (said := doctor()) != (findings, code):
        assert time.monotonic() < deadline, said


NOT_SEEN = {("replica1", "replication", "unknown"), ("replica2", "replication", "unknown")}
"""What the application's user may not see."""
TIMELINES = {("replica1", "privileges", "unknown"), ("replica2", "privileges", "unknown")}


def test_a_good_mariadb_cluster(mariadb):
    says(NOT_SEEN, 0)


def test_with_the_privilege_it_sees_that_replication_runs(mariadb):
    mariadb.primary.sql("GRANT REPLICA MONITOR ON *.* TO rwrouter@'%'")
    try:
        mariadb.wait_all()
        says(set(), 0)
        mariadb.pause(mariadb.replicas[0])
        says({("replica1", "replication", "error")}, 1)
    finally:
        mariadb.resume(mariadb.replicas[0])
        mariadb.primary.sql("REVOKE REPLICA MONITOR ON *.* FROM rwrouter@'%'")
        mariadb.wait_all()


def test_a_stopped_thread_shows_without_any_privilege(mariadb):
    mariadb.pause(mariadb.replicas[0])
    mariadb.primary.sql("CREATE OR REPLACE TABLE rwrouter.doctor (id INT)")
    mariadb.wait(mariadb.replicas[1])
    says(NOT_SEEN | {("replica1", "position", "error")}, 1)


@pytest.mark.parametrize(
    ("server", "variable", "wrong", "right", "expected"),
    [
        pytest.param("primary", "binlog_format", "'STATEMENT'", "'ROW'", ("default", "row_format", "error")),
        pytest.param("primary", "gtid_strict_mode", "OFF", "ON", ("default", "gtid", "warning")),
        pytest.param("primary", "read_only", "ON", "OFF", ("default", "read_only", "error")),
        pytest.param("replica", "read_only", "OFF", "ON", ("replica1", "read_only", "warning")),
    ],
)
def test_a_wrong_variable(mariadb, server, variable, wrong, right, expected):
    asked = mariadb.primary if server == "primary" else mariadb.replicas[0]
    asked.sql(f"SET GLOBAL {variable} = {wrong}")
    try:
        says(NOT_SEEN | {expected}, int(expected[2] == "error"))
    finally:
        asked.sql(f"SET GLOBAL {variable} = {right}")


def test_a_user_whom_read_only_does_not_stop(mariadb):
    mariadb.primary.sql("GRANT SUPER ON *.* TO rwrouter@'%'")
    mariadb.wait_all()
    try:
        found, code = doctor()
        assert {("replica1", "privileges", "warning"), ("replica2", "privileges", "warning")} <= found
        assert code == 0
    finally:
        mariadb.primary.sql("REVOKE SUPER ON *.* FROM rwrouter@'%'")
        mariadb.wait_all()


def test_a_replica_that_is_the_primary_itself(mariadb):
    connections.settings["replica2"] = connections.settings["default"]
    found, code = doctor()
    assert ("replica2", "identity", "error") in found
    assert code == 1


@pytest.mark.parametrize("how", ["frozen", "dead", "wrong password"])
def test_a_server_that_cannot_be_asked(mariadb, how):
    replica = mariadb.replicas[0]
    if how == "frozen":
        replica.freeze()
    elif how == "dead":
        replica.kill()
    else:
        connections.settings["replica1"] = {**connections.settings["replica1"], "PASSWORD": "another"}
    started = busy_clock()
    found, code = doctor("--timeout", "1")
    assert busy_clock() - started < 10
    assert ("replica1", "connection", "error") in found
    assert {alias for alias, _topic, severity in found if severity == "error"} == {"replica1"}
    assert code == 1


def test_a_dead_primary(mariadb):
    mariadb.primary.kill()
    found, code = doctor("--timeout", "1")
    assert {(topic, alias) for alias, topic, severity in found if severity == "error"} == {
        ("connection", "default")
    }
    assert ("replica1", "position", "unknown") in found
    assert code == 1


def test_a_replica_that_does_not_log_what_it_replays(django_db_blocker):
    with (
        running("mariadb", options=["--log-slave-updates=OFF"]) as cluster,
        configured("mariadb", cluster),
        django_db_blocker.unblock(),
    ):
        found, code = doctor()
    assert ("replica1", "log_updates", "warning") in found
    assert code == 0


def test_the_table_for_people(mariadb):
    mariadb.replicas[0].sql("SET GLOBAL read_only = OFF")
    try:
        output = io.StringIO()
        call_command("rwrouter", "doctor", stdout=output, no_color=True)
        coloured = io.StringIO()
        call_command("rwrouter", "doctor", stdout=coloured, force_color=True)
    finally:
        mariadb.replicas[0].sql("SET GLOBAL read_only = ON")
    text = output.getvalue()
    assert "default: replica1" in text
    assert "-> SET GLOBAL read_only = ON" in text
    assert "no errors, 1 warning." in text
    assert "\x1b[" not in text
    assert "\x1b[" in coloured.getvalue()


def test_a_cluster_that_does_not_exist(mariadb):
    with pytest.raises(CommandError, match="There is no cluster 'shop'"):
        call_command("rwrouter", "doctor", "--cluster", "shop")


@pytest.mark.product("mysql")
def test_a_good_mysql_cluster(mysql):
    says(NOT_SEEN, 0)


@pytest.mark.product("mysql")
def test_on_mysql_too_a_privilege_lets_it_see_that_replication_runs(mysql):
    mysql.primary.sql("GRANT REPLICATION CLIENT ON *.* TO rwrouter@'%'")
    mysql.wait_all()
    try:
        says(set(), 0)
        mysql.pause(mysql.replicas[0])
        says({("replica1", "replication", "error")}, 1)
    finally:
        mysql.resume(mysql.replicas[0])
        mysql.primary.sql("REVOKE REPLICATION CLIENT ON *.* FROM rwrouter@'%'")
        mysql.wait_all()


@pytest.mark.product("mysql")
def test_a_mysql_replica_that_can_be_written_to(mysql):
    mysql.replicas[0].sql("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF")
    try:
        says(NOT_SEEN | {("replica1", "read_only", "warning")}, 0)
    finally:
        mysql.replicas[0].sql("SET GLOBAL super_read_only = ON")


@pytest.mark.product("postgresql")
def test_a_good_postgresql_cluster(postgresql):
    says(TIMELINES, 0)


@pytest.mark.product("postgresql")
def test_with_pg_monitor_it_sees_timelines(postgresql):
    postgresql.primary.sql("GRANT pg_monitor TO rwrouter")
    postgresql.wait_all()
    try:
        says(set(), 0)
    finally:
        postgresql.primary.sql("REVOKE pg_monitor FROM rwrouter")
        postgresql.wait_all()


@pytest.mark.product("postgresql")
@pytest.mark.parametrize(
    ("function", "aliases"),
    [("pg_current_wal_flush_lsn", {"default"}), ("pg_last_wal_replay_lsn", {"replica1", "replica2"})],
)
def test_a_function_that_the_user_may_not_execute(postgresql, function, aliases):
    # Each database has a catalogue, and its functions, of its own.
    postgresql.primary.sql(
        f"REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC", database="rwrouter"
    )
    postgresql.wait_all()
    try:
        output = io.StringIO()
        with contextlib.suppress(SystemExit):
            call_command("rwrouter", "doctor", "--json", stdout=output)
        findings = json.loads(output.getvalue())["findings"]
        told = {f["alias"] for f in findings if f"EXECUTE ON FUNCTION {function}()" in f["advice"]}
        assert told == aliases
        assert {f["topic"] for f in findings if f["alias"] in told and f["severity"] == "error"} <= {
            "position"
        }
        states = server_states(get_topology().clusters["default"], 5.0)
        assert {alias for alias, state in states.items() if state.refused == function} == aliases
        assert all(state.reachable for state in states.values())
    finally:
        postgresql.primary.sql(
            f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO PUBLIC", database="rwrouter"
        )
        postgresql.wait_all()


@pytest.mark.product("postgresql")
def test_a_paused_standby(postgresql):
    postgresql.pause(postgresql.replicas[0])
    found, code = doctor()
    # PostgreSQL logs a little even while nobody writes, which then is missing there.
    assert found - {("replica1", "position", "error")} == TIMELINES | {("replica1", "replication", "error")}
    assert code == 1


@pytest.mark.product("postgresql")
def test_commits_that_do_not_wait_for_the_log(postgresql):
    postgresql.primary.sql("ALTER ROLE rwrouter SET synchronous_commit = off")
    try:
        assert ("default", "commit", "warning") in doctor()[0]
    finally:
        postgresql.primary.sql("ALTER ROLE rwrouter RESET synchronous_commit")
        postgresql.wait_all()


@pytest.mark.product("postgresql")
def test_a_primary_where_a_standby_should_be(postgresql):
    replica1 = connections.settings["replica1"]
    connections.settings["replica1"] = connections.settings["default"]
    connections.settings["default"] = replica1
    found, code = doctor()
    assert {("default", "read_only", "error"), ("replica1", "replication", "error")} <= found
    assert code == 1


@pytest.mark.product("postgresql")
def test_check_tells_of_a_swapped_primary_where_it_may_ask(postgresql, monkeypatch):
    monkeypatch.setattr("django_rwrouter.process.in_test_environment", lambda: False)
    replica1 = connections.settings["replica1"]
    connections.settings["replica1"] = connections.settings["default"]
    connections.settings["default"] = replica1
    messages = run_checks(tags=["django_rwrouter"], databases=["default", "replica1"])
    found = {message.id.removeprefix("django_rwrouter.") for message in messages}
    assert {"E028", "W025"} <= found
