"""Who asks the servers for all processes of a host, and what the others may trust."""

import json
import os
import time
from pathlib import Path

import pytest

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.databases.base import Reading
from django_rwrouter.databases.mariadb import MariaDBPosition
from django_rwrouter.monitor import election as elections
from django_rwrouter.monitor.election import CannotShareError, HostElection, settings_key
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.monitor.snapshot import Snapshot, decode, encode, from_bytes

INTERVAL = 1.0


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(elections, "monotonic", clock)
    return clock


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Path(tmp_path, "django-rwrouter")


@pytest.fixture
def candidate(clock, directory):
    made = []

    def make():
        made.append(HostElection(get_topology(), INTERVAL))
        return made[-1]

    yield make
    for election in made:
        election.close()


def test_one_leads_and_the_next_takes_over_when_it_has_ended(candidate):
    first, second = candidate(), candidate()
    assert first.leads()
    assert not second.leads()
    first.close()
    assert second.leads()


def test_who_comes_to_lead_sweeps_out_what_other_boots_have_left(candidate, directory):
    first = candidate()
    (directory / "left.lock").touch(0o600)
    os.utime(directory / "left.lock", (0, 0))
    assert first.leads()
    first.close()
    for path in directory.iterdir():
        os.utime(path, (0, 0))  # Its own, of a leader that ended long ago.
    second = candidate()
    assert second.leads()
    assert second.publish(Snapshot())
    assert sorted(path.suffix for path in directory.iterdir()) == [".json", ".lock"]


def test_a_silent_leader_is_superseded_and_finds_it_out(candidate, clock):
    first, second, third = candidate(), candidate(), candidate()
    assert first.leads()
    assert first.publish(Snapshot())
    assert not second.leads()
    clock.now += 1.4
    assert not second.leads()
    clock.now += 0.2
    assert second.leads()
    assert not third.leads(), "The new leader's term has just begun."
    assert not first.publish(Snapshot())
    assert not first.leads()
    assert second.publish(Snapshot(ejected={"replica1": "timeout"}))
    assert third.read()[0].ejected == {"replica1": "timeout"}


def test_of_two_that_take_over_at_once_one_is_left(candidate, clock, monkeypatch):
    first, second, third = candidate(), candidate(), candidate()
    assert first.leads()
    clock.now += 1.6
    remove = third._directory.remove

    def remove_later(name):
        assert second.leads()
        remove(name)

    monkeypatch.setattr(third._directory, "remove", remove_later)
    assert third.leads()
    assert not second.publish(Snapshot())
    assert not second.leads()
    assert third.publish(Snapshot())


def test_a_process_that_stood_still_itself_takes_nothing_over(candidate, clock):
    first, second = candidate(), candidate()
    assert first.leads()
    assert not second.leads()
    clock.now += 50
    assert first.publish(Snapshot())
    assert not second.leads()


# Other tests may have left threads; the child starts none and takes no lock.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_neither_keeps_nor_releases_its_parents_lock(candidate):
    """The lock is of the open file, which a child shares: it must close it, and nothing else."""
    parent, other = candidate(), candidate()
    assert parent.leads()
    released, release = os.pipe()
    pid = os.fork()
    if pid == 0:
        parent.close()
        os.close(release)
        os.read(released, 1)  # Lives on, until the parent has looked.
        os._exit(0)
    try:
        assert not other.leads()
        assert parent.leads()
        parent.close()
        deadline = time.monotonic() + 10
        while not other.leads():
            assert time.monotonic() < deadline
    finally:
        os.close(release)
        os.close(released)
        os.waitpid(pid, 0)


def test_a_snapshot_is_trusted_for_two_intervals(candidate, clock):
    leader, follower, late = candidate(), candidate(), candidate()
    assert leader.leads()
    leader.publish(Snapshot())
    _snapshot, until = follower.read()
    assert until == clock.now + 2 * INTERVAL
    assert follower.read() is None, "It was read already."
    clock.now += 2 * INTERVAL
    assert late.read() is None


def test_a_snapshot_is_read_once(candidate, clock, monkeypatch):
    """A follower looks four times in an interval."""
    leader, follower = candidate(), candidate()
    assert leader.leads()
    assert follower.read() is not None
    names = []
    monkeypatch.setattr(follower._directory, "read", lambda name: names.append(name) or b"")
    for _ in range(4):
        clock.now += 0.25
        assert not follower.leads()
        assert follower.read() is None
    assert names == []


