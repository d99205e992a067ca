"""What the doctor makes of what servers say; tests/servers/products asks real ones."""

import pytest
from django.core.management.color import no_style

from django_rwrouter.conf import read
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import by_name
from django_rwrouter.management.subcommands.doctor import as_json, as_lines
from django_rwrouter.operations.doctor import general, mariadb, mysql, postgresql, replication_filters
from django_rwrouter.operations.doctor.examined_server import ExaminedServer, Finding, Severity, worst

MARIADB = {
    "binlog_format": "ROW",
    "gtid_strict_mode": "ON",
    "log_bin": "ON",
    "log_slave_updates": "ON",
    "read_only": "ON",
    "relay_log_recovery": "ON",
    "server_id": "2",
    "wait_timeout": "28800",
}
NODE = {
    "wsrep_on": "ON",
    "log_bin": "OFF",
    "wsrep_local_state_comment": "Synced",
    "wsrep_cluster_status": "Primary",
    "wsrep_sync_wait": "0",
    "innodb_autoinc_lock_mode": "2",
}
MYSQL = {
    "enforce_gtid_consistency": "ON",
    "gtid_mode": "ON",
    "log_bin": "ON",
    "log_replica_updates": "ON",
    "read_only": "ON",
    "super_read_only": "ON",
    "server_id": "2",
    "wait_timeout": "28800",
}
POSTGRESQL = {
    "server_version_num": "150018",
    "wal_level": "replica",
    "synchronous_commit": "on",
    "recovery_min_apply_delay": "0",
    "in_recovery": "true",
    "paused": "false",
    "receivers": "1",
    "pg_monitor": "true",
}
RUNS = {"Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Using_Gtid": "Slave_Pos"}
RUNS_MYSQL = {"Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Auto_Position": 1}


def cluster(**options):
    settings, problems = read({"REPLICAS": ["replica1"], **options}, {"default": {}, "replica1": {}})
    assert not problems
    return Cluster(settings=settings.clusters[0], enabled=True, shadow=False)


def facts(product, *, alias="replica1", level="causal", variables=None, **more):
    more.setdefault("position", "0-1-7")
    more.setdefault("caught_up", None if alias == "default" else True)
    more.setdefault("options", {"OPTIONS": {"connect_timeout": 2, "read_timeout": 2}, "CONN_MAX_AGE": 0})
    return ExaminedServer(
        cluster=cluster(CONSISTENCY=level, **more.pop("settings", {})),
        alias=alias,
        product=by_name(product),
        variables=variables or {},
        **more,
    )


def judged(module, server):
    server.findings.clear()
    module.judge(server)
    return {
        (finding.topic, finding.severity.value) for finding in server.findings if finding.severity != "ok"
    }


def compared(*servers):
    """What is said of servers of one cluster when they are compared, by severity."""
    general.compare(servers[0].cluster, servers)
    return {finding.severity: finding.message for server in servers for finding in server.findings}


def maria(alias="replica1", *, changes=None, **more):
    variables = {**MARIADB, **({"read_only": "OFF"} if alias == "default" else {}), **(changes or {})}
    more.setdefault("replication", RUNS)
    return facts("mariadb", alias=alias, variables=variables, **more)


def my(alias="replica1", *, changes=None, **more):
    writable = {"read_only": "OFF", "super_read_only": "OFF"} if alias == "default" else {}
    more.setdefault("replication", RUNS_MYSQL)
    return facts("mysql", alias=alias, variables={**MYSQL, **writable, **(changes or {})}, **more)


