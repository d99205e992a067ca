"""The load generator and what is counted of its requests, without servers."""

import threading
import time
from collections import Counter
from datetime import datetime, timezone
from functools import partial

import pytest

from benchmarks.users import Seen, together
from django_rwrouter.events.kinds import EventKind
from proofs import availability_run
from proofs.__main__ import main
from proofs.background import in_background
from proofs.board import Board
from proofs.client import Answer
from proofs.consistency import Report, Writer
from proofs.faults import Intensity, disturbed
from proofs.load import Load, Request, Role, User


def request(**more):
    values = {"user": 0, "role": Role(), "at": 10.0, "seconds": 0.5, "method": "GET", "own": True}
    values |= {"answer": Answer(200, b"", ""), "stale": False, "error": ""}
    return Request(**values | more)


class Idle(User):
    """Takes turns without a site."""

    def turn(self):
        self.load.requests.append((self.number, self.role))
        return len([number for number, _ in self.load.requests if number == self.number]) < 3


def load(user=Idle, **more):
    return Load(host="127.0.0.1", port=1, user=user, **more)


# --- the generator -------------------------------------------------------------------------------


def test_users_take_turns_in_the_roles_until_their_last_turn():
    roles = [Role(level="causal"), Role(level="eventual")]
    idle = load(users=3, roles=roles)
    with idle.running():
        idle.finish()
    assert Counter(idle.requests) == {(0, roles[0]): 3, (1, roles[1]): 3, (2, roles[0]): 3}


def test_users_stop_at_the_end_of_the_block_however_long_their_pauses_are():
    idle = load(users=2, rate=0.001)
    with idle.running():
        pass
    assert len(idle.requests) <= 2


def test_an_error_of_a_user_is_raised_at_the_end():
    class Clumsy(User):
        def turn(self):
            raise LookupError("a mistake in the proof itself")

    with pytest.raises(LookupError, match="itself"), load(Clumsy, users=1).running() as clumsy:
        clumsy.finish()


def test_an_error_of_the_block_is_not_replaced_by_one_of_a_thread():
    def fail():
        raise LookupError

    def block():
        with in_background([fail], threading.Event()) as threads:
            threads[0].join()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        block()


@pytest.mark.parametrize(
    ("answer", "misses", "stale", "error"),
    [
        (Answer(200, b"", ""), None, False, ""),
        (Answer(404, b"", ""), lambda answer: answer.status == 404, True, ""),
        (Answer(500, b"broken", ""), lambda answer: True, False, "500: b'broken'"),
        (Answer(200, b"", ""), lambda answer: int("x"), False, "ValueError"),
        (ConnectionResetError(), lambda answer: True, False, "ConnectionResetError()"),
    ],
    ids=["answered", "stale", "another status", "wrong in another way", "no answer"],
)
def test_what_became_of_a_request_is_kept(monkeypatch, answer, misses, stale, error):
    site = load(users=1)
    user = User(site, 0, Role())

    def get(path):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(user.browser, "get", get)
    user.send("/", statuses={200, 404}, misses=misses)
    [kept] = site.requests
    assert (kept.stale, kept.failed) == (stale, bool(error))
    assert kept.error.startswith(error)


@pytest.mark.parametrize(
    ("role", "served_by", "excused"),
    [
        (Role(level="causal"), "replica1 read=1 (causal)", False),
        (Role(level="causal"), "default read=1 (behind); replica1 read=1 (degraded, causal)", True),
        (Role(level="eventual"), "replica1 read=1 (eventual)", True),
        (Role(level="eventual", excusable=False), "replica1 read=1 (eventual)", False),
    ],
)
def test_stale_reads_are_excused_where_that_is_documented(role, served_by, excused):
    assert request(role=role, answer=Answer(200, b"", served_by)).excused is excused


# --- write and read back -------------------------------------------------------------------------


def test_pairs_are_shared_among_users():
    board = Board(port=1, prefix="/api", thread=1, post=1)
    site = load(users=3)
    writers = [Writer(board, 8, False, site, number, Role()) for number in range(3)]
    assert [writer._left for writer in writers] == [3, 3, 2]


def report(requests, level="causal", **more):
    values = {"users": 1, "pairs_wanted": 1, "seconds": 1.0, "database": "mariadb", "version": "10"}
    return Report(requests=requests, level=level, server="gunicorn", **values | more)


