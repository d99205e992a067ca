"""Twenty hosts with a hundred processes each, by a clock of their own: what a server gets of their monitors.

The elections are the real ones; a round of probes only counts itself. docs/scaling.md has the formula.
"""

import heapq
import time
from types import SimpleNamespace

import pytest

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.options import MonitorSettings
from django_rwrouter.events.emit import own_ejections
from django_rwrouter.monitor import cache_election, election, watcher
from django_rwrouter.monitor.snapshot import Snapshot
from django_rwrouter.monitor.watcher import READS_PER_INTERVAL, Watcher
from django_rwrouter.servers.health import health

HOSTS, PROCESSES = 20, 100
INTERVALS = 8


class Server:
    """What one of the servers gets."""

    def __init__(self):
        self.now = 1000.0
        self.probes = []
        self.connections = 0

    def rounds(self, *_arguments):
        def run(publish):
            self.probes.append(self.now)
            publish(Snapshot())

        def start():
            self.connections += 1

        def end():
            self.connections -= 1

        return SimpleNamespace(start=start, run=run, end=end, probers={})

    def run_processes(self, watchers, seconds, stopped=()):
        """Let processes live for a while; those that are stopped do nothing."""
        # A process that leads has a round in each interval; the others look for a snapshot.
        steps = [(self.now + number / len(watchers), number) for number in range(len(watchers))]
        heapq.heapify(steps)
        until = self.now + seconds
        while steps[0][0] < until:
            self.now, number = heapq.heappop(steps)
            if watchers[number] not in stopped:
                watchers[number]._step()
            pause = 1.0 if leads(watchers[number]) else 1.0 / READS_PER_INTERVAL
            heapq.heappush(steps, (self.now + pause, number))
        self.now = until


def leads(process):
    return process._rounds is not None


@pytest.fixture
def server(monkeypatch):
    server = Server()
    for module in (election, cache_election, watcher):
        monkeypatch.setattr(module, "monotonic", lambda: server.now)
    monkeypatch.setattr(cache_election._CacheThread, "call", lambda _self, function, _seconds: function())
    monkeypatch.setattr(time, "time", lambda: server.now)
    monkeypatch.setattr(watcher, "Rounds", server.rounds)
    monkeypatch.setattr(watcher.threading, "Thread", lambda **_options: SimpleNamespace(start=lambda: None))
    yield server
    health.reset()
    own_ejections.reset()


def make_processes(share, count):
    processes = [Watcher(get_topology(), MonitorSettings(share=share)) for _ in range(count)]
    for process in processes:
        process._woken = SimpleNamespace(wait=lambda _seconds: None)
    return processes


def per_interval(server):
    """Return the probes in an interval, without those of the first."""
    began = server.probes[0] + 1.0
    return sum(at >= began for at in server.probes) / (INTERVALS - 1)


def test_one_process_of_each_host_probes(server, tmp_path, monkeypatch):
    began = server.now
    for number in range(HOSTS):  # They know nothing of one another.
        server.now = began
        (tmp_path / str(number)).mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / str(number)))
        processes = make_processes("host", PROCESSES)
        server.run_processes(processes, INTERVALS)
        assert sum(map(leads, processes)) == 1
        for process in processes:
            process._election.close()
    assert server.connections == HOSTS
    assert per_interval(server) == pytest.approx(HOSTS, rel=0.1)


def test_one_process_of_all_hosts_probes(server, settings):
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "many-hosts"}}
    server.run_processes(make_processes("cache:default", HOSTS * PROCESSES), INTERVALS)
    assert server.connections == 1
    assert per_interval(server) == pytest.approx(1, rel=0.1)


def test_each_process_probes_where_nothing_is_shared(server):
    server.run_processes(make_processes("none", HOSTS * PROCESSES), INTERVALS)
    assert server.connections == HOSTS * PROCESSES
    assert per_interval(server) == pytest.approx(HOSTS * PROCESSES, rel=0.1)


@pytest.mark.parametrize("is_killed", [True, False], ids=["SIGKILL", "SIGSTOP"])
def test_the_next_of_a_host_takes_over_within_two_intervals(server, tmp_path, monkeypatch, is_killed):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    processes = make_processes("host", PROCESSES)
    lost = []
    for _ in range(10):
        server.run_processes(processes, 3, lost)
        (leader,) = (process for process in processes if leads(process) and process not in lost)
        leader._step()  # It has just given a sign of life, which is the worst case.
        lost.append(leader)
        if is_killed:
            leader._election.close()  # The kernel does so.
        at = server.now
        server.run_processes(processes, 2, lost)
        assert any(probe > at for probe in server.probes)
        assert sum(leads(process) and process not in lost for process in processes) == 1
    assert server.connections == 1 + len(lost)  # Those of the lost are still open here.
