"""The board, ready to be tried: ``python testproject/demo.py [--db sqlite|mariadb]``.

Prepares the databases, adds some content and an administrator, starts the web server, says which
pages to open, and stops everything on Ctrl-C or SIGTERM. Data is kept in a folder for the next
time.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sqlite_replication.simulator import AlreadyReplicatingError, SQLiteReplicationSimulator
from web_server import HOST, TESTPROJECT, WebServerError, manage, web_server

# isort: split
# `web_server` puts `servers` on the path.
from launcher.mariadb import MariaDBCluster, ServerError

PORTS_TRIED = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo until it is interrupted. Returns the exit status."""
    options = _parse(arguments)
    # SIGINT too: started in the background by a script, a program begins with that one ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    on_database = mariadb if options.db == "mariadb" else sqlite
    try:
        with on_database(folder, options.lag) as environment:
            port = _choose_port(options.port)
            with web_server(environment, port) as process:
                _tell(
                    f"http://{HOST}:{port}", options.db, options.lag, _kept_secret(folder, "admin-password")
                )
                return process.wait()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except (ServerError, WebServerError) as error:
        print(error, file=sys.stderr)
        return 1


@contextmanager
def sqlite(folder: Path, lag: float) -> Iterator[dict[str, str]]:
    """Prepare SQLite with two simulated replicas. Yields the environment of the web server."""
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
        yield environment
    finally:
        simulator.stop()


@contextmanager
def mariadb(folder: Path, lag: float) -> Iterator[dict[str, str]]:
    """Start a MariaDB primary with two replicas. Yields the environment of the web server."""
    print("Starting MariaDB: a primary and two replicas.", flush=True)
    with MariaDBCluster(replicas=2, folder=folder / "mariadb", database="board") as cluster:
        environment = _environment(folder) | cluster.environment() | {"CONN_MAX_AGE": "60"}
        for replica in cluster.replicas:
            cluster.delay(replica, 0)  # The last demo in this folder may have set another.
        manage(environment, "prepare_board")
        cluster.wait_all()
        for replica in cluster.replicas:
            cluster.delay(replica, round(lag))  # in whole seconds
        yield environment


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs the message board until Ctrl-C.")
    parser.add_argument("--db", choices=["sqlite", "mariadb"], default="sqlite")
    parser.add_argument("--port", type=int, default=8000, help="or the next one that is free")
    parser.add_argument(
        "--lag",
        type=float,
        help="how late the replicas are, in seconds: 2 for SQLite; 0 for MariaDB, which then is "
        "as late as it is by nature, and which counts in whole seconds",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=TESTPROJECT / ".demo",
        help="where the data is kept (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if options.lag is None:
        options.lag = 2.0 if options.db == "sqlite" else 0.0
    return options


def _environment(folder: Path) -> dict[str, str]:
    return {
        "DEBUG": "0",
        "SECRET_KEY": _kept_secret(folder, "secret-key"),
        "BOARD_ADMIN_PASSWORD": _kept_secret(folder, "admin-password"),
        # The admin's page follows what visitors do without much delay.
        "RWROUTER_FLUSH_SECONDS": "2",
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
        "mariadb": "MariaDB, a primary with two replicas"
        + (f" that are {round(lag)} s late" if round(lag) else ""),
    }[db]
    print(
        f"""
The message board is running on {replicas}.

  Board                {address}/
  Lab                  {address}/lab/
  Read/write routing   {address}/admin/    (log in as admin, password {password})

Write something and look at the foot of the page: it names the databases that served you.
Ctrl-C stops it.""",
        flush=True,
    )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