WRITTEN = request(method="POST", answer=Answer(201, b"", "default write=1"))
FOUND = request(answer=Answer(200, b"", "replica1 read=1 (causal)"))
MISSED = request(answer=Answer(404, b"", "replica1 read=1 (eventual)"), stale=True)
UNANSWERED = request(answer=Answer(0, b"", ""), error="TimeoutError('timed out')")


@pytest.mark.parametrize(
    ("level", "requests", "as_promised"),
    [
        ("causal", [WRITTEN, FOUND], True),
        ("causal", [WRITTEN, MISSED], False),
        ("eventual", [WRITTEN, MISSED], True),
        ("eventual", [WRITTEN, FOUND], False),
        ("causal", [WRITTEN], False),
        ("causal", [WRITTEN, FOUND, UNANSWERED], False),
        ("causal", [WRITTEN, FOUND, WRITTEN, FOUND], False),
    ],
    ids=["found", "missed", "missed as expected", "found by chance", "too few", "an error", "too many"],
)
def test_a_run_is_as_its_level_promises(level, requests, as_promised):
    assert report(requests, level).is_as_promised is as_promised


# --- faults --------------------------------------------------------------------------------------


class Cluster:
    """Notes what is done to its replicas."""

    replicas = ("replica1", "replica2")

    def __init__(self):
        self.log = []

    def pause(self, replica):
        self.log.append((replica, "paused"))

    def resume(self, replica):
        self.log.append((replica, "resumed"))


def test_disturbed_replicas_are_well_again_at_the_end():
    cluster = Cluster()
    with disturbed(cluster, Intensity((0, 1, 0), 0.001)) as done:
        deadline = time.monotonic() + 30
        while done["paused"] < 4:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    for replica in cluster.replicas:
        happened = [what for name, what in cluster.log if name == replica]
        assert happened == ["paused", "resumed"] * (len(happened) // 2)
        assert happened


# --- the benchmarks' users -----------------------------------------------------------------------


def test_a_process_has_a_replica_back_when_it_says_so_or_the_one_that_watches_for_it_does():
    ejected, restored = (
        kind.message.text for kind in (EventKind.REPLICA_EJECTED, EventKind.REPLICA_RESTORED)
    )
    now = time.time()

    def line(after, process, message, **facts):
        at = datetime.fromtimestamp(now + after, timezone.utc).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        return f"{at} {process} INFO django_rwrouter: {message % {'alias': 'replica1', **facts}}"

    log = "\n".join(
        [
            line(-9, 1, ejected, why="timeout"),
            line(-8, 1, restored, seconds=1.0),
            line(-6, 1, ejected, why="timeout"),
            line(-5, 2, ejected, why="timeout"),
            line(2, 1, restored, seconds=8.0),
            line(3, 2, restored, seconds=8.0),
        ]
    )
    changes = availability_run.STATE_CHANGE.findall(log)
    assert len(changes) == 6
    first_reads = {
        ("1", "replica1"): 4.0,
        ("2", "replica1"): 4.0,
        ("3", "replica1"): 4.0,
        ("3", "replica2"): 0.5,
        ("4", "replica1"): 20.0,
    }
    returned = time.monotonic()
    back = availability_run.by_their_own_account(first_reads, changes, returned - 1, returned)
    assert {key: round(seconds) for key, seconds in back.items()} == {
        ("1", "replica1"): 2,
        ("2", "replica1"): 3,
        ("3", "replica1"): 2,
        ("3", "replica2"): 0,
        ("4", "replica1"): 20,
    }


def test_what_the_benchmarks_count():
    item = partial(Answer, 200, b'{"version": 5, "database": "replica1"}', "")
    requests = [
        request(method="POST", answer=Answer(303, b"0-1-17", "")),
        request(answer=item()),
        request(answer=item(), stale=True),
        request(answer=item(), stale=True, own=False),
        request(answer=Answer(500, b"", ""), error="500: b''"),
        UNANSWERED,
    ]
    seen = Seen(requests)
    assert (seen.answered, seen.own_reads, seen.stale_own, seen.stale_others) == (4, 2, 1, 1)
    assert [(write.client, write.acknowledged, write.position) for write in seen.writes] == [(0, 10.5, 17)]
    assert [(read.sent, read.answered) for read in seen.reads] == [(10.0, 10.5)] * 3
    assert seen.databases == {"replica1": 3}
    assert seen.errors == {"GET 500": 1, "TimeoutError": 1}
    assert together([seen, seen]).answered == 8


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["consistency", "--help"],
        ["availability", "--help"],
        ["questions", "--help"],
        ["walk", "--help"],
    ],
)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "usage: python -m proofs" in capsys.readouterr().out
