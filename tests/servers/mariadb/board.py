"""The message board of ``testproject/``, on a cluster, under gunicorn with several processes."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.ports import free_port
from launcher.watchdog import proc_stat
from proofs.client import Browser
from web_server import HOST, TESTPROJECT, manage, web_server

DATABASE = "test_board"
"""The application's user may do anything in databases of such names."""
TIMEOUTS = "?connect_timeout=2&read_timeout=2"
ADMIN = {"username": "admin", "password": "for tests only"}


@dataclass(frozen=True, slots=True)
class Site:
    """A running board."""

    port: int
    pid: int
    """Of gunicorn's first process, which starts the others."""

    host = HOST

    @property
    def address(self):
        return f"http://{HOST}:{self.port}"

    def browser(self):
        """Return a new visitor, who speaks JSON."""
        return Browser(HOST, self.port)

    def workers(self):
        """Return the ids of the processes that answer requests."""
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in pids if _parent(pid) == self.pid]


def _parent(pid):
    """Return who started a process, if it lives: one that is a zombie has ended."""
    state, parent, *_more = proc_stat(pid) or ["X", "0"]
    return None if state in {"X", "Z"} else int(parent)


class Board:
    """The board's databases on a cluster, and web servers for them."""

    def __init__(self, cluster):
        self._environment = {
            "ALLOWED_HOSTS": HOST,
            "BOARD_ADMIN_PASSWORD": ADMIN["password"],
            "CONN_MAX_AGE": "60",
            "DATABASE_URL": cluster.primary.url(DATABASE),
            "DEBUG": "0",
            "DJANGO_SETTINGS_MODULE": "config.settings",  # pytest-django has set the tests' own.
            "LOAD_TEST_API": "1",
            "REPLICA_URLS": ",".join(replica.url(DATABASE) + TIMEOUTS for replica in cluster.replicas),
            "SECRET_KEY": "for tests only",
        }
        cluster.primary.sql(f"CREATE DATABASE {DATABASE}")
        manage(self._environment, "prepare_board")
        cluster.wait_all()

    def manage(self, *arguments, **environment):
        """Run a management command, as an operator would."""
        manage({**self._environment, **environment}, *arguments)

    def ask(self, *arguments):
        """Run a management command, and return what it says."""
        done = subprocess.run(
            [sys.executable, TESTPROJECT / "manage.py", *arguments],
            env={**os.environ, **self._environment},
            cwd=TESTPROJECT,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serve(self, *, workers=2, **environment):
        """Serve it inside the block, with more in the environment."""
        port = free_port()
        with web_server({**self._environment, **environment}, port, workers=workers) as process:
            yield Site(port, process.pid)
