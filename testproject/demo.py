"""The board, ready to be tried: ``python testproject/demo.py [--db sqlite|mariadb|postgresql]``.

Prepares the databases, adds some content and an administrator, starts the web server, says which
pages to open, and stops everything on Ctrl-C or SIGTERM. Data is kept in a folder for the next
time.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from sqlite_replication.simulator import AlreadyReplicatingError, SQLiteReplicationSimulator
from web_server import HOST, TESTPROJECT, WebServerError, manage, web_server

# isort: split
# `web_server` puts `launcher` on the path.
from launcher.cluster import Cluster
from launcher.mariadb import MariaDBCluster, ServerError
from launcher.postgresql import PostgreSQLCluster

PORTS_TRIED = 50

Prepared = tuple[dict[str, str], list[tuple[str, str]]]
"""The environment of the web server, and commands for a terminal with what each does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until it is interrupted. Returns the exit status."""
    options = _parse(arguments)
    # SIGINT too: started in the background by a script, a program begins with that one ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with DATABASES[options.db](folder, options.lag) as (environment, commands):
            port = _choose_port(options.port)
            with web_server(environment, port) as process:
                _tell(
                    f"http://{HOST}:{port}", options.db, options.lag, _kept_secret(folder, "admin-password")
                )
                _tell_of_commands(_write_environment(folder, environment), commands)
                return process.wait()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except (ServerError, WebServerError) as error:
        print(error, file=sys.stderr)
        return 1


@contextmanager
def sqlite(folder: Path, lag: float) -> Iterator[Prepared]:
    """Prepare SQLite with two simulated replicas, which the lab has buttons for."""
    environment = _environment(folder) | {"DATA_DIR": str(folder), "SQLITE_REPLICA_LAG": str(lag)}
    manage(environment, "prepare_board")
    simulator = SQLiteReplicationSimulator(
        folder / "board.sqlite3",
        [folder / "replica1.sqlite3", folder / "replica2.sqlite3"],
        lag=lag,
    )
    try:
        simulator.start()
    except AlreadyReplicatingError:
        print("Another process replicates these files already; its replicas are used.")
    try:
        yield environment, []
    finally:
        simulator.stop()


@contextmanager
def mariadb(folder: Path, lag: float) -> Iterator[Prepared]:
    """Start a MariaDB primary with two replicas."""
    print("Starting MariaDB: a primary and two replicas.", flush=True)
    with MariaDBCluster(replicas=2, folder=folder / "mariadb", database="board") as cluster:
        cluster.primary.sql(f"GRANT REPLICA MONITOR ON *.* TO {_user(cluster)}@'%'")
        replica = cluster.replicas[0].administration
        with _prepared(cluster, folder, lag) as environment:
            yield (
                environment,
                [
                    ("stop replica1 from applying", f"{replica} -e 'STOP REPLICA SQL_THREAD'"),
                    ("let it apply again", f"{replica} -e 'START REPLICA SQL_THREAD'"),
                    *_signals(cluster),
                ],
            )


@contextmanager
def postgresql(folder: Path, lag: float) -> Iterator[Prepared]:
    """Start a PostgreSQL primary with two standbys."""
    print("Starting PostgreSQL: a primary and two replicas.", flush=True)
    with PostgreSQLCluster(replicas=2, folder=folder / "postgresql", database="board") as cluster:
        cluster.primary.sql(f"GRANT pg_monitor TO {_user(cluster)}")
        replica = cluster.replicas[0].administration
        with _prepared(cluster, folder, lag) as environment:
            yield (
                environment,
                [
                    ("stop replica1 from replaying", f"{replica} -c 'SELECT pg_wal_replay_pause()'"),
                    ("let it replay again", f"{replica} -c 'SELECT pg_wal_replay_resume()'"),
                    *_signals(cluster),
                ],
            )


@contextmanager
def _prepared(cluster: Cluster[Any], folder: Path, lag: float) -> Iterator[dict[str, str]]:
    """Prepare a cluster's content, and make its replicas late. Yields the environment of the web server."""
    environment = _environment(folder) | cluster.environment() | {"CONN_MAX_AGE": "60"}
    for replica in cluster.replicas:
        cluster.delay(replica, 0)  # The last demo in this folder may have set another.
    manage(environment, "prepare_board")
    cluster.wait_all()
    for replica in cluster.replicas:
        cluster.delay(replica, round(lag))  # in whole seconds
    yield environment