def postgres(alias="replica1", *, changes=None, **more):
    variables = {**POSTGRESQL, **({"in_recovery": "false"} if alias == "default" else {}), **(changes or {})}
    return facts("postgresql", alias=alias, variables=variables, **more)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param(maria(), set(), id="a good replica"),
        pytest.param(maria("default"), set(), id="a good primary"),
        pytest.param(
            maria("default", changes={"log_bin": "OFF"}, position=""),
            {("binary_log", "error"), ("position", "error")},
            id="a primary without a log",
        ),
        pytest.param(
            maria("default", changes={"log_bin": "OFF"}, position="", level="window"),
            {("binary_log", "error"), ("position", "warning")},
            id="which matters less under window",
        ),
        pytest.param(maria(changes={"log_bin": "OFF"}), {("binary_log", "warning")}, id="a replica without"),
        pytest.param(
            maria("default", changes={"binlog_format": "STATEMENT"}),
            {("row_format", "error")},
            id="statements",
        ),
        pytest.param(maria("default", changes={"binlog_format": "MIXED"}), set(), id="mixed"),
        pytest.param(
            maria(changes={"log_slave_updates": "OFF"}), {("log_updates", "warning")}, id="no updates"
        ),
        pytest.param(maria(changes={"gtid_strict_mode": "OFF"}), {("gtid", "warning")}, id="not strict"),
        pytest.param(
            maria(changes={"relay_log_recovery": "OFF"}), {("relay_log", "warning")}, id="no recovery"
        ),
        pytest.param(maria("default", changes={"relay_log_recovery": "OFF"}), set(), id="not a replica"),
        pytest.param(maria(changes=NODE), set(), id="Galera"),
        pytest.param(
            maria(changes={**NODE, "wsrep_local_state_comment": "Donor/Desynced"}),
            {("replication", "error")},
            id="a donor",
        ),
        pytest.param(
            maria(changes={**NODE, "wsrep_cluster_status": "non-Primary"}),
            {("replication", "error")},
            id="a node outside its cluster",
        ),
        pytest.param(
            maria(changes={**NODE, "wsrep_sync_wait": "15"}), {("sync_wait", "warning")}, id="waits for all"
        ),
        pytest.param(
            maria(changes={**NODE, "log_bin": "ON", "wsrep_gtid_mode": "OFF"}),
            {("gtid", "warning")},
            id="GTIDs of its own",
        ),
        pytest.param(
            maria(changes={**NODE, "innodb_autoinc_lock_mode": "1"}),
            {("auto_increment", "error")},
            id="appliers lock each other out",
        ),
        pytest.param(
            maria(changes={**NODE, "wsrep_auto_increment_control": "OFF", "auto_increment_increment": "1"}),
            {("auto_increment", "warning")},
            id="the same numbers",
        ),
        pytest.param(maria(replication=None), {("replication", "unknown")}, id="not allowed to see"),
        pytest.param(maria(replication={}), {("replication", "error")}, id="no replica"),
        pytest.param(
            maria(replication={**RUNS, "Slave_SQL_Running": "No", "Last_SQL_Errno": 1062}),
            {("replication", "error")},
            id="applies nothing",
        ),
        pytest.param(
            maria(replication={**RUNS, "Slave_IO_Running": "Connecting"}),
            {("replication", "error")},
            id="receives nothing",
        ),
        pytest.param(
            maria(replication={**RUNS, "Using_Gtid": "No"}, position=""),
            {("replication", "warning"), ("position", "error")},
            id="by file and offset, without a position",
        ),
        pytest.param(
            maria(replication={**RUNS, "Using_Gtid": "No"}),
            {("replication", "warning")},
            id="by file and offset",
        ),
        pytest.param(
            maria(replication={**RUNS, "SQL_Delay": 30}),
            {("replication", "warning")},
            id="delayed on purpose",
        ),
        pytest.param(maria(caught_up=False), {("position", "error")}, id="behind"),
        pytest.param(maria(caught_up=None), {("position", "unknown")}, id="no primary to compare with"),
        pytest.param(maria(changes={"read_only": "OFF"}), {("read_only", "warning")}, id="writable"),
        pytest.param(
            maria(changes={"read_only": "OFF"}, settings={"READ_ONLY_SESSIONS": False}),
            {("read_only", "error")},
            id="writable, and nothing prevents it",
        ),
        pytest.param(maria(writes_anyway=True), {("privileges", "warning")}, id="a privileged user"),
        pytest.param(
            maria("default", changes={"read_only": "ON"}), {("read_only", "error")}, id="a read-only primary"
        ),
    ],
)
def test_mariadb(server, expected):
    assert judged(mariadb, server) == expected


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param(my(), set(), id="a good replica"),
        pytest.param(my("default"), set(), id="a good primary"),
        pytest.param(
            my("default", changes={"gtid_mode": "OFF"}, position=""),
            {("gtid", "error"), ("position", "error")},
            id="no GTIDs",
        ),
        pytest.param(
            my("default", changes={"gtid_mode": "OFF_PERMISSIVE"}, level="window"),
            {("gtid", "warning")},
            id="which matters less under window",
        ),
        pytest.param(
            my(changes={"enforce_gtid_consistency": "WARN"}), {("gtid", "warning")}, id="not enforced"
        ),
        pytest.param(
            my(changes={"log_replica_updates": "OFF"}), {("log_updates", "warning")}, id="no updates"
        ),
        pytest.param(my(replication=None), {("replication", "unknown")}, id="not allowed to see"),
        pytest.param(
            my(replication={**RUNS_MYSQL, "Replica_SQL_Running": "No"}),
            {("replication", "error")},
            id="stopped",
        ),
        pytest.param(
            my(replication={**RUNS_MYSQL, "Auto_Position": 0}),
            {("replication", "warning")},
            id="no auto position",
        ),
        pytest.param(
            my(changes={"super_read_only": "OFF"}, writes_anyway=True),
            {("privileges", "warning")},
            id="privileged",
        ),
        pytest.param(my(writes_anyway=True), set(), id="super_read_only stops the privileged, too"),
    ],
)
def test_mysql(server, expected):
    assert judged(mysql, server) == expected


