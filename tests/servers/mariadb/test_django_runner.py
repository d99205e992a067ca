"""``manage.py test`` on a cluster that replicates."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.mariadb import settings as ours

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("arguments", [[], ["--reverse"]], ids=["forwards", "backwards"])
def test_a_projects_tests_pass_and_leave_nothing_behind(cluster, administration, arguments):
    ports = ",".join(str(server.port) for server in cluster.servers)
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "django",
        "test",
        "tests.servers.mariadb.cases_for_django",
    ]
    run = subprocess.run(
        [*command, "--settings=tests.servers.mariadb.settings", "--no-input", *arguments],
        cwd=ROOT,
        env={**os.environ, ours.PORTS_VARIABLE: ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    print(run.stdout)
    assert run.returncode == 0
    assert re.search(r"^Ran 1\d tests in .*\n\nOK$", run.stdout, re.MULTILINE)
    assert "System check identified no issues (0 silenced)" in run.stdout
    assert run.stdout.count("Creating test database") == 1
    administration.level()
    for server in cluster.servers:
        assert not administration.ask(server, "SHOW DATABASES LIKE 'test%rwrouter'")
