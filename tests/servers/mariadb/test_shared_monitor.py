"""What the elected process of a host finds holds in all of them; proofs/sharing.py kills and stops it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from launcher.redis import RedisServer
from tests.patience import until
from tests.servers.mariadb import settings as ours

pytest.importorskip("redis", reason="redis is not installed")

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("watched_process.py")
INTERVAL = 1.0
PROCESSES = 6


class Sharer:
    """One process, and what it said last."""

    def __init__(self, environment):
        self.said = {}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "share"], env=environment, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said = json.loads(line)


@pytest.fixture
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["host", "cache:default"])
def environment(request, cluster, tmp_path, redis):
    ports = ",".join(str(server.port) for server in cluster.servers)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        ours.PORTS_VARIABLE: ports,
        "PYTHONWARNINGS": "ignore",
        "INTERVAL": str(INTERVAL),
        "SHARE": request.param,
        "REDIS_URL": redis.url(),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }


@pytest.fixture
def sharers(environment):
    sharers = [Sharer(environment) for _ in range(PROCESSES)]
    yield sharers
    for sharer in sharers:
        sharer.process.kill()
        sharer.process.wait()
        sharer.process.stdout.close()


def said(sharers):
    return lambda: [sharer.said for sharer in sharers]


def is_shared(sharers):
    known = said(sharers)()
    return (
        all(each and each["watched"] and len(each["known"]) == 3 for each in known)
        and sum(each["asks"] for each in known) == 1
        and max(each["age"] for each in known) < 2 * INTERVAL
    )


@pytest.mark.parametrize("environment", ["cache:default"], indirect=True)
def test_the_next_takes_over(sharers):
    until(lambda: is_shared(sharers), said(sharers))
    (first,) = (sharer for sharer in sharers if sharer.said["asks"])
    first.process.kill()
    rest = [sharer for sharer in sharers if sharer is not first]
    until(lambda: is_shared(rest), said(rest))


@pytest.mark.parametrize("end", ["stop", "freeze"])
@pytest.mark.parametrize("environment", ["cache:default"], indirect=True)
def test_without_the_cache_each_asks_by_itself(sharers, redis, end):
    until(lambda: is_shared(sharers), said(sharers))
    getattr(redis, end)()
    until(lambda: all(sharer.said["asks"] for sharer in sharers), said(sharers))


def test_what_the_watcher_finds_holds_in_all(sharers, cluster):
    until(lambda: is_shared(sharers), said(sharers))
    cluster.replicas[0].kill()
    until(lambda: all(sharer.said["ejected"] == ["replica1"] for sharer in sharers), said(sharers))
    cluster.replicas[0].start()
    until(lambda: all(sharer.said["ejected"] == [] for sharer in sharers), said(sharers))
