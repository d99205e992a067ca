"""The launcher of PostgreSQL servers itself.

What it has in common with MariaDB's (ports, the watchdog, the command line) is tested in test_mariadb.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import postgresql_data
from launcher.postgresql import PostgreSQLCluster, ServerError
from launcher.watchdog import children
from tests.patience import until
from tests.tooling.launcher.products import POSTGRESQL, is_alive

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.product("postgresql")
PRODUCT = POSTGRESQL
write, has, as_application = PRODUCT.write, PRODUCT.has, PRODUCT.as_application


def lsn(text):
    """Return a place in the log as something that can be compared."""
    return [int(part, 16) for part in text.split("/")]


# --- replication --------------------------------------------------------------------------------


def test_servers_are_told_apart(cluster):
    names = ["primary", "replica1", "replica2"]
    assert [server.sql("SHOW cluster_name") for server in cluster.servers] == [[(name,)] for name in names]
    senders = "SELECT application_name, state FROM pg_stat_replication ORDER BY 1"
    streaming = [("replica1", "streaming"), ("replica2", "streaming")]
    until(lambda: cluster.primary.sql(senders) == streaming, "they do not stream")
    assert cluster.primary.replication_status() == {}
    assert cluster.replicas[0].replication_status()["primary_port"] == str(cluster.primary.port)


def test_a_delayed_replica_can_be_paused(cluster, replica):
    cluster.delay(replica, 600)
    row = write(cluster)
    with pytest.raises(TimeoutError, match="10min"):
        cluster.wait(replica, timeout=0.2)
    cluster.pause(replica)
    replica.configure(recovery_min_apply_delay="0")
    with pytest.raises(TimeoutError, match="paused"):
        cluster.wait(replica, timeout=0.2)
    assert not has(replica, row)


def test_waiting_covers_commits_that_are_not_flushed(cluster):
    cluster.primary.sql("SET synchronous_commit = off; INSERT INTO note VALUES (5000000)")
    cluster.wait_all()
    assert has(cluster.replicas[0], "5000000")


# --- the application's role ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("INSERT INTO note DEFAULT VALUES", "25006"),
        ("SELECT pg_wal_replay_resume()", "42501"),
        ("SELECT pg_promote()", "42501"),
        ("ALTER SYSTEM SET work_mem = '1MB'", "42501"),
    ],
)
def test_the_application_cannot_do_more_on_a_replica(replica, statement, state):
    assert state in as_application(replica.url(), statement).stderr


def test_the_application_is_an_ordinary_role_that_may_create_databases(cluster):
    created = as_application(cluster.primary.url(), "CREATE DATABASE test_gw0; DROP DATABASE test_gw0")
    assert created.stderr == ""
    memberships = "SELECT pg_has_role('pg_monitor', 'member'), rolsuper, rolreplication FROM pg_roles"
    answer = as_application(cluster.primary.url(), f"{memberships} WHERE rolname = current_user")
    assert answer.stdout == "f|f|f\n"
    hidden = as_application(cluster.replicas[0].url(), "SELECT received_tli FROM pg_stat_wal_receiver")
    assert hidden.stdout == "\n"


def test_nobody_is_administrator_through_the_network(cluster):
    nameless = f"postgresql://postgres@127.0.0.1:{cluster.primary.port}/rwrouter"
    assert "password" in as_application(nameless, "SELECT 1").stderr
    for folder in [cluster.primary.folder, cluster.primary.data, cluster.primary.socket.parent]:
        assert folder.stat().st_mode & 0o077 == 0


def test_servers_do_not_run_as_root(cluster):
    for server in cluster.servers:
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in [server.pid, *children(server.pid)]}
        assert 0 not in owners


def test_names_and_passwords_with_odd_characters():
    password = "it's \\ \"a:@/%ä"
    with PostgreSQLCluster(replicas=1, database='my "db"', user="o'neil", password=password) as cluster:
        url = cluster.primary.url()
        assert as_application(url, "CREATE TABLE t (a int)").stderr == ""
        cluster.wait_all()
        assert as_application(cluster.replicas[0].url(), "SELECT current_user FROM t").stderr == ""


# --- statements ---------------------------------------------------------------------------------


def test_values_come_back_as_they_are(cluster):
    text = "tab\t line\n return\r back\\slash quote' \" , \x0b \u2028 ünï ☃"
    literal = text.replace("'", "''")
    assert cluster.primary.sql(f"VALUES (1, '{literal}'), (2, ''), (3, NULL)") == [
        ("1", text),
        ("2", ""),
        ("3", None),
    ]
    assert cluster.primary.sql("VALUES (''), (NULL)") == [("",), (None,)]
    assert cluster.primary.sql("SELECT 1 WHERE false; SELECT 2") == [("2",)]


def test_a_failing_statement_raises_what_the_server_said(cluster):
    with pytest.raises(ServerError, match=r'(?s)primary.*relation "nothing" does not exist'):
        cluster.primary.sql("SELECT * FROM nothing")


# --- faults -------------------------------------------------------------------------------------


def test_a_killed_replica_comes_back_and_catches_up(cluster, replica):
    family, port = [replica.pid, *children(replica.pid)], replica.port
    assert len(family) > 3
    replica.kill()
    assert not replica.is_running()
    assert not any(is_alive(pid) for pid in family)
    with pytest.raises(ServerError, match=r"Connection refused|No such file"):
        replica.sql("SELECT 1")
    row = write(cluster)
    replica.start()
    assert replica.port == port
    cluster.wait(replica)
    assert has(replica, row)


# --- failover -----------------------------------------------------------------------------------


def test_failover_to_a_replica_that_lacks_a_write():
    with PostgreSQLCluster(replicas=2) as cluster:
        old, (one, two) = cluster.primary, cluster.replicas
        old.sql("CREATE TABLE note (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY)")
        kept = write(cluster)
        cluster.wait_all()
        cluster.disconnect(one)
        cluster.disconnect(two)
        old.sql("INSERT INTO note VALUES (6000000)")
        old.kill()

        cluster.promote(one)
        assert (cluster.primary, cluster.replicas, cluster.former) == (one, [two], [old])
        assert not old.is_running()
        new = write(cluster)
        assert one.sql("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)") == [("00000002",)]
        cluster.follow(two, one)
        cluster.wait(two)
        assert two.replication_status()["timeline"] == "2"
        assert [has(two, row) for row in (kept, new, "6000000")] == [True, True, False]
        one.kill()
        one.start()  # and stays the primary
        write(cluster)

        old.start()
        assert has(old, "6000000")
        cluster.rejoin(old)
        assert (cluster.replicas, cluster.former) == ([two, old], [])
        assert [has(old, row) for row in (kept, new, "6000000")] == [True, True, False]
        assert "25006" in as_application(old.url(), "DELETE FROM note").stderr
        cluster.heal()


@pytest.mark.parametrize("lag", ["paused", "delayed"])
def test_a_lagging_replica_applies_what_it_received_before_it_is_promoted(lag):
    with PostgreSQLCluster(replicas=2) as cluster:
        old, (one, two) = cluster.primary, cluster.replicas
        old.sql("CREATE TABLE note (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY)")
        cluster.wait_all()
        if lag == "paused":
            cluster.pause(one)
        else:
            cluster.delay(one, 600)
        row = write(cluster)
        position = lsn(cluster.position())
        # What PostgreSQL logs of its own may follow at any time.
        until(lambda: lsn(one.replication_status()["received"]) >= position, "nothing is received")
        cluster.promote(one)
        assert has(one, row)
        with pytest.raises(TimeoutError, match=r"follows .*primary.*, not .*replica1"):
            cluster.wait(two)
        cluster.heal()
        write(cluster)
        cluster.wait(two)
        assert old.is_running()


def test_following_a_server_that_has_less_is_refused():
    with PostgreSQLCluster(replicas=2) as cluster:
        one, two = cluster.replicas
        cluster.disconnect(one)
        cluster.primary.sql("CREATE TABLE only_here (id int)")
        cluster.wait(two)
        cluster.promote(one)
        with pytest.raises(ServerError, match=r"(?s)replica2.* does not follow .*replica1.*timeline"):
            cluster.follow(two, one, timeout=3.0)
        cluster.rejoin(two)
        with pytest.raises(ServerError, match=r'"only_here" does not exist'):
            two.sql("SELECT * FROM only_here")


def test_a_kept_cluster_cannot_promote(tmp_path_for_servers):
    with PostgreSQLCluster(replicas=1, folder=tmp_path_for_servers) as cluster:
        with pytest.raises(ServerError, match="keeps its data"):
            cluster.promote(cluster.replicas[0])
        with pytest.raises(ServerError, match="no replica"):
            cluster.follow(cluster.primary, cluster.replicas[0])


# --- starting and ending ------------------------------------------------------------------------


@pytest.fixture
def tmp_path_for_servers(tmp_path):
    """A folder that the user who runs the servers can reach, as pytest's own cannot by root's."""
    if os.getuid() == 0:
        for folder in [tmp_path, *tmp_path.parents[:2]]:
            folder.chmod(0o711)
    return tmp_path / "long path" / ("long" * 30)


def test_a_kept_folder_goes_on_with_its_data(tmp_path_for_servers):
    with PostgreSQLCluster(replicas=1, folder=tmp_path_for_servers) as cluster:
        cluster.primary.sql("CREATE TABLE note (id int PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY)")
        old = write(cluster)
        cluster.delay(cluster.replicas[0], 600)  # is not kept
    with PostgreSQLCluster(replicas=2, folder=tmp_path_for_servers) as cluster:
        new = write(cluster)
        cluster.wait_all()
        for server in cluster.servers:
            assert (has(server, old), has(server, new)) == (True, True)
        assert as_application(cluster.replicas[1].url(), "SELECT 1").stdout == "1\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root hands its servers to another user")
def test_a_folder_that_the_servers_cannot_enter_is_refused(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(ServerError, match=r"cannot enter .*folder/primary: choose a folder"):
        PostgreSQLCluster(folder=tmp_path / "folder").start()


def test_a_server_that_does_not_start_shows_its_log():
    cluster = PostgreSQLCluster(replicas=1, options=["--no-such-option=1"])
    with pytest.raises(ServerError, match=r'(?s)did not start.*parameter "no_such_option"'):
        cluster.start()


def test_options_reach_every_server():
    with PostgreSQLCluster(replicas=1, options=["--max-connections=17"]) as cluster:
        assert [server.sql("SHOW max_connections") for server in cluster.servers] == [[("17",)]] * 2


def test_missing_programs_are_named_with_their_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgresql_data, "PLACES", ())
    with pytest.raises(ServerError, match=r"postgres, initdb.*not found.*apt-get install postgresql"):
        PostgreSQLCluster().start()


def test_stop_leaves_no_process_and_no_folder():
    with PostgreSQLCluster(replicas=1) as cluster:
        folder = cluster.folder
        pids = [pid for server in cluster.servers for pid in [server.pid, *children(server.pid)]]
        cluster.replicas[0].freeze()
    until(lambda: not any(is_alive(pid) for pid in pids), "servers still run")
    assert not folder.exists()


STARTER = """
import os
from launcher.postgresql import PostgreSQLCluster
from launcher.watchdog import children
cluster = PostgreSQLCluster(replicas=1)
cluster.start()
pids = [pid for server in cluster.servers for pid in [server.pid, *children(server.pid)]]
print(cluster.folder, *pids, flush=True)
cluster.replicas[0].freeze()
os.kill(os.getpid(), 9)
"""


def test_servers_do_not_outlive_the_program_that_started_them_even_frozen():
    program = subprocess.run(
        [sys.executable, "-c", STARTER], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    folder, *pids = program.stdout.split()
    assert len(pids) > 6, program.stderr
    until(lambda: not any(is_alive(int(pid)) for pid in pids), "servers still run")
    until(lambda: not Path(folder).exists(), f"{folder} is still there")


def test_around_a_command():
    command = "import os, sys; print(os.environ['REPLICA_URLS'].count('postgresql://')); sys.exit(3)"
    finished = subprocess.run(
        [sys.executable, "-m", "launcher", "postgresql", "--", sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("2\n", "", 3)
