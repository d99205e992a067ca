"""Who probes the servers for several hosts, and how old what they read of one another may seem."""

import random
import threading
import time

import pytest
from django.core.cache import caches

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Reading
from django_rwrouter.monitor import cache_election, election
from django_rwrouter.monitor.cache_election import CacheElection
from django_rwrouter.monitor.election import TRUSTED_INTERVALS, CannotShareError
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.monitor.snapshot import Snapshot

INTERVAL = 1.0
LEASE = 2.0


class Clocks:
    """Every host has its own monotonic clock; the cache has another one."""

    def __init__(self):
        self.now = 1_000_000.0
        self.offset = 0.0
        """Of the host that runs now."""


class Host:
    """A process on a host of its own."""

    def __init__(self, clocks, offset):
        self.clocks, self.offset = clocks, offset
        self.election = self.do(lambda: CacheElection(get_topology(), INTERVAL, "default"))
        self.election._thread = cache_election._CacheThread()

    def do(self, action):
        before, self.clocks.offset = self.clocks.offset, self.offset
        try:
            return action()
        finally:
            self.clocks.offset = before

    def leads(self):
        return self.do(self.election.leads)

    def publish(self, snapshot=None):
        return self.do(lambda: self.election.publish(snapshot or Snapshot()))

    def probe(self):
        """Return a result whose duration tells when it began by the cache's clock."""
        began = self.clocks.now + self.offset
        reading = Reading("s1", None)
        return ProbeResult(alias="replica1", began=began, seconds=self.clocks.now, reading=reading)

    def read(self):
        """Return the snapshot, with times by the cache's clock."""
        news = self.do(self.election.read)
        if news is None:
            return None
        snapshot, until = news
        return snapshot, until - self.offset


@pytest.fixture
def clocks(monkeypatch):
    clocks = Clocks()
    for module in (election, cache_election):
        monkeypatch.setattr(module, "monotonic", lambda: clocks.now + clocks.offset)
    monkeypatch.setattr(time, "time", lambda: clocks.now)
    return clocks


@pytest.fixture(autouse=True)
def cache(settings):
    location = f"elections-{random.random()}"
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location}}
    return caches["default"]


@pytest.fixture
def host(clocks):
    made = []

    def make():
        made.append(Host(clocks, offset=100.0 * len(made)))
        return made[-1]

    return make


def test_one_leads_until_its_lease_ends(host, clocks):
    first, second = host(), host()
    assert first.leads()
    assert not second.leads()
    second.read()
    for _ in range(10):
        clocks.now += INTERVAL / 2
        assert first.publish()
        second.read()
        assert not second.leads()
    clocks.now += LEASE - 0.1  # The first was killed.
    assert not second.leads()
    clocks.now += 0.2
    assert second.leads()
    assert not first.publish()
    assert not first.leads()


def test_a_leader_that_ends_gives_up_its_lease(host, clocks):
    first, second = host(), host()
    assert first.leads()
    first.election.close()
    assert second.leads()


def test_a_forked_child_does_not_give_up_its_parents_lease(host, monkeypatch):
    first, second = host(), host()
    assert first.leads()
    monkeypatch.setattr(cache_election.os, "getpid", lambda: -1)
    first.election.close()
    assert not second.leads()


def test_a_probe_is_dated_at_once_by_those_who_saw_the_term_begin(host, clocks):
    leader, follower = host(), host()
    assert follower.read() is None
    clocks.now += 0.25
    assert leader.leads()
    clocks.now += 0.1
    result = leader.probe()
    assert leader.publish(Snapshot(findings=(result,)))
    snapshot, until = follower.read()
    (found,) = snapshot.findings
    began = found.began - follower.offset
    assert result.seconds - 0.25 <= began <= result.seconds
    assert until <= clocks.now + TRUSTED_INTERVALS * INTERVAL


def test_who_comes_later_dates_nothing_that_was_before(host, clocks):
    leader, follower = host(), host()
    assert leader.leads()
    old = leader.probe()
    for _ in range(3):
        clocks.now += 0.4
        assert leader.publish(Snapshot(findings=(old,)))
        news = follower.read()
    snapshot, _until = news
    assert snapshot.findings[0].began == float("-inf")


@pytest.mark.parametrize("slow", ["touch", "set"])
def test_a_snapshot_is_trusted_for_two_intervals_since_it_was_made(host, clocks, cache, monkeypatch, slow):
    leader, follower = host(), host()
    follower.read()
    assert leader.leads()

    def later(method):
        def call(*arguments, **options):
            clocks.now += 1.5
            return method(*arguments, **options)

        return call

    clocks.now += 0.25
    assert leader.publish()
    assert follower.read() is not None
    # When it finds out that it leads, and when it writes.
    monkeypatch.setattr(type(cache), slow, later(getattr(type(cache), slow)))
    made = clocks.now
    assert leader.publish()
    _snapshot, until = follower.read()
    assert until <= made + TRUSTED_INTERVALS * INTERVAL