@pytest.mark.parametrize("module", [mariadb, mysql])
def test_a_delay_that_the_settings_name_is_meant(module):
    replication = {**RUNS, **RUNS_MYSQL, "SQL_Delay": 60}
    make = maria if module is mariadb else my
    named = {"REPLICAS": {"replica1": {"DELAYED": True}}}
    assert judged(module, make(replication=replication)) == {("replication", "warning")}
    assert judged(module, make(replication=replication, settings=named, caught_up=False)) == set()


@pytest.mark.parametrize(
    ("module", "server", "grant"),
    [
        (
            postgresql,
            postgres("default", position="", refused="pg_current_wal_flush_lsn"),
            "GRANT EXECUTE ON FUNCTION pg_current_wal_flush_lsn() TO",
        ),
        (
            postgresql,
            postgres(position="", caught_up=None, refused="pg_last_wal_replay_lsn"),
            "GRANT EXECUTE ON FUNCTION pg_last_wal_replay_lsn() TO",
        ),
        (mariadb, maria(position="", refused="REPLICA MONITOR"), "GRANT REPLICA MONITOR ON *.* TO"),
    ],
)
def test_a_position_that_is_refused_names_the_grant(module, server, grant):
    server.findings.clear()
    module.judge(server)
    [finding] = [finding for finding in server.findings if finding.topic == "position"]
    assert grant in finding.advice
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param(postgres(), set(), id="a good standby"),
        pytest.param(postgres("default"), set(), id="a good primary"),
        pytest.param(
            postgres("default", changes={"in_recovery": "true"}, position=""),
            {("read_only", "error"), ("position", "error")},
            id="a standby as primary",
        ),
        pytest.param(
            postgres("default", changes={"wal_level": "minimal"}), {("binary_log", "error")}, id="minimal log"
        ),
        pytest.param(
            postgres("default", changes={"synchronous_commit": "off"}),
            {("commit", "warning")},
            id="commits late",
        ),
        pytest.param(
            postgres(changes={"in_recovery": "false"}, position=""),
            {("replication", "error"), ("position", "error")},
            id="no standby",
        ),
        pytest.param(postgres(changes={"receivers": "0"}), {("replication", "error")}, id="receives nothing"),
        pytest.param(postgres(changes={"paused": "true"}), {("replication", "error")}, id="paused"),
        pytest.param(
            postgres(changes={"recovery_min_apply_delay": "30000"}),
            {("replication", "warning")},
            id="delayed",
        ),
        pytest.param(
            postgres(
                changes={"recovery_min_apply_delay": "30000"},
                caught_up=False,
                settings={"REPLICAS": {"replica1": {"DELAYED": True}}},
            ),
            set(),
            id="delayed, as the settings say",
        ),
        pytest.param(
            postgres(changes={"pg_monitor": "false"}), {("privileges", "unknown")}, id="no pg_monitor"
        ),
        pytest.param(postgres(changes={"server_version_num": "110000"}), {("version", "error")}, id="old"),
    ],
)
def test_postgresql(server, expected):
    assert judged(postgresql, server) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, set(), id="as it should be"),
        pytest.param({"clock": 3.0}, {("clock", "warning")}, id="ahead"),
        pytest.param({"clock": -3.0}, {("clock", "warning")}, id="behind"),
        pytest.param({"clock": 3.0, "clock_accuracy": 2.5}, set(), id="perhaps only slow to answer"),
        pytest.param({"options": {"OPTIONS": {}}}, {("timeouts", "warning")}, id="no timeouts"),
        pytest.param(
            {"options": {"OPTIONS": {"connect_timeout": 2, "read_timeout": 2}, "CONN_MAX_AGE": None}},
            {("timeouts", "warning")},
            id="connections kept for ever",
        ),
        pytest.param(
            {
                "options": {
                    "OPTIONS": {"connect_timeout": 2, "read_timeout": 2},
                    "CONN_MAX_AGE": None,
                    "CONN_HEALTH_CHECKS": True,
                }
            },
            set(),
            id="kept for ever, and looked at",
        ),
    ],
)
def test_clock_and_timeouts(changes, expected):
    assert judged(general, maria(**changes)) == expected


