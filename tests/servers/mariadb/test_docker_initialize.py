"""docker/mariadb/initialize.sh, as the MariaDB image's entrypoint runs it, on real servers."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher.mariadb import MariaDBCluster, MariaDBServer, ServerError
from launcher.programs import find_program

try:
    MARIADB = find_program("mariadb", packages="mariadb-client")
except ServerError as error:
    pytest.skip(str(error), allow_module_level=True)

FILES = Path(__file__).resolve().parents[3] / "docker" / "mariadb"
PASSWORD = 'it\'s \\ "odd" ä'

# What the script needs of the entrypoint, in our own words.
ENTRYPOINT = r"""
set -eo pipefail
docker_process_sql() { "$MARIADB" --no-defaults --user=root --socket="$SERVER_SOCKET" "$@"; }
docker_sql_escape_string_literal() { sed -e 's/\\/\\\\/g' -e "s/'/\\\\'/g" <<<"$1"; }
. "$RWROUTER_SQL/initialize.sh"
"""


def initialize(server: MariaDBServer, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", ENTRYPOINT],
        env={
            "PATH": os.environ["PATH"],
            "MARIADB": MARIADB,
            "SERVER_SOCKET": str(server.socket),
            "RWROUTER_SQL": str(FILES),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
def cluster():
    with MariaDBCluster(replicas=1) as cluster:
        yield cluster


def test_a_primary_and_a_replica_find_each_other(cluster):
    primary, [replica] = cluster.primary, cluster.replicas
    replica.sql("STOP REPLICA; RESET REPLICA ALL")
    for server, environment in [
        (primary, {"APP_DATABASE": "board", "APP_USER": "board", "APP_PASSWORD": PASSWORD}),
        (replica, {"PRIMARY_HOST": primary.host, "PRIMARY_PORT": str(primary.port)}),
    ]:
        done = initialize(server, REPLICATION_PASSWORD=PASSWORD, **environment)
        assert (done.returncode, done.stderr) == (0, "")
    # The entrypoint ends its temporary server, and starts the real one.
    replica.stop()
    replica.start()
    cluster.wait(replica)
    status = replica.replication_status()
    assert (status["Master_User"], status["Using_Gtid"]) == ("replication", "Slave_Pos")
    command = [MARIADB, "--no-defaults", "--protocol=tcp", "--user=board", "--batch", "board"]
    command += [f"--host={replica.host}", f"--port={replica.port}", "--skip-column-names"]
    command += ["--default-character-set=utf8mb4", "--execute=SELECT CURRENT_USER()"]
    environment = {**os.environ, "MYSQL_PWD": PASSWORD}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (said.stdout, said.stderr) == ("board@%\n", "")


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "REPLICATION_PASSWORD"),
        ({"REPLICATION_PASSWORD": "x", "APP_DATABASE": "board", "APP_USER": "b"}, "APP_PASSWORD"),
        ({"REPLICATION_PASSWORD": "x", "APP_DATABASE": "board"}, "APP_USER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_missing_variable_stops_the_container(cluster, environment, missing):
    position = cluster.position()
    stopped = initialize(cluster.primary, **environment)
    assert stopped.returncode != 0
    assert f"{missing}: is not set" in stopped.stderr
    assert cluster.position() == position
