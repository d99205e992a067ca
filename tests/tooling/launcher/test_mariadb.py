"""The launcher of MariaDB servers; and ports, the watchdog and the command line, which all have in common."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from launcher import programs
from launcher.mariadb import MariaDBCluster, MariaDBServer, ServerError
from launcher.programs import find_program
from tests.patience import until
from tests.tooling.launcher.products import MARIADB, is_alive

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = MARIADB
write, has, as_application = PRODUCT.write, PRODUCT.has, PRODUCT.as_application


# --- replication --------------------------------------------------------------------------------


def test_replication_is_by_gtid_and_servers_are_told_apart(cluster):
    assert [server.server_id for server in cluster.servers] == [1, 2, 3]
    for server in cluster.servers:
        assert server.sql("SELECT @@server_id, @@port, @@socket, @@gtid_strict_mode") == [
            (str(server.server_id), str(server.port), str(server.socket), "1")
        ]
    for replica in cluster.replicas:
        status = replica.replication_status()
        assert (status["Using_Gtid"], status["Master_Server_Id"]) == ("Slave_Pos", "1")
    assert cluster.primary.replication_status() == {}


def test_settings_are_those_of_the_docker_files(cluster):
    names = ["log_bin", "binlog_format", "log_slave_updates", "innodb_flush_log_at_trx_commit"]
    names += ["slave_net_timeout", "skip_name_resolve", "innodb_buffer_pool_size", "read_only"]
    select = "SELECT " + ", ".join(f"@@global.{name}" for name in names)
    common = ("1", "ROW", "1", "2", "10", "1", str(32 * 1024 * 1024))
    assert cluster.primary.sql(select) == [(*common, "0")]
    assert [replica.sql(select) for replica in cluster.replicas] == [[(*common, "1")]] * 2


def test_a_delay_leaves_the_heartbeat_as_it_is(cluster, replica):
    cluster.delay(replica, 600)
    assert replica.replication_status()["SQL_Delay"] == "600"
    assert replica.sql("SHOW STATUS LIKE 'Slave_heartbeat_period'")[0][1] == "1.000"


def test_waiting_says_why_replication_has_stopped(cluster, replica):
    replica.sql("SET sql_log_bin = 0; INSERT INTO rwrouter.note VALUES (4000000)")
    cluster.primary.sql("INSERT INTO rwrouter.note VALUES (4000000)")
    with pytest.raises(TimeoutError, match="Duplicate entry '4000000'"):
        cluster.wait(replica, timeout=0.5)
    replica.sql("SET sql_log_bin = 0; DELETE FROM rwrouter.note WHERE id = 4000000")
    cluster.resume(replica)
    cluster.wait(replica)


# --- the application's user ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO note VALUES (NULL)", "ERROR 1290"),
        ("SET GLOBAL read_only = OFF", "ERROR 1227"),
        ("SHOW REPLICA STATUS", "ERROR 1227"),
        ("FLUSH STATUS", "ERROR 1227"),
    ],
)
def test_the_application_cannot_do_more_on_a_replica(replica, statement, error):
    assert error in as_application(replica.url(), statement).stderr


def test_the_application_may_create_test_databases_and_no_others(cluster):
    statement = "CREATE DATABASE test_rwrouter_gw0; DROP DATABASE test_rwrouter_gw0"
    assert as_application(cluster.primary.url(), statement).stderr == ""
    for name in ["another", "testing", "rwrouter2"]:
        refused = as_application(cluster.primary.url(), f"CREATE DATABASE {name}")
        assert "ERROR 1044" in refused.stderr


def test_nobody_is_administrator_through_the_network(cluster):
    nameless = f"mysql://root:@127.0.0.1:{cluster.primary.port}/mysql"
    assert "ERROR 1045" in as_application(nameless, "SELECT 1").stderr
    for folder in [cluster.primary.folder, cluster.primary.data, cluster.primary.socket.parent]:
        assert folder.stat().st_mode & 0o077 == 0


def test_names_and_passwords_with_odd_characters():
    password = "it's \\ \"a:@/%ä"
    with MariaDBCluster(replicas=0, database="my_db", user="o'neil", password=password) as cluster:
        url = cluster.primary.url()
        assert url.startswith("mysql://o%27neil:it%27s%20%5C%20%22a%3A%40%2F%25%C3%A4@")
        assert url.endswith("/my_db")
        admin = cluster.primary.sql("SELECT user FROM mysql.user WHERE user LIKE 'o%'")
        assert admin == [("o'neil",)]
        plain = f"mysql://x@127.0.0.1:{cluster.primary.port}/my_db"
        parts = urlsplit(plain)
        client = [find_program("mariadb", packages=""), "--no-defaults", "--user=o'neil", "-B"]
        client += ["--protocol=tcp", f"--host={parts.hostname}", f"--port={parts.port}", "my_db"]
        client += ["--default-character-set=utf8mb4", "--execute=CREATE TABLE t (a INT)"]
        subprocess.run(client, env={**os.environ, "MYSQL_PWD": password}, check=True, timeout=30)


# --- statements ---------------------------------------------------------------------------------


def test_values_come_back_as_they_are(cluster):
    text = "tab\t line\n return\r back\\slash quote' \x0b \u2028 ünï ☃"
    cluster.primary.sql("CREATE OR REPLACE TABLE rwrouter.odd (id INT, value TEXT CHARACTER SET utf8mb4)")
    literal = text.replace("\\", "\\\\").replace("'", "''")
    cluster.primary.sql(f"INSERT INTO rwrouter.odd VALUES (1, '{literal}'), (2, ''), (3, NULL)")
    rows = cluster.primary.sql("SELECT value FROM rwrouter.odd ORDER BY id")
    assert rows == [(text,), ("",), (None,)]
    assert cluster.primary.sql("SELECT id FROM rwrouter.odd WHERE id = 9") == []


def test_a_failing_statement_raises_what_the_server_said(cluster):
    with pytest.raises(ServerError, match=r"(?s)primary.*ERROR 1146.*'rwrouter\.nothing'"):
        cluster.primary.sql("SELECT * FROM rwrouter.nothing")


# --- faults -------------------------------------------------------------------------------------


def test_a_killed_replica_comes_back_and_catches_up(cluster, replica):
    pid, port = replica.pid, replica.port
    replica.kill()
    assert not replica.is_running()
    assert not is_alive(pid)
    with pytest.raises(ServerError, match="not running"):
        _ = replica.pid
    with pytest.raises(ServerError, match="Can't connect"):
        replica.sql("SELECT 1")
    row = write(cluster)
    replica.start()
    assert replica.port == port
    assert replica.pid != pid
    cluster.wait(replica)
    assert has(replica, row)


def test_a_replica_that_is_killed_while_its_replication_starts_comes_back(cluster, replica):
    """Its note of the relay log that it reads is older than the list of those that there are."""
    cluster.wait(replica)
    replica.kill()
    note = replica.data / "relay-log.info"
    count, _file, place, *rest = note.read_text().splitlines()
    note.write_text("\n".join([count, "./relay.000999", place, *rest]) + "\n")
    row = write(cluster)
    cluster.heal()
    assert has(replica, row)


def test_starting_twice_is_refused(cluster, replica):
    with pytest.raises(ServerError, match="runs already"):
        replica.start()
    with pytest.raises(ServerError, match="running already"):
        cluster.start()


# --- starting -----------------------------------------------------------------------------------


def test_a_port_taken_in_the_last_moment_is_replaced(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        ports = iter([taken, taken])
        original = MariaDBServer.start.__globals__["free_port"]
        monkeypatch.setattr("launcher.server.free_port", lambda: next(ports, original()))
        with MariaDBCluster(replicas=0) as cluster:
            assert cluster.primary.port != taken
            assert "Address already in use" in cluster.primary.log.read_text()
            assert cluster.primary.sql("SELECT 1") == [("1",)]


def test_a_server_that_does_not_start_shows_its_log():
    cluster = MariaDBCluster(replicas=1, options=["--no-such-option=1"])
    with pytest.raises(ServerError, match=r"(?s)did not start.*unknown variable 'no-such-option"):
        cluster.start()
    with pytest.raises(ServerError, match="not running"):
        _ = cluster.primary


def test_missing_programs_are_named_with_their_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SYSTEM_FOLDERS", ())
    with pytest.raises(ServerError, match=r"mariadbd was not found.*apt-get install mariadb-server"):
        MariaDBCluster().start()


def test_too_long_a_path_for_sockets_is_refused(monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(ServerError, match=r"too long a path for a Unix socket.*set TMPDIR"):
        MariaDBCluster().start()
    assert list(folder.iterdir()) == []


def test_options_reach_every_server():
    with MariaDBCluster(replicas=1, options=["--max-connections=17"]) as cluster:
        for server in cluster.servers:
            assert server.sql("SELECT @@max_connections") == [("17",)]


def test_a_kept_folder_goes_on_with_its_data(tmp_path):
    folder = tmp_path / "long path" / ("long" * 30)
    with MariaDBCluster(replicas=1, folder=folder) as cluster:
        cluster.primary.sql("CREATE TABLE rwrouter.note (id INT PRIMARY KEY AUTO_INCREMENT)")
        old = write(cluster)
        with pytest.raises(ServerError, match="in use by another cluster"):
            MariaDBCluster(folder=folder).start()
        cluster.delay(cluster.replicas[0], 600)  # is not kept
    with MariaDBCluster(replicas=2, folder=folder) as cluster:
        new = write(cluster)
        cluster.wait_all()
        for server in cluster.servers:
            assert (has(server, old), has(server, new)) == (True, True)
        assert as_application(cluster.replicas[1].url(), "SELECT 1").stdout == "1\n"


# --- ending -------------------------------------------------------------------------------------


def test_stop_leaves_no_process_and_no_folder():
    with MariaDBCluster(replicas=1) as cluster:
        folder, pids = cluster.folder, [server.pid for server in cluster.servers]
        assert folder.is_dir()
    cluster.stop()
    assert [pid for pid in pids if is_alive(pid)] == []
    assert not folder.exists()


def test_a_forked_child_cannot_stop_the_cluster(cluster):
    child = os.fork()
    if child == 0:
        cluster.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert all(server.is_running() for server in cluster.servers)


STARTER = """
import os, sys
from launcher.mariadb import MariaDBCluster
cluster = MariaDBCluster(replicas=1)
cluster.start()
print(cluster.folder, *(server.pid for server in cluster.servers), flush=True)
{ending}
"""


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("", id="end of the program"),
        pytest.param("raise RuntimeError", id="exception"),
        pytest.param("os.kill(os.getpid(), 15)", id="SIGTERM"),
        pytest.param("os.kill(os.getpid(), 9)", id="SIGKILL"),
        pytest.param("cluster.replicas[0].freeze(); os._exit(1)", id="_exit with a frozen server"),
    ],
)
def test_servers_do_not_outlive_the_program_that_started_them(ending):
    program = subprocess.run(
        [sys.executable, "-c", STARTER.format(ending=ending)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    folder, *pids = program.stdout.split()
    assert len(pids) == 2, program.stderr
    until(lambda: not any(is_alive(int(pid)) for pid in pids), "servers still run")
    until(lambda: not Path(folder).exists(), f"{folder} is still there")


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_in_the_foreground_until_a_signal(number):
    """Also where a script has started it in the background: it begins with SIGINT ignored."""
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*in_background, sys.executable, "-m", "launcher", "mariadb", "--replicas", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        primary = process.stdout.readline().strip()
        replica = process.stdout.readline().strip()
        assert re.fullmatch(r"DATABASE_URL=mysql://rwrouter:\w+@127.0.0.1:\d+/rwrouter", primary)
        assert re.fullmatch(r"REPLICA_URLS=mysql://rwrouter:\w+@127.0.0.1:\d+/rwrouter", replica)
        url = primary.partition("=")[2]
        assert as_application(url, "SELECT 1").stdout == "1\n"
        process.send_signal(number)
        _, remarks = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    sockets = re.findall(r"--socket=(\S+)", remarks)
    assert len(sockets) == 2
    assert not any(Path(path).parent.exists() for path in sockets)
    assert "Can't connect" in as_application(url, "SELECT 1").stderr


def test_around_a_command():
    command = "import os, sys; print(os.environ['REPLICA_URLS'].count('mysql://')); sys.exit(3)"
    finished = subprocess.run(
        [sys.executable, "-m", "launcher", "mariadb", "--", sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("2\n", "", 3)