@pytest.mark.parametrize(
    ("filters", "left_out"),
    [
        ({}, set()),
        ({"Replicate_Do_DB": "another"}, {"books", "log_rows"}),
        ({"Replicate_Do_DB": "another,shop"}, set()),
        ({"Replicate_Ignore_DB": "shop"}, {"books", "log_rows"}),
        ({"Replicate_Do_Table": "shop.books"}, {"log_rows"}),
        ({"Replicate_Ignore_Table": "shop.books,other.log_rows"}, {"books"}),
        ({"Replicate_Wild_Do_Table": r"sho_.b%,shop.log\_%"}, set()),
        ({"Replicate_Wild_Do_Table": r"shop.log\_rows"}, {"books"}),
        ({"Replicate_Wild_Ignore_Table": r"%.log\_%"}, {"log_rows"}),
        ({"Replicate_Wild_Ignore_Table": r"shop.lo\%%"}, set()),
        ({"Replicate_Do_Table": "shop.log_rows", "Replicate_Wild_Ignore_Table": "shop.%"}, {"books"}),
        ({"Replicate_Do_DB": "shop", "Replicate_Ignore_Table": "shop.books"}, {"books"}),
    ],
)
def test_what_filters_leave_out(monkeypatch, filters, left_out):
    monkeypatch.setattr(replication_filters, "tables_read_there", lambda _facts: {"books", "log_rows"})
    status = {**RUNS_MYSQL, "Replicate_Do_DB": "", **filters}
    options = {"NAME": "shop", "OPTIONS": {"connect_timeout": 2, "read_timeout": 2}}
    server = my(replication=status, options=options)
    replication_filters.judge(server)
    named = {
        finding.message.rpartition(": ")[2] for finding in server.findings if finding.severity == "error"
    }
    assert named == ({", ".join(sorted(left_out))} if left_out else set())


@pytest.mark.parametrize(
    ("log", "left_out"),
    [
        ({}, False),
        ({"Binlog_Do_DB": "", "Binlog_Ignore_DB": ""}, False),
        ({"Binlog_Do_DB": "another,shop"}, False),
        ({"Binlog_Do_DB": "another"}, True),
        ({"Binlog_Ignore_DB": "another, shop"}, True),
    ],
)
def test_a_primary_that_does_not_log_its_database(log, left_out):
    options = {"NAME": "shop", "OPTIONS": {"connect_timeout": 2, "read_timeout": 2}}
    expected = {("filters", "error")} if left_out else set()
    assert judged(mariadb, maria("default", log=log, options=options)) == expected


def test_many_tables_are_counted(monkeypatch):
    monkeypatch.setattr(replication_filters, "tables_read_there", lambda _facts: {f"t{n}" for n in range(9)})
    server = maria(changes={"replicate_do_db": "another"}, replication=None)
    replication_filters.judge(server)
    assert server.findings[0].message.endswith("t0, t1, t2, t3, t4 and 4 more")


@pytest.mark.parametrize(
    ("primary", "replica", "is_reported"),
    [
        ({"follows": False}, {"follows": True}, False),
        ({"follows": True}, {"follows": False}, True),
        ({"follows": True}, {"follows": None, "caught_up": False}, True),
        ({"follows": True}, {"follows": None}, False),
        ({"follows": True}, {"follows": True}, False),
        ({"follows": None}, {"follows": False}, False),
    ],
    ids=["in place", "not in place", "secret threads", "secret, and follows", "a ring", "secret both"],
)
def test_servers_in_each_others_place(primary, replica, is_reported):
    messages = compared(
        maria("default", identity="a", **primary),
        maria(identity="b", changes={"server_id": "3"}, **replica),
    ).values()
    assert bool(messages) is is_reported
    assert all("'replica1'" in message for message in messages)


def test_a_logical_subscriber_is_none_of_the_others():
    subscriber = postgres(changes={"in_recovery": "false"}, position="", caught_up=False, is_subscriber=True)
    assert judged(postgresql, subscriber) == {("replication", "warning"), ("read_only", "warning")}


def test_servers_are_compared():
    primary = {"identity": "a", "changes": {"server_id": "1"}}
    same = compared(maria("default", **primary), maria(**primary))
    assert same == {Severity.ERROR: "this is the primary itself: it takes no load off it"}
    twin = compared(maria("default", **primary), maria(identity="b", changes={"server_id": "1"}))
    assert "server_id is 1" in twin[Severity.ERROR]
    assert list(compared(maria(identity="b"), maria(identity="b"))) == ["warning"]


FINDINGS = [
    Finding(cluster="c", alias="a", topic="gtid", severity=Severity.OK, message="fine"),
    Finding(
        cluster="c", alias="b", topic="read_only", severity=Severity.WARNING, message="m " * 80, advice="do"
    ),
]


def test_the_table_is_filled_and_has_no_codes_without_colour():
    lines = list(as_lines(FINDINGS, no_style()))
    assert lines[0] == "c: a"
    assert lines[1].split() == ["ok", "gtid", "fine"]
    assert "-> do" in lines[-3]
    assert lines[-1] == "no errors, 1 warning."
    assert max(map(len, lines)) <= 100


def test_the_data_says_how_bad_it_is():
    data = as_json(FINDINGS)
    assert (data["worst"], data["counts"]["warning"], len(data["findings"])) == ("warning", 1, 2)
    assert worst([]) is Severity.OK
