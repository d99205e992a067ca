"""Asks replicas how far they have replayed, and writes down when that changes, until its input ends.

A line is a replica's name, a time (monotonic seconds) and a sequence number. The time is that of the last
look before the change was seen: the replica had it no earlier.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import TextIO

import MySQLdb

INTERVAL_SECONDS = 0.0015
RETRY_SECONDS = 0.2


def record(name: str, socket: str, output: TextIO) -> None:
    """Watch one replica."""
    newest, looked = -1, time.monotonic()
    while True:
        try:
            connection = MySQLdb.connect(unix_socket=socket, user="root", autocommit=True, read_timeout=2)
            with connection.cursor() as cursor:
                while True:
                    began = time.monotonic()
                    cursor.execute("SELECT @@gtid_slave_pos")
                    [position] = cursor.fetchone()
                    number = int(position.rsplit("-", 1)[-1] or 0) if position else 0
                    if number > newest:
                        output.write(f"{name} {looked:.6f} {number}\n")
                        output.flush()
                        newest = number
                    looked = began
                    time.sleep(INTERVAL_SECONDS)
        except MySQLdb.Error:  # It is down, or frozen: a fault that is measured.
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="ascii") as file:  # noqa: PTH123
        for each, path in json.loads(sys.argv[2]).items():
            threading.Thread(target=record, args=(each, path, file), daemon=True).start()
        sys.stdin.read()
