"""Drivers and backends other than those of the other tests: what holds with these holds with them."""

import json
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import environ
import pytest

SITE = Path(__file__).with_name("driver_site.py")
ROOT = Path(__file__).resolve().parents[3]
MYSQL, POSTGRESQL = "django.db.backends.mysql", "django.db.backends.postgresql"
MOST = 120
"""Seconds that a process may take before it is given up."""

DRIVERS = {
    "PyMySQL": {
        "product": "mariadb",
        "driver": "pymysql",
        "ENGINE": MYSQL,
        "OPTIONS": {"connect_timeout": 2, "read_timeout": 4},
        "prepare": "import pymysql; pymysql.install_as_MySQLdb()",
    },
    "mysql.connector": {
        "product": "mariadb",
        "driver": "mysql.connector",
        "ENGINE": "mysql.connector.django",
        "OPTIONS": {"connection_timeout": 2, "read_timeout": 4, "use_pure": True},
    },
    "psycopg2": {
        "product": "postgresql",
        "driver": "psycopg2",
        "ENGINE": POSTGRESQL,
        "OPTIONS": {"connect_timeout": 2},
        # Django takes what it finds first.
        "prepare": "import sys; sys.modules['psycopg'] = None",
    },
    "a backend of the site's, with parameters bound by the server": {
        "product": "postgresql",
        "driver": "psycopg",
        "ENGINE": "tests.servers.setups.own_backend",
        "OPTIONS": {"connect_timeout": 2, "server_side_binding": True},
        "password": lambda password: password[::-1],
    },
}


def entry(server, driver):
    """The server's entry of ``DATABASES``."""
    database = environ.Env.db_url_config(server.url())
    return {
        **{key: database[key] for key in ("HOST", "PORT", "NAME", "USER")},
        "PASSWORD": driver.get("password", str)(database["PASSWORD"]),
        "ENGINE": driver["ENGINE"],
        "OPTIONS": driver["OPTIONS"],
    }


def visit(cluster, driver):
    """Let a site run with a driver, and its servers fail when it asks for it; return what it saw."""
    spec = {
        "databases": [entry(server, driver) for server in cluster.servers],
        "prepare": driver.get("prepare", ""),
    }
    pipe = subprocess.PIPE
    command = [sys.executable, "-W", "ignore", str(SITE)]
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as site:
        timer = threading.Timer(MOST, site.kill)
        timer.start()
        try:
            line = json.dumps(spec)
            while not line.startswith("{") or "databases" in line:
                print(line if "databases" in line else "done", file=site.stdin, flush=True)
                line = site.stdout.readline()
                assert line, "The site has ended."
                act(cluster, line.split())
        finally:
            timer.cancel()
            site.kill()
    return json.loads(line)


def act(cluster, words):
    if words == ["heal"]:
        cluster.heal()
    elif words[0] in ("kill", "freeze"):
        getattr(cluster.replicas[int(words[1])], words[0])()


@pytest.mark.parametrize(
    "driver",
    [
        pytest.param(driver, id=name, marks=pytest.mark.product(driver["product"]))
        for name, driver in DRIVERS.items()
    ],
)
def test_a_site_with_this_driver(clusters, driver, monkeypatch):
    library = driver["driver"]
    if find_spec(library.partition(".")[0]) is None:
        pytest.skip(f"{library} is not installed")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seen = visit(clusters(driver["product"]), driver)
    assert seen.pop("driver").startswith(library)
    rescued = {"answered": 1, "elsewhere": True, "after": True}
    assert seen == {
        "product": driver["product"],
        "causal": {"stale": 0, "read on": ["replica1", "replica2"]},
        "window": [False, True],
        "queries": {"complete": True, "on replicas": True},
        "report": {"status": ["healthy"] * 3, "doctor": [], "check": [], "counted": True},
        "killed": rescued,
        "frozen": rescued,
    }
