"""`python -m launcher mariadb --replicas 2`: a cluster in the foreground, or around a command."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

from launcher.cluster import Cluster
from launcher.galera import GaleraCluster
from launcher.mariadb import MariaDBCluster
from launcher.mysql import MySQLCluster
from launcher.postgresql import PostgreSQLCluster
from launcher.process import ServerError
from launcher.server import Server

CLUSTERS: dict[str, type[Cluster[Any]]] = {
    "mariadb": MariaDBCluster,
    "galera": GaleraCluster,
    "mysql": MySQLCluster,
    "postgresql": PostgreSQLCluster,
}


def main(arguments: Sequence[str]) -> int:
    """Run a cluster until Ctrl-C or SIGTERM, or until the command ends, whose status it returns."""
    ours, command = _split(arguments)
    options = _parser().parse_args(ours)
    # SIGINT too: started in the background by a script, a program begins with that one ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        cluster_class = CLUSTERS[options.kind]
        with cluster_class(options.replicas, options.folder, database=options.database) as cluster:
            if command:
                return _run(command, cluster.environment())
            _describe(cluster)
            while True:
                signal.pause()
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launcher",
        usage="%(prog)s DATABASE [--replicas N] [--folder FOLDER] [--database NAME] [-- COMMAND]",
        description="Starts a primary with replicas on 127.0.0.1 and prints DATABASE_URL and "
        "REPLICA_URLS; or runs COMMAND with these in its environment, then stops the servers.",
    )
    parser.add_argument("kind", metavar="DATABASE", choices=list(CLUSTERS), help=", ".join(CLUSTERS))
    parser.add_argument("--replicas", type=int, default=2, metavar="N", help="2 if not given")
    parser.add_argument("--folder", help="where data is kept; temporary if not given")
    parser.add_argument("--database", default="rwrouter", metavar="NAME", help="rwrouter by default")
    return parser


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Our arguments, and the command after `--`, whose own options are none of ours."""
    if "--" not in arguments:
        return list(arguments), []
    end = arguments.index("--")
    return list(arguments[:end]), list(arguments[end + 1 :])


def _run(command: Sequence[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # after Ctrl-C it has been told already; once more does no harm
            process.terminate()
            return process.wait()


def _describe(cluster: Cluster[Server]) -> None:
    """The environment on standard output, ready for a file; what a person may want on the other."""
    for name, value in cluster.environment().items():
        print(f"{name}={value}", flush=True)
    for server in cluster.servers:
        print(f"# {server.name}, as administrator: {server.administration}", file=sys.stderr)
    print("# Ctrl-C stops the servers.", file=sys.stderr)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
