"""The launcher of MySQL servers itself.

What it has in common with MariaDB's (ports, the watchdog, the command line, the form of values) is tested in
test_mariadb.py.
"""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.mysql import MySQLCluster, ServerError
from launcher.programs import fetch
from tests.patience import until
from tests.tooling.launcher.products import MYSQL

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.product("mysql")
PRODUCT = MYSQL
write, has, as_application = PRODUCT.write, PRODUCT.has, PRODUCT.as_application


# --- replication --------------------------------------------------------------------------------


def test_replication_is_by_gtid_and_servers_are_told_apart(cluster):
    assert [server.server_id for server in cluster.servers] == [1, 2, 3]
    uuids = {server.sql("SELECT @@server_uuid")[0] for server in cluster.servers}
    assert len(uuids) == 3
    for server in cluster.servers:
        assert server.sql("SELECT @@server_id, @@port, @@socket, @@gtid_mode, @@log_bin") == [
            (str(server.server_id), str(server.port), str(server.socket), "ON", "1")
        ]
        assert server.sql("SELECT VERSION() >= '8'") == [("1",)]
    for replica in cluster.replicas:
        status = replica.replication_status()
        assert (status["Auto_Position"], status["Source_Server_Id"]) == ("1", "1")
    assert cluster.primary.replication_status() == {}


# --- the application's user ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO note VALUES (NULL)", "ERROR 1290"),
        ("SET GLOBAL super_read_only = OFF", "ERROR 1227"),
        ("SHOW REPLICA STATUS", "ERROR 1227"),
    ],
)
def test_the_application_cannot_do_more_on_a_replica(replica, statement, error):
    assert error in as_application(replica.url(), statement).stderr


def test_the_application_may_create_test_databases_and_no_others(cluster):
    statement = "CREATE DATABASE test_rwrouter_gw0; DROP DATABASE test_rwrouter_gw0"
    assert as_application(cluster.primary.url(), statement).returncode == 0
    for name in ["another", "testing", "rwrouter2"]:
        refused = as_application(cluster.primary.url(), f"CREATE DATABASE {name}")
        assert "ERROR 1044" in refused.stderr


def test_nobody_is_administrator_through_the_network(cluster):
    nameless = f"mysql://root:@127.0.0.1:{cluster.primary.port}/mysql"
    assert re.search("ERROR (1045|1130)", as_application(nameless, "SELECT 1").stderr)
    for folder in [cluster.primary.folder, cluster.primary.socket.parent]:
        assert folder.stat().st_mode & 0o077 == 0


# --- faults -------------------------------------------------------------------------------------


# --- failover -----------------------------------------------------------------------------------


def test_failover_to_a_replica_that_lacks_a_write():
    with MySQLCluster(replicas=2) as cluster:
        old, (one, two) = cluster.primary, cluster.replicas
        old.sql("CREATE TABLE rwrouter.note (id INT PRIMARY KEY AUTO_INCREMENT)")
        cluster.wait_all()
        cluster.disconnect(one)
        old.sql("INSERT INTO rwrouter.note VALUES (6000000)")
        cluster.wait(two)
        cluster.disconnect(two)
        lost = cluster.position()
        old.kill()

        cluster.promote(one)
        assert (cluster.primary, cluster.replicas, cluster.former) == (one, [two], [old])
        new = write(cluster)
        assert one.sql(f"SELECT GTID_SUBSET('{lost}', @@gtid_executed)") == [("0",)]
        with pytest.raises(ServerError, match=r"replica2.* does not follow .*replica1.*, which has not"):
            cluster.follow(two, one)
        cluster.rejoin(two)
        assert (has(two, new), has(two, "6000000")) == (True, False)
        one.kill()
        one.start()  # and stays the primary
        write(cluster)

        old.start()
        assert has(old, "6000000")
        cluster.rejoin(old)
        assert (cluster.replicas, cluster.former) == ([two, old], [])
        assert (has(old, new), has(old, "6000000")) == (True, False)
        assert "ERROR 1290" in as_application(old.url(), "DELETE FROM note").stderr
        cluster.heal()


def test_a_paused_replica_applies_what_it_received_before_it_is_promoted():
    with MySQLCluster(replicas=2) as cluster:
        one, two = cluster.replicas
        cluster.primary.sql("CREATE TABLE rwrouter.note (id INT PRIMARY KEY AUTO_INCREMENT)")
        cluster.wait_all()
        cluster.delay(one, 600)
        with pytest.raises(ServerError, match="has a delay"):
            cluster.promote(one)
        cluster.delay(one, 0)
        cluster.pause(one)
        row = write(cluster)
        number = cluster.position().rpartition("-")[2]
        until(
            lambda: one.replication_status()["Retrieved_Gtid_Set"].endswith(f"-{number}"),
            "nothing is received",
        )
        cluster.promote(one)
        assert has(one, row)
        new = write(cluster)
        cluster.heal()
        assert has(two, new)


# --- starting -----------------------------------------------------------------------------------


def test_a_kept_folder_goes_on_with_its_data(tmp_path):
    folder = tmp_path / "long path" / ("long" * 30)
    with MySQLCluster(replicas=1, folder=folder) as cluster:
        cluster.primary.sql("CREATE TABLE rwrouter.note (id INT PRIMARY KEY AUTO_INCREMENT)")
        old = write(cluster)
        cluster.delay(cluster.replicas[0], 600)  # is not kept
    odd = {"user": "o'neil", "password": "it's \\ \"a:@/%ä"}
    with MySQLCluster(replicas=2, folder=folder, options=["--max-connections=17"], **odd) as cluster:
        new = write(cluster)
        cluster.wait_all()
        for server in cluster.servers:
            assert (has(server, old), has(server, new)) == (True, True)
            assert server.sql("SELECT @@max_connections") == [("17",)]
        with pytest.raises(ServerError, match="keeps its data"):
            cluster.promote(cluster.replicas[0])


def test_a_server_that_does_not_start_shows_its_log():
    cluster = MySQLCluster(replicas=0, options=["--no-such-option=1"])
    with pytest.raises(ServerError, match=r"(?s)did not start.*unknown variable 'no-such-option"):
        cluster.start()


def test_around_a_command():
    command = "import os, sys; print(os.environ['REPLICA_URLS'].count('mysql://')); sys.exit(3)"
    finished = subprocess.run(
        [sys.executable, "-m", "launcher", "mysql", "--", sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (finished.stdout, finished.stderr, finished.returncode) == ("2\n", "", 3)


# --- fetching -----------------------------------------------------------------------------------


@pytest.fixture
def nothing_found_yet():
    fetch.cache_clear()
    yield
    fetch.cache_clear()


@pytest.mark.usefixtures("nothing_found_yet")
def test_a_machine_without_apt_is_told_so(monkeypatch, tmp_path):
    for tool in ["sh", "dirname"]:
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServerError, match=r"There is no mysql: .*Debian's packages, and apt-get is not"):
        MySQLCluster().start()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("nothing_found_yet")
def test_a_mirror_that_does_not_answer_is_named_and_nothing_is_left(monkeypatch, tmp_path):
    apt_get = tmp_path / "apt-get"
    answer = "Debian|Debian|main|http://127.0.0.1:9/debian/"
    apt_get.write_text(f'#!/bin/sh\n[ "$1" = indextargets ] && echo "{answer}" || exit 100\n')
    apt_get.chmod(apt_get.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServerError, match=r"cannot be read from http://127.0.0.1:9/debian/"):
        MySQLCluster().start()
    assert [path.name for path in (tmp_path / "cache" / "django-rwrouter").iterdir()] == ["mysql.lock"]