def _user(cluster: Cluster[Any]) -> str:
    """Return whom the board connects as."""
    return str(urlsplit(cluster.primary.url()).username)


def _signals(cluster: Cluster[Any]) -> list[tuple[str, str]]:
    # PostgreSQL has a process for each connection, in a session of its own.
    pid = cluster.replicas[0].pid
    target = f"{pid} $(pgrep -P {pid})"
    return [
        ("freeze replica1", f"kill -STOP {target}"),
        ("let it go on", f"kill -CONT {target}"),
        ("kill replica1, until the next make demo", f"kill -KILL {target}"),
    ]


DATABASES: Mapping[str, Callable[[Path, float], AbstractContextManager[Prepared]]] = {
    "sqlite": sqlite,
    "mariadb": mariadb,
    "postgresql": postgresql,
}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs the message board until Ctrl-C.")
    parser.add_argument("--db", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--port", type=int, default=8000, help="or the next one that is free")
    parser.add_argument(
        "--lag",
        type=float,
        help="how late the replicas are, in seconds: 2 for SQLite; 1 for the others, which count in whole "
        "seconds, and with 0 are as late as they are by nature",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=TESTPROJECT / ".demo",
        help="where the data is kept (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.lag is None:
        options.lag = 2.0 if options.db == "sqlite" else 1.0
    return options


def _environment(folder: Path) -> dict[str, str]:
    return {
        "DEBUG": "0",
        "SECRET_KEY": _kept_secret(folder, "secret-key"),
        "BOARD_ADMIN_PASSWORD": _kept_secret(folder, "admin-password"),
        # The admin's page follows what visitors do without much delay.
        "RWROUTER_FLUSH_SECONDS": "2",
        # What the replicas are late for: readers that wrote wait for them, and nobody else.
        "RWROUTER_CONSISTENCY": os.environ.get("RWROUTER_CONSISTENCY", "causal"),
    }


def _kept_secret(folder: Path, name: str) -> str:
    """Return a random string, the same one each time: sessions and a browser remember it."""
    path = folder / name
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32 if name == "secret-key" else 9))
    return path.read_text()


def _choose_port(wanted: int) -> int:
    for port in range(wanted, wanted + PORTS_TRIED):
        with socket.socket() as probe:
            # As servers do: connections of a former server that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise WebServerError(f"No port between {wanted} and {wanted + PORTS_TRIED - 1} is free.")


def _tell(address: str, db: str, lag: float, password: str) -> None:
    replicas = {
        "sqlite": f"SQLite, with two simulated replicas that are {lag:g} s late",
        "mariadb": f"MariaDB, a primary with two replicas that are {round(lag)} s late",
        "postgresql": f"PostgreSQL, a primary with two replicas that are {round(lag)} s late",
    }[db]
    print(
        f"""
The message board is running on {replicas}.

  Board                {address}/
  Lab                  {address}/lab/
  Three servers        {address}/lab/three/
  Read/write routing   {address}/admin/    (log in as admin, password {password})

Write something and look at the foot of the page: it names the databases that served you.
Ctrl-C stops it.""",
        flush=True,
    )


def _write_environment(folder: Path, environment: dict[str, str]) -> Path:
    """Keep what another terminal needs to see this demo; returns the file, which a shell can read."""
    path = folder / "environment"
    path.touch(mode=0o600)
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))
    return path


def _tell_of_commands(file: Path, commands: Sequence[tuple[str, str]]) -> None:
    manage_py = f"{sys.executable} {TESTPROJECT / 'manage.py'}"
    print("\nIn another terminal:\n")
    print(f"  # what the router knows of this demo\n  . {file} && {manage_py} rwrouter status")
    for what, command in commands:
        print(f"  # {what}\n  {command}")
    print(flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
