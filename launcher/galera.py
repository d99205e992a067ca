"""A Galera cluster of MariaDB servers on this machine."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.mariadb import PRIMARY_FILES, MariaDBCluster, _write_settings
from launcher.mariadb_data import create_data
from launcher.mariadb_server import MariaDBServer
from launcher.ports import LOOPBACK, free_port
from launcher.process import ServerError
from launcher.workspace import Workspace

__all__ = ["GaleraCluster", "GaleraServer"]

PROVIDERS = (
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
)
PROVIDER_OPTIONS = (
    # No node waits for a late one: the tests make them late.
    "gcs.fc_limit=1000000;gcache.size=16M;pc.recovery=false;"
    # A node that was killed is missed after two seconds, not five; until then nobody can commit.
    "evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT5S"
)
PAUSED = 31_536_000
"""A `long_query_time` by which the trigger of a paused node knows that it is paused."""
PAUSE_ROWS = 20_000
"""The trigger's sleeps, of 50 ms: a pause lasts a thousand seconds at most."""


class GaleraServer(MariaDBServer):
    """A node; see MariaDBServer."""

    peers: Sequence["GaleraServer"] = ()
    bootstraps = False
    """Whether it begins the cluster."""
    _group_port = 0
    _position = ""

    def _command(self, port: int) -> Sequence[str]:
        # The script is looked up on PATH.
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PATH", os.defpath)])
        self._group_port = self._group_port or free_port()
        options = (
            f"gmcast.listen_addr=tcp://{LOOPBACK}:{self._group_port};"
            f"ist.recv_addr={LOOPBACK}:{free_port()};{PROVIDER_OPTIONS}"
        )
        others = [] if self.bootstraps else [peer for peer in self.peers if peer.is_running()]
        return [
            *("env", f"PATH={path}"),
            *super()._command(port),
            "--wsrep-on=ON",
            f"--wsrep-provider={_provider()}",
            "--wsrep-cluster-name=rwrouter",
            "--wsrep-cluster-address=gcomm://" + ",".join(peer.group_address for peer in others),
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address={LOOPBACK}",
            "--wsrep-sst-method=handoff",
            f"--wsrep-provider-options={options}",
            *([f"--wsrep-start-position={self._position}"] if self._position else []),
        ]

    @property
    def group_address(self) -> str:
        """Where the other nodes reach it."""
        return f"{LOOPBACK}:{self._group_port}"

    def start(self, timeout: float = 30.0) -> None:
        """Start it; returns when it is synced. One that was killed goes on where it was."""
        self._position = self._recovered() if self.port and not self.is_running() else ""
        super().start(timeout)

    def _recovered(self) -> str:
        """Where a node that was killed stands; a node that was stopped has written it down."""
        if "seqno:   -1" not in (self.data / "grastate.dat").read_text(encoding="utf-8"):
            return ""
        self._position = ""
        output = subprocess.run(
            [*self._command(self.port), "--wsrep-recover"], capture_output=True, check=False, timeout=60
        ).stderr.decode(errors="replace")
        match = re.search(r"Recovered position: *([0-9a-f-]+:\d+)", output)
        if match is None:
            raise ServerError(f"{self} does not say where it stands:\n{output[-2000:]}")
        return match[1]

    def _answers(self) -> bool:
        if not super()._answers():
            return False
        try:
            return _status(self, "wsrep_local_state_comment") == "Synced"
        except ServerError:
            return False


