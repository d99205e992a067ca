"""The message board under load: its clusters, its web servers, and the thread that users write to."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from weakref import WeakSet

from launcher.ports import free_port
from proofs.client import Browser
from web_server import HOST, manage, web_server

CLUSTERS = {
    "mariadb": ("launcher.mariadb", "MariaDBCluster"),
    "mysql": ("launcher.mysql", "MySQLCluster"),
    "postgresql": ("launcher.postgresql", "PostgreSQLCluster"),
}
SERVERS = {"gunicorn": "/api", "uvicorn": "/api/async"}
"""Which part of the board's API is asked through which web server."""
DATABASE = "board"
_with_tables: WeakSet[Any] = WeakSet()
"""Clusters that have the board's tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board that is served."""

    port: int
    prefix: str
    """Of the API's paths."""
    thread: int
    """Where users write."""
    post: int
    """A post that every database has."""
    host: str = HOST


def add_site_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a proof can be told of the site."""
    parser.add_argument("--server", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="processes of the site")


def new_cluster(database: str, replicas: int) -> Any:
    """Return a cluster that is not started yet."""
    module, name = CLUSTERS[database]
    return getattr(import_module(module), name)(replicas=replicas, database=DATABASE)


@contextmanager
def served(
    cluster: Any,
    environment: Mapping[str, str],
    *,
    server: str,
    workers: int,
    threads: int = 4,
    arguments: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[Board]:
    """Serve the board on a running cluster; ``environment`` has settings of the site that are not usual."""
    environment = {
        **cluster.environment(),
        "ALLOWED_HOSTS": HOST,
        # Under ASGI each request has a thread of its own, and with it a connection.
        "CONN_MAX_AGE": "60" if server == "gunicorn" else "0",
        "DEBUG": "0",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOAD_TEST_API": "1",
        "SECRET_KEY": secrets.token_urlsafe(32),
        **environment,
    }
    if cluster not in _with_tables:
        manage(environment, "migrate", "--verbosity=0", "--no-input")
        _with_tables.add(cluster)
    port = free_port()
    with web_server(
        environment, port, server=server, workers=workers, threads=threads, arguments=arguments, log=log
    ):
        thread, post = _start_thread(port)
        cluster.wait_all()
        yield Board(port=port, prefix=SERVERS[server], thread=thread, post=post)


def _start_thread(port: int) -> tuple[int, int]:
    browser = Browser(HOST, port)
    try:
        text = {"title": "Load test", "author": "load test", "text": "Here it goes."}
        thread = int(json.loads(browser.post("/api/threads/", text).body)["id"])
        newest = browser.get("/api/latest/?author=load+test")
        return thread, int(json.loads(newest.body)["id"])
    finally:
        browser.close()
