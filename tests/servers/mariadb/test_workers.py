"""The board under gunicorn: a client's requests are answered by whichever process is free."""

import json
import os
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from django_rwrouter.stats.rollup import roll_up
from django_rwrouter.stats.table import RoutingStatistics
from tests.servers.mariadb import board as board_module

STATISTICS = f"{board_module.DATABASE}.django_rwrouter_routingstatistics"
REPLICAS = {"replica1", "replica2"}
PATIENT = {"RWROUTER_PIN_SECONDS": "60"}
"""For tests that are not about the time: on a busy machine, a request may be late."""
UNPROTECTED = {"RWROUTER_SPILL_LIMIT": "0"}
"""Whoever has no pin reads the past from replicas that stand still, also where these are known to lag."""


def make_thread(site):
    return create(site.browser(), "/api/threads/", title="Tea", author="Ines", text="Green or black?")


def create(browser, path, **data):
    """POST, and return the id of what was made."""
    answer = browser.post(path, data)
    assert answer.status == 201, answer.body
    browser.close()  # Whichever process is free answers what comes next.
    return json.loads(answer.body)["id"]


def get(browser, path):
    """GET; returns the status, and the database that answered."""
    answer = browser.get(path)
    browser.close()
    assert answer.status in {200, 404}, answer.body
    return answer.status, answer.served_by.partition(" ")[0]


@pytest.mark.parametrize(
    ("store", "sessions"),
    [
        ("cookie", "db"),
        ("session", "db"),
        ("session", "file"),
        ("session", "signed_cookies"),
        ("cookie,session", "db"),
    ],
)
def test_the_writer_reads_it_in_any_process(cluster, administration, board, tmp_path, store, sessions):
    environment = {
        **PATIENT,
        **UNPROTECTED,
        "RWROUTER_STORE": store,
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{sessions}",
        "TMPDIR": str(tmp_path),  # Where files with sessions are.
    }
    with board.serve(**environment) as site:
        thread = make_thread(site)
        administration.level()
        administration.pause()

        def write_and_read_back(number):
            writer, other = site.browser(), site.browser()
            seen = []
            for _ in range(10):
                post = create(writer, "/api/posts/", thread=thread, author=f"{number}", text="Black.")
                seen.append((get(writer, f"/api/posts/{post}/"), get(other, f"/api/posts/{post}/")))
            return seen

        with ThreadPoolExecutor(4) as pool:
            seen = [each for one in pool.map(write_and_read_back, range(4)) for each in one]
    assert {by_writer for by_writer, _ in seen} == {(200, "default")}
    assert {by_other for _, by_other in seen} == {(404, alias) for alias in REPLICAS}


def test_reads_return_to_replicas_when_the_window_has_closed(cluster, administration, board):
    with board.serve(RWROUTER_PIN_SECONDS="1", **UNPROTECTED) as site:
        thread = make_thread(site)
        administration.level()
        administration.pause()
        writer = site.browser()
        started = time.monotonic()
        post = create(writer, "/api/posts/", thread=thread, author="Ines", text="White.")
        while get(writer, f"/api/posts/{post}/") == (200, "default"):
            assert time.monotonic() < started + 20, "The window has not closed."
            time.sleep(0.02)
        assert time.monotonic() >= started + 1
        assert get(writer, f"/api/posts/{post}/") in [(404, alias) for alias in REPLICAS]


@pytest.mark.parametrize("trouble", ["kill", "freeze"])
def test_a_lost_replica_is_noticed_by_nobody(cluster, replica, administration, board, trouble):
    """Each process finds out by itself, and takes the replica back by itself."""
    with board.serve() as site:
        thread = make_thread(site)
        post = create(site.browser(), "/api/posts/", thread=thread, author="Ines", text="Oolong.")
        administration.level()

        def visit(_number):
            return get(site.browser(), f"/api/posts/{post}/")

        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(visit, range(40))) == {(200, alias) for alias in REPLICAS}
            getattr(replica, trouble)()
            assert set(pool.map(visit, range(40))) == {(200, "replica2")}
            cluster.heal()
            deadline = time.monotonic() + 30
            while set(pool.map(visit, range(8))) != {(200, alias) for alias in REPLICAS}:
                assert time.monotonic() < deadline, "The replica is not used again."
                time.sleep(0.05)


