"""The Compose file and the Dockerfile, as far as they can be checked without a Docker engine.

The server settings, the SQL and the script that the containers use run against real servers in
tests/servers/mariadb.
"""

import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

DOCKER = Path(__file__).resolve().parents[2] / "docker"
ROOT = DOCKER.parent
VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")
REPLICAS = ["replica1", "replica2"]


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def mounted_files(service):
    """Path in the container by path beside compose.yaml."""
    mounts = [mount.split(":") for mount in service["volumes"]]
    return {source: target for source, target, *_ in mounts if source.startswith("./")}


def test_docker_compose_accepts_the_file():
    compose = ["docker", "compose"]
    missing = "not for this machine, which lacks Docker's Compose plugin: `docker compose config` was NOT run"
    if shutil.which("docker") is None:
        pytest.skip(missing)
    if subprocess.run([*compose, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip(missing)
    checked = subprocess.run(
        [*compose, "--file", str(DOCKER / "compose.yaml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_services(services):
    assert list(services) == ["primary", *REPLICAS, "prepare", "app"]
    for name, service in services.items():
        assert ("image" in service) or ("build" in service), name


def test_each_dependency_can_become_true(services):
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}'s health"
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert "restart" not in services[other], f"{other} would never complete"


def test_replicas_start_after_the_primary_and_the_board_after_all(services):
    for replica in REPLICAS:
        assert list(services[replica]["depends_on"]) == ["primary"]
        assert services[replica]["environment"]["PRIMARY_HOST"] == "primary"
    assert list(services["prepare"]["depends_on"]) == ["primary", *REPLICAS]
    assert list(services["app"]["depends_on"]) == ["prepare"]


def test_health_checks_of_replicas_look_at_replication(services):
    for replica in REPLICAS:
        check = services[replica]["healthcheck"]["test"]
        # The image's script reads its options in order, and tests when it comes to --replication.
        assert check[-3:] == ["--replication_io", "--replication_sql", "--replication"]
        assert services[replica]["environment"]["MARIADB_HEALTHCHECK_GRANTS"] == "REPLICA MONITOR"


def test_servers_have_ids_and_data_of_their_own(services):
    servers = [services[name] for name in ["primary", *REPLICAS]]
    assert [server["command"] for server in servers] == [
        ["--server-id=1"],
        ["--server-id=2"],
        ["--server-id=3"],
    ]
    assert [server["volumes"][0] for server in servers] == [
        "primary:/var/lib/mysql",
        "replica1:/var/lib/mysql",
        "replica2:/var/lib/mysql",
    ]


def test_servers_get_the_files_that_the_launcher_uses(services):
    common = {
        "./mariadb/server.cnf": "/etc/mysql/mariadb.conf.d/90-server.cnf",
        "./mariadb/initialize.sh": "/docker-entrypoint-initdb.d/initialize.sh",
    }
    assert mounted_files(services["primary"]) == {
        **common,
        "./mariadb/primary.sql": "/rwrouter/primary.sql",
    }
    for replica in REPLICAS:
        assert mounted_files(services[replica]) == {
            **common,
            "./mariadb/replica.cnf": "/etc/mysql/mariadb.conf.d/91-replica.cnf",
            "./mariadb/replica.sql": "/rwrouter/replica.sql",
        }
    used = {name for server in services.values() if "volumes" in server for name in mounted_files(server)}
    assert {f"./mariadb/{path.name}" for path in (DOCKER / "mariadb").iterdir()} == used


def test_the_entrypoint_sources_the_script():
    mode = (DOCKER / "mariadb" / "initialize.sh").stat().st_mode
    assert mode & 0o111 == 0, "executable, it would run without the entrypoint's functions"


@pytest.mark.parametrize("name", ["primary", "replica"])
def test_the_script_sets_what_the_sql_reads(name):
    script = (DOCKER / "mariadb" / "initialize.sh").read_text()
    sql = (DOCKER / "mariadb" / f"{name}.sql").read_text()
    statements = re.sub(r"^--.*", "", sql, flags=re.MULTILINE)
    own = set(re.findall(r"\bSET @(\w+)", statements))
    read = set(re.findall(r"(?<!')@(\w+)", statements)) - own
    assert read <= set(re.findall(r"assign (\w+)", script))
    assert read == set(re.findall(r"@(\w+)", "".join(re.findall(r"^--.*", sql, re.MULTILINE))))


def test_the_board_connects_as_the_user_that_is_made(services):
    environment = services["app"]["environment"]
    made = services["primary"]["environment"]
    urls = [environment["DATABASE_URL"], *environment["REPLICA_URLS"].split(",")]
    parts = [urlsplit(VARIABLE.sub(r"\1", url)) for url in urls]
    assert [part.hostname for part in parts] == ["primary", *REPLICAS]
    password = VARIABLE.sub(r"\1", made["APP_PASSWORD"])
    for part in parts:
        assert part.scheme == "mysql"
        assert (part.username, part.password) == (made["APP_USER"], password)
        assert (part.port, part.path) == (3306, f"/{made['APP_DATABASE']}")
    assert all(made["APP_PASSWORD"] in url for url in urls)


def test_only_the_board_is_published_and_only_on_loopback(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"app": ["127.0.0.1:${PORT:-8000}:8000"]}


def test_the_image_is_built_from_what_is_there(services):
    build = services["app"]["build"]
    context = (DOCKER / build["context"]).resolve()
    assert context == ROOT
    dockerfile = context / build["dockerfile"]
    admitted = set(re.findall(r"^!(.+)$", Path(f"{dockerfile}.dockerignore").read_text(), re.MULTILINE))
    lines = re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE)
    sources = {source for line in lines for source in line.split()[:-1]}
    assert sources == admitted
    assert [source for source in sources if not (context / source).exists()] == []