class GaleraCluster(MariaDBCluster):
    """Galera nodes: the application writes to the first, `primary`, and reads from the others.

    Nobody waits for a late node (flow control is off). `pause()` lets a node receive, stay synced,
    and apply nothing; `desync()` takes it out of the group's care.
    """

    def pause(self, replica: MariaDBServer) -> None:
        """Let the node apply nothing more. It goes on receiving, and calls itself synced."""
        replica.sql(
            f"SET GLOBAL slave_run_triggers_for_rbr = YES; SET GLOBAL long_query_time = {PAUSED};"
            "SET SESSION wsrep_on = OFF;"
            "CREATE OR REPLACE TRIGGER launcher.late BEFORE INSERT ON launcher.late FOR EACH ROW "
            f"DO SLEEP(IF(@@GLOBAL.long_query_time = {PAUSED}, 0.05, 0))"
        )
        # All that comes later waits behind this write set.
        rows = f"seq_1_to_{PAUSE_ROWS}"
        self.primary.sql(f"USE launcher; TRUNCATE late; INSERT INTO late SELECT seq FROM {rows}")  # noqa: S608

    def resume(self, replica: MariaDBServer) -> None:
        """Let the node apply what it has received meanwhile."""
        replica.sql("SET GLOBAL long_query_time = 10; SET GLOBAL slave_run_triggers_for_rbr = NO")

    def delay(self, replica: MariaDBServer, seconds: int) -> None:
        """Not with Galera."""
        raise ServerError("A Galera node cannot be delayed: pause() it.")

    def desync(self, replica: MariaDBServer, *, on: bool = True) -> None:
        """Let a node be Donor/Desynced, as one is that sends another its data; or synced again."""
        replica.sql(f"SET GLOBAL wsrep_desync = {int(on)}")

    def position(self) -> str:
        """The number of the last write set that the primary has committed."""
        return _status(self.primary, "wsrep_last_committed")

    def wait(self, replica: MariaDBServer, timeout: float = 10.0) -> None:
        """Return when the node has committed all that the primary has committed up to now."""
        position, deadline = int(self.position()), time.monotonic() + timeout
        while int(_status(replica, "wsrep_last_committed")) < position:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{replica} has not committed {position} in {timeout:g} s.")
            time.sleep(0.01)

    def _catch_up(self, replica: MariaDBServer) -> None:
        self.resume(replica)
        if _status(replica, "wsrep_desync_count") not in ("", "0"):
            replica.sql("SET GLOBAL wsrep_desync = 0")

    def _follow(self, replica: MariaDBServer, primary: MariaDBServer, timeout: float) -> None:
        """Nothing: each node follows all others."""

    def _promote(self, replica: MariaDBServer, timeout: float) -> None:
        """Nothing: each node takes writes."""

    def _start(self, workspace: Workspace) -> None:
        if workspace.is_kept:
            raise ServerError("A Galera cluster lives in a temporary folder: leave out the folder.")
        _provider()
        first = self._node(workspace, 1)
        nodes = [first, *(self._node(workspace, number + 2) for number in range(self._replica_count))]
        for node in nodes:
            node.peers = [other for other in nodes if other is not node]
        self._primary, self.replicas = first, list(nodes[1:])
        create_data([first.data], settings=first.settings)
        first.bootstraps = True
        first.start()
        self._set_up_primary()
        first.sql(
            "DROP USER IF EXISTS root@'127.0.0.1', root@'::1'; CREATE DATABASE launcher;"
            "CREATE TABLE launcher.late (id INT PRIMARY KEY) ENGINE = InnoDB"
        )
        first.stop()
        # The others begin with a copy, so that no state has to be transferred.
        for node in nodes[1:]:
            ignore = shutil.ignore_patterns("galera.cache", "gvwstate.dat", "sst_in_progress")
            shutil.copytree(first.data, node.data, ignore=ignore)
        first.start()
        first.bootstraps = False
        for node in nodes[1:]:
            node.start()
        self._sources = dict.fromkeys(self.replicas, self.primary)

    def _node(self, workspace: Workspace, number: int) -> GaleraServer:
        folder = workspace.folder / f"node{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        node = GaleraServer(
            folder,
            socket=workspace.temporary / f"node{number}.socket",
            server_id=number,
            account=self._account,
            watchdog=workspace.watchdog,
            options=(
                *("--skip-log-bin", "--gtid-strict-mode=OFF", "--innodb-autoinc-lock-mode=2"),
                *self._options,
            ),
        )
        _write_settings(node, PRIMARY_FILES)
        return node


def _status(server: MariaDBServer, name: str) -> str:
    rows = server.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")
    return rows[0][1] or "" if rows else ""


def _provider() -> str:
    for path in PROVIDERS:
        if Path(path).exists():
            return path
    raise ServerError(
        "The library libgalera_smm.so was not found. On Debian or Ubuntu install it "
        "with: apt-get install galera-4"
    )
