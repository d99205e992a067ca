"""A thousand causal reads at once, while no replica applies anything, through gunicorn."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest

from django_rwrouter.servers.waiting import MAX_WAITING
from proofs.availability_run import Plan, serve
from proofs.faults import Stage
from tests.servers.faults.many_readers import ask_at_once
from tests.servers.product import on
from web_server import HOST

READS, WORKERS, THREADS = 1000, 2, 24
WAIT_TIMEOUT = 0.4
BUSY = 0.5
"""Seconds by which two reads may differ on a machine that has a thousand to answer."""
OTHERS = 3
"""Connections of a process besides those of its threads: the monitor's, and that of the statistics."""


@pytest.mark.parametrize("database", on("mariadb", "postgresql"))
def test_a_thousand_reads_at_once_do_not_wait_for_each_other(clusters, database, tmp_path):
    cluster = clusters(database)
    plan = Plan(
        database=database,
        server="gunicorn",
        fault="stop-applying",
        hit="all",
        workers=WORKERS,
        arguments=[f"--threads={THREADS}"],
        environment={"RWROUTER_WAIT_TIMEOUT": str(WAIT_TIMEOUT)},
    )
    stage = Stage(database=database, cluster=cluster)
    with serve(stage, plan, tmp_path / "log") as board:
        port = board.port
        for replica in cluster.replicas:
            cluster.pause(replica)
        post, cookie = write(port, board.thread)
        path = f"/api/posts/{post}/"
        # What the primary's read costs when a thousand are asked for, and none waits.
        plain, _ = ask_at_once(HOST, port, f"{path}?level=primary", cookie, READS)
        with most_connections(stage) as most:
            answers, seconds = ask_at_once(HOST, port, path, cookie, READS)
    assert {answer.status for answer in [*plain, *answers]} == {200}
    assert {answer.served_by for answer in answers} == {"default read=1 (behind)"}
    # Each costs at most the wait and the primary's read, apart from the time until a thread was free.
    # A few are held up by the others' work for the processors, not by their waiting.
    dearest = max(answer.server_seconds for answer in plain)
    nearly_all = sorted(answer.server_seconds for answer in answers)[: READS * 95 // 100]
    assert nearly_all[-1] < dearest + WAIT_TIMEOUT + BUSY
    # Not all of them: as many as there is room for at a time.
    waited = sum(answer.server_seconds >= WAIT_TIMEOUT for answer in answers)
    assert 0 < waited <= (seconds / WAIT_TIMEOUT + 1) * WORKERS * MAX_WAITING
    assert 0 < most[0] <= WORKERS * (THREADS + OTHERS)


def write(port, thread):
    """Write a post; returns its id, and the cookie that knows of it."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    body = json.dumps({"thread": thread, "author": "Ines", "text": "Jasmine."})
    connection.request("POST", "/api/posts/", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    post = json.loads(response.read())["id"]
    connection.close()
    return post, response.headers["Set-Cookie"].partition(";")[0]


@contextmanager
def most_connections(stage):
    """Yield a list with the most connections that the site had to the primary at once."""
    query = (
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'rwrouter'"
        if stage.is_mariadb
        else "SELECT count(*) FROM pg_stat_activity WHERE usename = 'rwrouter'"
    )
    most, ended = [0], threading.Event()

    def look():
        while not ended.wait(0.1):
            most[0] = max(most[0], int(stage.cluster.primary.sql(query)[0][0]))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()
