"""What the doctor makes of what servers say; tests/servers/products asks real ones."""

from dataclasses import fields

import pytest
from django.core.management.color import no_style

from django_rwrouter.conf import read
from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.databases import by_name
from django_rwrouter.management.subcommands.doctor import as_json, as_lines
from django_rwrouter.operations.doctor import examination, mariadb, mysql, postgresql, replication_filters
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
DELAYED = {"REPLICAS": {"replica1": {"DELAYED": True}}}
RUNS = {"Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Using_Gtid": "Slave_Pos"}
RUNS_MYSQL = {"Replica_IO_Running": "Yes", "Replica_SQL_Running": "Yes", "Auto_Position": 1}


def cluster(**options):
    settings, problems = read({"REPLICAS": ["replica1"], **options}, {"default": {}, "replica1": {}})
    assert not problems
    return Cluster(settings=settings.clusters[0], enabled=True, shadow=False)


FIELDS = {field.name for field in fields(ExaminedServer)}
PATIENT = {"OPTIONS": {"connect_timeout": 2, "read_timeout": 2}}


def server_of(product, alias, values, *, level="causal", settings=None):
    """A server that is well but for these ``values``: attributes of what was asked, or variables."""
    return ExaminedServer(
        cluster=cluster(CONSISTENCY=level, **(settings or {})),
        alias=alias,
        product=by_name(product),
        variables={name: value for name, value in values.items() if name not in FIELDS},
        **{
            "position": "0-1-7",
            "caught_up": None if alias == "default" else True,
            "options": {**PATIENT, "CONN_MAX_AGE": 0},
            **{name: value for name, value in values.items() if name in FIELDS},
        },
    )


def maria(alias="replica1", *, level="causal", settings=None, **values):
    writable = {"read_only": "OFF"} if alias == "default" else {}
    values = {**MARIADB, **writable, "replication": RUNS, **values}
    return server_of("mariadb", alias, values, level=level, settings=settings)


def my(alias="replica1", *, level="causal", settings=None, **values):
    writable = {"read_only": "OFF", "super_read_only": "OFF"} if alias == "default" else {}
    values = {**MYSQL, **writable, "replication": RUNS_MYSQL, **values}
    return server_of("mysql", alias, values, level=level, settings=settings)


def postgres(alias="replica1", *, settings=None, **values):
    role = {"in_recovery": "false"} if alias == "default" else {}
    return server_of("postgresql", alias, {**POSTGRESQL, **role, **values}, settings=settings)


def judged(judge, server):
    """What is wrong with a server: each topic with its severity."""
    server.findings.clear()
    judge(server)
    flaws = [finding for finding in server.findings if finding.severity is not Severity.OK]
    return {f"{finding.topic}: {finding.severity.value}" for finding in flaws}


def compared(*servers):
    """What is said of servers of one cluster when they are compared, by severity."""
    examination.compare(servers[0].cluster, servers)
    return {finding.severity: finding.message for server in servers for finding in server.findings}


