"""Where servers listen."""

import os
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"

FIRST_PORT = 10_000
LAST_PORT = 32_767
"""The kernel hands out ports above this to clients, unless ip_local_port_range says otherwise."""


def free_port() -> int:
    """A port of 127.0.0.1 on which a server could listen now.

    Not one that the kernel gives to clients, as binding to port 0 would: while a server is
    down, a client's connection could take such a port away from it, or even connect to itself.
    Another program may take the port before the caller does, so callers have to try again.
    """
    for _ in range(1000):
        port = random.randint(FIRST_PORT, _last_port())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"No free TCP port on {LOOPBACK} between {FIRST_PORT} and {_last_port()}.")


def is_greeting(path: Path) -> bool:
    """Whether a server behind a Unix socket speaks, as those that send the first word do.

    It may listen long before it is ready to answer: it is given a second.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(os.fspath(path))
            return bool(connection.recv(1))
        except OSError:
            return False


def _last_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    except OSError:
        return LAST_PORT
    last = int(text.split()[0]) - 1
    # A range that begins too low leaves no room below it; then any port has to do.
    return last if last >= FIRST_PORT + 1000 else LAST_PORT
