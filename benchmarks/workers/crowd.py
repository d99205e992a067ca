"""Stands in for the monitors of many processes at one server: as many connections, and as many questions.

Arguments: the server's URL and process id, how many processes, and for how long. Prints JSON: what the
connections have made the server's memory grow by, and what a SELECT by primary key of somebody else takes.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import MySQLdb

from benchmarks.statistics import percentile
from django_rwrouter.databases.mariadb import REPLICA_QUESTION as QUESTION

THREADS = 4
INTERVAL_SECONDS = 1.0
"""The default of MONITOR["INTERVAL"]."""


def main(url: str, pid: int, processes: int, seconds: float) -> dict[str, float | None]:
    """Stand in for so many monitors for so long."""
    address = urlsplit(url)
    connect: dict[str, Any] = {
        "host": address.hostname,
        "port": address.port,
        "user": address.username,
        "passwd": address.password,
        "db": address.path.strip("/"),
        "autocommit": True,
        "connect_timeout": 10,
        "read_timeout": 10,
    }
    before = _resident(pid)
    crowd = [MySQLdb.connect(**connect) for _ in range(processes)]
    end = time.monotonic() + seconds
    asked = [0] * THREADS
    threads = [
        threading.Thread(target=_ask, args=(crowd[number::THREADS], end, asked, number))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    times = []
    with MySQLdb.connect(**connect).cursor() as cursor:
        while time.monotonic() < end:
            started = time.perf_counter()
            cursor.execute("SELECT version FROM website_item WHERE id = 1")
            cursor.fetchone()
            times.append((time.perf_counter() - started) * 1e6)
            time.sleep(0.002)
    for thread in threads:
        thread.join()
    return {
        "asked": sum(asked) / seconds,
        "server_mb": _resident(pid) - before,
        "p50": percentile(times, 50),
        "p99": percentile(times, 99),
    }


def _ask(connections: list[Any], end: float, asked: list[int], number: int) -> None:
    """Ask on each connection in turn, so that each asks once in an interval."""
    if not connections:
        return
    pause = INTERVAL_SECONDS / len(connections)
    due = time.monotonic()
    while due < end:
        for connection in connections:
            time.sleep(max(0.0, due - time.monotonic()))
            with connection.cursor() as cursor:
                cursor.execute(QUESTION)
                cursor.fetchall()
            asked[number] += 1
            due += pause
            if due >= end:
                return


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kilobytes) / 1024


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