ON_MARIADB = {
    "a good replica": (maria(), set()),
    "a good primary": (maria("default"), set()),
    "a primary without a log": (
        maria("default", log_bin="OFF", position=""),
        {"binary_log: error", "position: error"},
    ),
    "which matters less under window": (
        maria("default", log_bin="OFF", position="", level="window"),
        {"binary_log: error", "position: warning"},
    ),
    "a replica without": (maria(log_bin="OFF"), {"binary_log: warning"}),
    "statements": (maria("default", binlog_format="STATEMENT"), {"row_format: error"}),
    "mixed": (maria("default", binlog_format="MIXED"), set()),
    "no updates": (maria(log_slave_updates="OFF"), {"log_updates: warning"}),
    "not strict": (maria(gtid_strict_mode="OFF"), {"gtid: warning"}),
    "no recovery": (maria(relay_log_recovery="OFF"), {"relay_log: warning"}),
    "not a replica": (maria("default", relay_log_recovery="OFF"), set()),
    "Galera": (maria(**NODE), set()),
    "a donor": (maria(**NODE | {"wsrep_local_state_comment": "Donor/Desynced"}), {"replication: error"}),
    "outside its cluster": (maria(**NODE | {"wsrep_cluster_status": "non-Primary"}), {"replication: error"}),
    "waits for all": (maria(**NODE | {"wsrep_sync_wait": "15"}), {"sync_wait: warning"}),
    "GTIDs of its own": (maria(**NODE | {"log_bin": "ON", "wsrep_gtid_mode": "OFF"}), {"gtid: warning"}),
    "appliers lock each other out": (
        maria(**NODE | {"innodb_autoinc_lock_mode": "1"}),
        {"auto_increment: error"},
    ),
    "the same numbers": (
        maria(**NODE, wsrep_auto_increment_control="OFF", auto_increment_increment="1"),
        {"auto_increment: warning"},
    ),
    "not allowed to see": (maria(replication=None), {"replication: unknown"}),
    "no replica": (maria(replication={}), {"replication: error"}),
    "applies nothing": (
        maria(replication={**RUNS, "Slave_SQL_Running": "No", "Last_SQL_Errno": 1062}),
        {"replication: error"},
    ),
    "receives nothing": (
        maria(replication={**RUNS, "Slave_IO_Running": "Connecting"}),
        {"replication: error"},
    ),
    "by file and offset, without a position": (
        maria(replication={**RUNS, "Using_Gtid": "No"}, position=""),
        {"replication: warning", "position: error"},
    ),
    "by file and offset": (maria(replication={**RUNS, "Using_Gtid": "No"}), {"replication: warning"}),
    "delayed on purpose": (maria(replication={**RUNS, "SQL_Delay": 30}), {"replication: warning"}),
    "behind": (maria(caught_up=False), {"position: error"}),
    "no primary to compare with": (maria(caught_up=None), {"position: unknown"}),
    "writable": (maria(read_only="OFF"), {"read_only: warning"}),
    "writable, and nothing prevents it": (
        maria(read_only="OFF", settings={"READ_ONLY_SESSIONS": False}),
        {"read_only: error"},
    ),
    "a privileged user": (maria(writes_anyway=True), {"privileges: warning"}),
    "a read-only primary": (maria("default", read_only="ON"), {"read_only: error"}),
}
ON_MYSQL = {
    "a good replica": (my(), set()),
    "a good primary": (my("default"), set()),
    "no GTIDs": (my("default", gtid_mode="OFF", position=""), {"gtid: error", "position: error"}),
    "which matters less under window": (
        my("default", gtid_mode="OFF_PERMISSIVE", level="window"),
        {"gtid: warning"},
    ),
    "not enforced": (my(enforce_gtid_consistency="WARN"), {"gtid: warning"}),
    "no updates": (my(log_replica_updates="OFF"), {"log_updates: warning"}),
    "not allowed to see": (my(replication=None), {"replication: unknown"}),
    "in the words of before 8.0.22": (my(replication=RUNS), set()),
    "stopped": (my(replication={**RUNS_MYSQL, "Replica_SQL_Running": "No"}), {"replication: error"}),
    "no auto position": (my(replication={**RUNS_MYSQL, "Auto_Position": 0}), {"replication: warning"}),
    "privileged": (my(super_read_only="OFF", writes_anyway=True), {"privileges: warning"}),
    "super_read_only stops the privileged, too": (my(writes_anyway=True), set()),
}
ON_POSTGRESQL = {
    "a good standby": (postgres(), set()),
    "a good primary": (postgres("default"), set()),
    "a standby as primary": (
        postgres("default", in_recovery="true", position=""),
        {"read_only: error", "position: error"},
    ),
    "minimal log": (postgres("default", wal_level="minimal"), {"binary_log: error"}),
    "commits late": (postgres("default", synchronous_commit="off"), {"commit: warning"}),
    "no standby": (postgres(in_recovery="false", position=""), {"replication: error", "position: error"}),
    "a logical subscriber": (
        postgres(in_recovery="false", position="", caught_up=False, is_subscriber=True),
        {"replication: warning", "read_only: warning"},
    ),
    "receives nothing": (postgres(receivers="0"), {"replication: error"}),
    "paused": (postgres(paused="true"), {"replication: error"}),
    "delayed": (postgres(recovery_min_apply_delay="30000"), {"replication: warning"}),
    "delayed, as the settings say": (
        postgres(recovery_min_apply_delay="30000", caught_up=False, settings=DELAYED),
        set(),
    ),
    "no pg_monitor": (postgres(pg_monitor="false"), {"privileges: unknown"}),
    "old": (postgres(server_version_num="110000"), {"version: error"}),
}
CLOCK_AND_TIMEOUTS = {
    "as it should be": (maria(), set()),
    "ahead": (maria(clock=3.0), {"clock: warning"}),
    "behind": (maria(clock=-3.0), {"clock: warning"}),
    "perhaps only slow to answer": (maria(clock=3.0, clock_accuracy=2.5), set()),
    "no timeouts": (maria(options={"OPTIONS": {}}), {"timeouts: warning"}),
    "kept for ever": (maria(options={**PATIENT, "CONN_MAX_AGE": None}), {"timeouts: warning"}),
    "kept for ever, and looked at": (
        maria(options={**PATIENT, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}),
        set(),
    ),
}
CASES = {
    f"{place}: {name}": (judge, *case)
    for place, judge, cases in (
        ("MariaDB", mariadb.judge, ON_MARIADB),
        ("MySQL", mysql.judge, ON_MYSQL),
        ("PostgreSQL", postgresql.judge, ON_POSTGRESQL),
        ("everywhere", examination.judge_clock_and_timeouts, CLOCK_AND_TIMEOUTS),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize(("judge", "server", "flaws"), CASES.values(), ids=CASES)
def test_what_is_wrong_with_a_server(judge, server, flaws):
    assert judged(judge, server) == flaws


@pytest.mark.parametrize("module", [mariadb, mysql])
def test_a_delay_that_the_settings_name_is_meant(module):
    replication = {**RUNS, **RUNS_MYSQL, "SQL_Delay": 60}
    make = maria if module is mariadb else my
    assert judged(module.judge, make(replication=replication)) == {"replication: warning"}
    assert judged(module.judge, make(replication=replication, settings=DELAYED, caught_up=False)) == set()


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
    server = my(replication=status, options={"NAME": "shop", **PATIENT})
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
    server = maria("default", log=log, options={"NAME": "shop", **PATIENT})
    assert judged(mariadb.judge, server) == ({"filters: error"} if left_out else set())


def test_many_tables_are_counted(monkeypatch):
    monkeypatch.setattr(replication_filters, "tables_read_there", lambda _facts: {f"t{n}" for n in range(9)})
    server = maria(replicate_do_db="another", replication=None)
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
        maria(identity="b", server_id="3", **replica),
    ).values()
    assert bool(messages) is is_reported
    assert all("'replica1'" in message for message in messages)


def test_servers_are_compared():
    primary = {"identity": "a", "server_id": "1"}
    same = compared(maria("default", **primary), maria(**primary))
    assert same == {Severity.ERROR: "this is the primary itself: it takes no load off it"}
    twin = compared(maria("default", **primary), maria(identity="b", server_id="1"))
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