def test_statistics_of_many_processes_add_up(cluster, administration, board, monkeypatch):
    """Also those of a process that has ended meanwhile, in good order."""
    visits, pairs = 120, 40
    administration.ask(cluster.primary, f"DELETE FROM {STATISTICS}")
    with board.serve(workers=4, RWROUTER_FLUSH_SECONDS="0.5", **PATIENT) as site:
        thread = make_thread(site)
        administration.level()

        def visit(_number):
            return get(site.browser(), f"/api/posts/{thread}/")

        def write_and_read_back(number):
            writer = site.browser()
            post = create(writer, "/api/posts/", thread=thread, author=f"{number}", text="Rooibos.")
            return get(writer, f"/api/posts/{post}/")

        with ThreadPoolExecutor(8) as pool:
            replaced = pool.submit(end_one_worker, site)
            by_visitors = pool.map(visit, range(visits))
            by_writers = pool.map(write_and_read_back, range(pairs))
            assert set(by_visitors) == {(200, alias) for alias in REPLICAS}
            assert set(by_writers) == {(200, "default")}
            replaced.result()
            set(pool.map(visit, range(visits)))
    rows = administration.ask(cluster.primary, f"SELECT process, data, final FROM {STATISTICS}")
    statements, events = Counter(), Counter()
    for row in rows:
        counts = json.loads(row["data"])
        for _cluster, alias, operation, reason, would_be, count, _microseconds in counts["statements"]:
            database = "replicas" if alias in REPLICAS else alias
            statements[database, operation, reason, would_be] += count
        for name, subject, count in counts["events"]:
            events[name, subject] += count
    assert statements == {
        ("replicas", "read", "window", ""): 2 * visits,
        ("default", "read", "unsafe_method", ""): pairs,
        # The thread and its first post, and one post of each pair.
        ("default", "write", "write", ""): 2 + pairs,
        ("default", "read", "pinned", ""): pairs,
    }
    assert events == {
        ("request", ""): 1 + 2 * visits + 2 * pairs,
        ("pin_set", ""): 1 + pairs,
        ("pinned_request", "default"): pairs,
    }
    said = json.loads(board.ask("rwrouter", "status", "--json", "--minutes", "60"))
    assert said["reasons"] == {"window": 2 * visits, "unsafe_method": pairs, "pinned": pairs}
    [now] = said["clusters"]
    primary, *replicas = now["servers"]
    assert (primary["reads"], primary["writes"]) == (2 * pairs, 2 + pairs)
    assert sum(each["reads"] for each in replicas) == 2 * visits
    # Four and the one that took the place of the one that ended; each that answered at all. What one counts
    # when it is about to end, it counts as another.
    assert 2 <= len({row["process"] for row in rows} - {""}) <= 2 * 5
    # All have ended in good order, and said so: their rows can be merged at once, and add up to the same.
    assert all(row["final"] for row in rows if row["process"])
    monkeypatch.setitem(
        connections.settings, "board", {**connections.settings["default"], "NAME": board_module.DATABASE}
    )
    table = RoutingStatistics.objects.using("board")
    assert roll_up(table, 86_400, int(time.time()) + 3600) == len([row for row in rows if row["process"]])
    (since_ever,) = table.in_total()
    assert Counter({(*key,): times for *key, times in since_ever.data["events"]}) == events
    merged = Counter()
    for _cluster, alias, operation, reason, would_be, count, _microseconds in since_ever.data["statements"]:
        merged["replicas" if alias in REPLICAS else alias, operation, reason, would_be] += count
    assert merged == statements
    took = Counter()
    for _cluster, alias, operation, buckets in since_ever.data["latency"]:
        took["replicas" if alias in REPLICAS else alias, operation] += sum(buckets)
    assert took == {
        ("replicas", "read"): 2 * visits,
        ("default", "read"): 2 * pairs,
        ("default", "write"): 2 + pairs,
    }


def end_one_worker(site):
    """Ask a process to end, and wait until another has taken its place."""
    before = set(site.workers())
    assert len(before) == 4
    victim = min(before)
    os.kill(victim, signal.SIGTERM)
    deadline = time.monotonic() + 30
    while victim in (now := set(site.workers())) or len(now) < 4:
        assert time.monotonic() < deadline, f"{victim} of {before} has not been replaced: {now}"
        time.sleep(0.05)