def test_what_a_former_leader_publishes_late_is_not_read(host, clocks, cache, monkeypatch):
    first, second, follower = host(), host(), host()
    assert first.leads()
    follower.read()
    second.read()
    put = type(cache).set

    def stand_still(*arguments, **options):
        monkeypatch.setattr(type(cache), "set", put)
        clocks.now += 10
        assert follower.read() is None
        assert second.leads()
        assert second.publish(Snapshot(ejected={"replica2": "timeout"}))
        put(*arguments, **options)

    monkeypatch.setattr(type(cache), "set", stand_still)
    first.publish(Snapshot(ejected={"replica1": "timeout"}))
    snapshot, _until = follower.read()
    assert snapshot.ejected == {"replica2": "timeout"}
    assert not first.publish()


@pytest.fixture
def pass_time(clocks, cache, monkeypatch):
    """Let everybody stand still now and then, before and after each step of the cache; return a function."""
    draw = random.Random()

    def pass_time(seed=None, *, share=1.0):
        if seed is not None:
            draw.seed(seed)
        elif draw.random() < share:
            clocks.now += draw.choice([0.001, 0.05, 0.25, 0.25, 0.6, 3.0])

    def slow(original):
        def step(*arguments, **options):
            pass_time(share=0.2)
            found = original(*arguments, **options)
            pass_time(share=0.2)
            return found

        return step

    for name in ("get", "set", "get_many", "touch", "add"):
        monkeypatch.setattr(type(cache), name, slow(getattr(type(cache), name)))
    return pass_time


@pytest.mark.parametrize("seed", range(20))
def test_nothing_seems_younger_than_it_is(host, clocks, pass_time, seed):
    draw = random.Random(seed)
    hosts = [host() for _ in range(4)]
    pass_time(seed)
    read = 0
    for _ in range(600):
        pass_time()
        process = draw.choice(hosts)
        if process.leads():
            result = process.probe()
            pass_time(share=0.3)
            process.publish(Snapshot(findings=(result,)))
        elif (news := process.read()) is not None:
            snapshot, until = news
            assert until <= clocks.now + TRUSTED_INTERVALS * INTERVAL
            for found in snapshot.findings:
                assert found.began - process.offset <= found.seconds + 1e-6
                read += found.began > float("-inf")
    assert read


@pytest.mark.parametrize("text", [None, "text", b"", b"[]", b'{"number": 1}', b'{"number": 1, "at": null}'])
def test_what_is_no_snapshot_is_not_read(host, cache, text):
    leader, follower = host(), host()
    assert leader.leads()
    follower.read()
    (key,) = (key.split(":", 2)[2] for key in cache._cache if key.count(":") == 4)
    cache.set(key, text)
    assert follower.read() is None


def test_a_cache_that_is_away_is_said_without_its_address(host, cache, monkeypatch):
    leader = host()

    def refuse(*_arguments):
        raise ConnectionError("10.0.0.7 refused it")

    monkeypatch.setattr(type(cache), "add", refuse)
    with pytest.raises(CannotShareError, match=r"the cache 'default' cannot be used \(ConnectionError\)$"):
        leader.leads()


def test_a_cache_that_hangs_is_not_waited_for(host, cache, monkeypatch):
    leader, follower, goes_on = host(), host(), threading.Event()
    follower.election._thread = leader.election._thread
    assert leader.leads()
    get = type(cache).get

    def hang(*arguments, **more):
        goes_on.wait()
        return get(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(cache), "get", hang)
        patch.setattr(cache_election, "_LEAST_PATIENCE", 0.01)
        for process in (leader, follower):
            patch.setattr(process.election, "_interval", 0.001)
        with pytest.raises(CannotShareError, match=r"cannot be used \(TimeoutError\)$"):
            leader.publish()
        with pytest.raises(CannotShareError, match=r"cannot be used \(TimeoutError\)$"):
            follower.read()
        leader.do(leader.election.close)
        goes_on.set()
        leader.election._thread._last.exception()
    assert follower.read() is None
    assert not follower.leads()


def test_a_call_under_way_is_waited_for():
    """One monitor gives its lease up while the next one asks."""
    thread, begun, goes_on = cache_election._CacheThread(), threading.Event(), threading.Event()

    def ask():
        begun.set()
        goes_on.wait()

    first = threading.Thread(target=thread.call, args=(ask, 60.0))
    first.start()
    begun.wait()
    threading.Timer(0.05, goes_on.set).start()
    assert thread.call(lambda: "answer", 60.0) == "answer"
    first.join()


def test_a_cache_that_keeps_nothing_is_said(host, settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    with pytest.raises(CannotShareError, match="does not keep"):
        host().leads()


def test_a_cache_that_reads_from_copies_is_said(host, clocks, cache):
    leader, follower = host(), host()
    assert leader.leads()
    before = dict(cache._cache)
    clocks.now += 0.1
    assert leader.publish()
    follower.read()
    cache._cache.update(before)
    with pytest.raises(CannotShareError, match="copies that lag"):
        follower.read()
