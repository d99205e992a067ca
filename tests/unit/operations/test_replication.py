"""How much of the log a replica lacks, and where it is held up; tests/servers/products asks real servers."""

import pytest

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Progress
from django_rwrouter.databases.mariadb import MariaDBPosition
from django_rwrouter.databases.mysql import MySQLPosition
from django_rwrouter.databases.mysql_family import progress_of
from django_rwrouter.databases.postgresql import PostgreSQLPosition
from django_rwrouter.operations import replication
from django_rwrouter.operations.replication import ReplicaProgress, Stage

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("ahead", "behind", "gap"),
    [
        ("0-1-10", "0-1-10", 0),
        ("0-1-10", "0-1-7", 3),
        ("0-1-10,5-1-4", "0-1-7", 7),
        ("0-1-10", "0-1-12", 0),
        ("0-2-10", "0-1-7", 3),  # A failover in between: numbers go on.
        ("0-2-10", "0-1-10", None),  # The same number given twice.
        ("0-2-10", "0-1-12", None),
    ],
)
def test_mariadb(ahead, behind, gap):
    assert MariaDBPosition.decode(ahead).gap(MariaDBPosition.decode(behind)) == gap


@pytest.mark.parametrize(
    ("ahead", "behind", "gap"),
    [
        (f"{A}:1-10", f"{A}:1-10", 0),
        (f"{A}:1-10", f"{A}:1-7", 3),
        (f"{A}:1-10", f"{A}:1-3:5-7", 4),
        (f"{A}:1-3:8-10", f"{A}:1-9", 1),
        (f"{A}:1-10,{B}:1-5", f"{A}:1-10", 5),
        (f"{A}:1-10", f"{A}:1-10,{B}:1-5", 0),
    ],
)
def test_mysql(ahead, behind, gap):
    assert MySQLPosition.decode(ahead).gap(MySQLPosition.decode(behind)) == gap


@pytest.mark.parametrize(
    ("ahead", "behind", "gap"),
    [
        ("1@0/3000", "1@0/3000", 0),
        ("1@1/10", "1@0/FFFFFFF0", 32),
        ("1@0/3000", "1@0/4000", 0),
        ("2@0/3000", "0@0/2000", 0x1000),  # The standby does not show its timeline.
        ("2@0/3000", "1@0/2000", None),
    ],
)
def test_postgresql(ahead, behind, gap):
    assert PostgreSQLPosition.decode(ahead).gap(PostgreSQLPosition.decode(behind)) == gap


def test_positions_are_written_as_the_database_writes_them():
    assert str(MariaDBPosition.decode("1-2-3,0-1-10")) == "0-1-10, 1-2-3"
    assert str(MySQLPosition.decode(f"{B}:1-5,{A}:1-10:12")) == f"{A}:1-10:12, {B}:1-5"
    assert str(PostgreSQLPosition.decode("1@2/30A8")) == "2/30A8"


ANY = object()


@pytest.mark.parametrize(
    ("progress", "to_receive", "to_replay", "stage"),
    [
        (None, None, None, Stage.AWAY),
        (Progress(replicates=False), None, 5, Stage.NOT_REPLICATING),
        (Progress(replicates=True, receives=False, replays=True), 5, 0, Stage.NOT_RECEIVING),
        (Progress(replicates=True, receives=True, replays=False), 0, 5, Stage.NOT_REPLAYING),
        (Progress(replicates=True, receives=False, replays=False), 5, 5, Stage.NOT_RECEIVING),
        (Progress(received=ANY, receives=True, replays=True), 5, 0, Stage.RECEIVING),
        (Progress(received=ANY, receives=True, replays=True), 0, 5, Stage.REPLAYING),
        (Progress(received=ANY, receives=True, replays=True), 0, 0, Stage.LEVEL),
        (Progress(), None, 5, Stage.BEHIND),
        (Progress(), None, 0, Stage.LEVEL),
        (Progress(), None, None, Stage.UNKNOWN),
    ],
)
def test_where_it_is_held_up(progress, to_receive, to_replay, stage):
    steps = ReplicaProgress(alias="replica1", progress=progress, to_receive=to_receive, to_replay=to_replay)
    assert steps.stage is stage


def test_of_the_status_numbers_alone_are_kept():
    status = {
        "Slave_IO_Running": "Connecting",
        "Slave_SQL_Running": "Yes",
        "Last_IO_Errno": 2003,
        "Last_IO_Error": "error connecting to master 'repl@10.0.0.7:3306'",
        "Last_SQL_Errno": 0,
        "SQL_Delay": 30,
    }
    progress = progress_of(status, "Slave", "REPLICA MONITOR")
    assert (progress.receives, progress.replays, progress.receive_error, progress.delay) == (
        False,
        True,
        2003,
        30,
    )
    assert "10.0.0.7" not in repr(progress)


def test_what_may_not_be_seen_is_left_open():
    progress = progress_of(None, "Slave", "REPLICA MONITOR")
    assert (progress.replicates, progress.receives, progress.replays) == (None, None, None)
    assert progress.privilege == "REPLICA MONITOR"


def test_primaries_are_asked_after_their_replicas(monkeypatch, settings):
    """So that no replica is ever ahead of its primary."""
    settings.RWROUTER = {"REPLICAS": ["replica1", "replica2"]}
    asked = []

    def ask_all(aliases, ask, timeout):
        asked.append((ask, list(aliases)))
        return {alias: replication._Reply() for alias in aliases}

    monkeypatch.setattr(replication, "_ask_all", ask_all)
    replication.ask_progress([get_topology().clusters["default"]])
    assert asked == [
        (replication._progress_of, ["replica1", "replica2"]),
        (replication._written, ["default"]),
    ]
