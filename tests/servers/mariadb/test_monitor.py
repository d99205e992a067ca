"""The monitor in real processes: each has its own, however it came to be."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import pytest

from launcher.ports import free_port
from launcher.watchdog import proc_stat
from tests.busy_clock import busy_clock
from tests.servers.mariadb import settings as ours

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("watched_process.py")
NAMES = sorted(["rwrouter-monitor", *(f"rwrouter-probe-{alias}" for alias in ours.ALIASES)])


@pytest.fixture
def environment(cluster):
    ports = ",".join(str(server.port) for server in cluster.servers)
    return {**os.environ, "PYTHONPATH": str(ROOT), ours.PORTS_VARIABLE: ports, "PYTHONWARNINGS": "ignore"}


def run(action, environment, **more):
    command = [sys.executable, str(SCRIPT), action]
    done = subprocess.run(
        command, env={**environment, **more}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.mark.parametrize(
    "action",
    [
        "fork",
        "fork-amid-rounds",
        "fork-amid-probes",
        "multiprocessing-fork",
        "multiprocessing-forkserver",
    ],
)
def test_a_child_watches_for_itself(environment, action):
    run(action, environment, INTERVAL="0.02" if action == "fork-amid-rounds" else "0.1")


def test_it_does_not_hold_up_the_end_of_a_process(environment, cluster):
    """Neither while it waits, nor while it is stuck with a server that does not answer."""
    began = busy_clock()
    run("end", environment, INTERVAL="60")
    assert busy_clock() - began < 20
    command = [sys.executable, str(SCRIPT), "end-while-a-replica-is-frozen"]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env={**environment, "INTERVAL": "0.2"}, text=True, **pipe) as process:
        try:
            assert process.stdout.readline() == "watched\n"
            cluster.replicas[0].freeze()
            began = busy_clock()
            _output, errors = process.communicate("frozen\n", timeout=30)
            took = busy_clock() - began
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert took < 0.4 + 1.0 + 2.0  # what a busy machine adds


@contextmanager
def gunicorn(environment, *options):
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "--log-level=warning"]
    command += ["--no-control-socket", *options, "tests.servers.mariadb.watched_process"]
    with subprocess.Popen(command, env={**environment, "SERVED": "1"}, cwd=ROOT) as process:
        try:
            yield port, process.pid
        finally:
            process.terminate()


def ask(port):
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as response:
        return json.load(response)


def watching(port, workers):
    """Ask until so many processes have said that they watch all servers; returns what each said last."""
    deadline = time.monotonic() + 40
    found = {}
    while len(found) < workers or not all(len(each["answers"]) == 3 for each in found.values()):
        assert time.monotonic() < deadline, found
        try:
            said = ask(port)
        except OSError:
            time.sleep(0.1)
            continue
        found[said["pid"]] = said
        time.sleep(0.02)
    return found


needs_gunicorn = pytest.mark.skipif(
    find_spec("gunicorn") is None, reason="needs gunicorn: pip install gunicorn"
)


@needs_gunicorn
@pytest.mark.parametrize(
    "options",
    [
        ["--preload", "--workers=2", "--threads=4"],
        ["--workers=2", "--threads=4"],
        ["--workers=1", "--worker-class=gevent"],
        ["--workers=2", "--worker-class=gevent", "--preload"],
    ],
    ids=["preload", "threads", "gevent", "gevent, preload"],
)
def test_each_worker_watches_and_the_first_process_does_not(environment, cluster, options):
    if "--worker-class=gevent" in options:
        pytest.importorskip("gevent", reason="needs gevent: pip install gevent")
    workers = 2 if "--workers=2" in options else 1
    with gunicorn(environment, *options) as (port, pid):
        found = watching(port, workers)
        for said in found.values():
            assert said["threads"] == NAMES
            assert (said["imported"] == pid) is ("--preload" in options)
            assert said["away"] == []
        assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
        # And it finds out what happens to a server, and that it is back.
        cluster.replicas[0].kill()
        deadline = time.monotonic() + 20
        while not all(each["away"] == ["replica1"] for each in watching_any(port, workers).values()):
            assert time.monotonic() < deadline
        cluster.replicas[0].start()
        watching(port, workers)


def watching_any(port, workers):
    found = {}
    while len(found) < workers:
        said = ask(port)
        found[said["pid"]] = said
    return found


@needs_gunicorn
def test_a_worker_that_watches_ends_when_it_is_asked_to(environment, cluster):
    with gunicorn(environment, "--workers=1", "--threads=2") as (port, pid):
        watching(port, 1)
        cluster.replicas[0].freeze()
        time.sleep(0.5)
        os.kill(pid, 15)
        began = busy_clock()
        while (proc_stat(pid) or ["X"])[0] not in {"X", "Z"}:
            assert busy_clock() - began < 15
            time.sleep(0.02)