@pytest.mark.parametrize("changes", [{"at": 2000.0}, {"at": 999.9}, {"at": "now"}, {"version": 0}], ids=str)
def test_what_was_made_later_than_now_or_before_the_last_is_not_read(candidate, directory, changes):
    leader, follower = candidate(), candidate()
    assert leader.leads()
    leader.publish(Snapshot())
    follower.read()
    (path,) = directory.glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert follower.read() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', "[" * 10000])
def test_what_is_no_snapshot_is_not_read(candidate, directory, text):
    leader, follower = candidate(), candidate()
    assert leader.leads()
    leader.publish(Snapshot())
    (path,) = directory.glob("*.json")
    path.write_text(text)
    assert follower.read() is None


def test_without_a_private_directory_nothing_is_shared(clock, directory):
    directory.mkdir(0o755)
    directory.chmod(0o755)
    with pytest.raises(CannotShareError, match="mode 0755"):
        HostElection(get_topology(), INTERVAL)


def test_a_full_disk_is_said(candidate, monkeypatch):
    leader = candidate()
    assert leader.leads()

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leader._directory, "replace", full)
    with pytest.raises(CannotShareError, match="No space left"):
        leader.publish(Snapshot())


def test_processes_with_other_settings_do_not_meet(settings):
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    one = settings_key(get_topology())
    settings.RWROUTER = {"REPLICAS": ["replica1"], "PRIMARY_ONLY": {"b", "a"}}
    assert settings_key(get_topology()) != one


@pytest.mark.parametrize("name", ["PGHOST", "PGSERVICE", "MYSQL_UNIX_PORT"])
def test_processes_whose_environment_names_another_server_do_not_meet(name, monkeypatch):
    before = settings_key(get_topology())
    monkeypatch.setenv(name, "/elsewhere")
    assert settings_key(get_topology()) != before


@pytest.mark.parametrize("name", ["net", "mnt", "time"])
def test_processes_of_other_namespaces_do_not_meet(candidate, name, monkeypatch):
    assert candidate().leads()
    namespace = elections._namespace
    monkeypatch.setattr(elections, "_namespace", lambda asked: -1 if asked == name else namespace(asked))
    assert candidate().leads()


def test_processes_from_before_and_after_a_boot_do_not_meet(candidate, monkeypatch):
    assert candidate().leads()
    monkeypatch.setattr(elections, "_boot_id", lambda: "another")
    assert candidate().leads()


def test_what_was_measured_before_a_leader_stood_still_is_as_old_as_it_is(candidate, clock):
    leader, follower = candidate(), candidate()
    assert leader.leads()
    measured = ProbeResult(alias="replica1", began=clock.now, reading=Reading("s1", None))
    clock.now += 30
    assert leader.publish(Snapshot(findings=(measured,)))
    snapshot, _until = follower.read()
    assert snapshot.findings[0].began == clock.now - 30


def test_what_a_leader_publishes_that_stood_still_after_it_looked_is_not_read(candidate, clock, monkeypatch):
    first, second, follower = candidate(), candidate(), candidate()
    assert first.leads()
    replace = first._directory.replace

    def stand_still(*written):
        clock.now += 1.7
        assert second.leads()
        second.publish(Snapshot(ejected={"replica1": "timeout"}))
        assert follower.read() is not None
        replace(*written)

    monkeypatch.setattr(first._directory, "replace", stand_still)
    first.publish(Snapshot())
    assert follower.read() is None, "It was made before."
    clock.now += 0.4
    assert candidate().read() is None, "Older than two intervals."


def test_a_lock_that_was_removed_ends_the_term(candidate, clock, directory):
    """Whoever cleans a temporary directory removes what is old, locked or not."""
    first, second = candidate(), candidate()
    assert first.leads()
    for path in directory.iterdir():
        path.unlink()
    assert second.leads()
    assert not first.publish(Snapshot())
    assert not first.leads()


def test_a_snapshot_is_read_as_it_was_written():
    position = MariaDBPosition.decode("0-1-7")
    snapshot = Snapshot(
        findings=(
            ProbeResult(alias="default", began=5.5, reading=Reading("s1", position, writable=True)),
            ProbeResult(alias="replica1", began=5.6, failure="timeout"),
            ProbeResult(alias="replica2", began=5.7, refusal="OperationalError 1227"),
            ProbeResult(alias="replica3", began=5.8, reading=Reading("s2", None), is_primary=True),
        ),
        ejected={"replica1": "timeout"},
        cut_off={"replica1": 5.0},
        answers={"overrides": ([["drain", "replica2", "", "", 1]], 5.5)},
    )
    assert decode(from_bytes(encode(snapshot, float)), float) == snapshot
