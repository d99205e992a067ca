"""A PostgreSQL primary with streaming replicas, on this machine."""

import contextlib
import os
import signal
import time
from concurrent import futures

from launcher.cluster import Cluster
from launcher.postgresql_data import (
    connection_string,
    copy_data,
    create_data,
    find_programs,
    hand_over,
    identifier,
    literal,
    system_user,
)
from launcher.postgresql_server import PostgreSQLServer
from launcher.process import ServerError
from launcher.workspace import Workspace

__all__ = ["PostgreSQLCluster", "PostgreSQLServer", "ServerError"]

POLL_SECONDS = 0.005
"""Between two looks at a replica, besides what starting psql takes."""


class PostgreSQLCluster(Cluster[PostgreSQLServer]):
    """A PostgreSQL primary with streaming replicas, asynchronous; see Cluster.

    The application's user owns the database and may create others, for Django's test runner. It
    has no other privilege. Started by root, the servers run as `postgres` or `nobody`.
    """

    def pause(self, replica: PostgreSQLServer) -> None:
        """Let the replica apply nothing more. It goes on receiving; restarting it resumes."""
        replica.sql("SELECT pg_wal_replay_pause()", database="postgres")
        deadline = time.monotonic() + 10.0
        # It is only a request. A delayed replica keeps it for later, and applies nothing meanwhile.
        while (status := replica.replication_status())["pause"] == "pause requested":
            if status["delay"] != "0":
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{replica} does not pause: {status}")
            time.sleep(POLL_SECONDS)

    def resume(self, replica: PostgreSQLServer) -> None:
        """Let the replica apply what it has received meanwhile."""
        replica.sql("SELECT pg_wal_replay_resume()", database="postgres")

    def delay(self, replica: PostgreSQLServer, seconds: int) -> None:
        """Keep the replica this many whole seconds behind; 0 ends that. Also resumes it."""
        replica.configure(recovery_min_apply_delay=f"{seconds:d}s" if seconds else "0")
        self.resume(replica)

    def position(self) -> str:
        """The LSN up to which the primary has written its log and flushed it, now."""
        return self.primary.sql("SELECT pg_current_wal_flush_lsn()", database="postgres")[0][0] or ""

    def wait(self, replica: PostgreSQLServer, timeout: float = 10.0) -> None:
        """Return when the replica has applied all that was committed on the primary up to now.

        Raises TimeoutError if it has not after `timeout` seconds, also when it is frozen.
        """
        deadline = time.monotonic() + timeout
        source = self._sources.get(replica)
        if source not in (None, self.primary):
            # Numbers of two histories cannot be compared.
            raise TimeoutError(f"{replica} follows {source}, not {self.primary}: see follow().")
        position = self._flushed_position()
        query = f"SELECT pg_last_wal_replay_lsn() >= '{position}', pg_last_wal_replay_lsn()"
        while True:
            left = max(0.0, deadline - time.monotonic())
            # Not a loop in the server: its snapshot could conflict with what it waits for.
            [(reached, replayed)] = replica.sql(query, timeout=left + 1.0, database="postgres")
            if reached == "t":
                return
            if left == 0.0:
                raise TimeoutError(
                    f"{replica} has not reached {position} in {timeout:g} s; it is at {replayed}. "
                    f"{replica.replication_status()}"
                )
            time.sleep(POLL_SECONDS)

    def _flushed_position(self) -> str:
        """A position that also covers commits with synchronous_commit=off, flushed by one that is not.

        The insert position would cover them too, but stays out of reach of the replicas while it
        covers an open transaction.
        """
        rows = self.primary.sql(
            "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'launcher', '') "
            "WHERE pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn();"
            "SELECT pg_current_wal_flush_lsn()",
            database="postgres",
        )
        return rows[-1][0] or ""

    def _catch_up(self, replica: PostgreSQLServer) -> None:
        status = replica.replication_status()
        if status["delay"] != "0":
            self.delay(replica, 0)
        elif status["pause"] != "not paused":
            self.resume(replica)

    # --- failover -------------------------------------------------------------------------

    def _disconnect(self, replica: PostgreSQLServer) -> None:
        replica.configure(primary_conninfo="")
        deadline = time.monotonic() + 10.0
        while (receiver := replica.replication_status()["receiver"]) is not None:
            # By itself it ends only when the replica comes to look for more: not while it is paused.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(receiver), signal.SIGTERM)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{replica} goes on receiving: {replica.replication_status()}")
            time.sleep(POLL_SECONDS)

    def _promote(self, replica: PostgreSQLServer, timeout: float) -> None:
        seconds = max(1, round(timeout))
        promoted = replica.sql(
            f"SELECT pg_promote(true, {seconds})", timeout=timeout + 1.0, database="postgres"
        )
        if promoted != [("t",)]:
            raise TimeoutError(f"{replica} has not become a primary in {seconds} s.")
        replica.configure(primary_conninfo="", recovery_min_apply_delay="0")

    def _follow(self, replica: PostgreSQLServer, primary: PostgreSQLServer, timeout: float) -> None:
        replica.configure(primary_conninfo=self._connection(replica, primary), recovery_min_apply_delay="0")
        self.resume(replica)  # before that it would not turn to the other one
        deadline = time.monotonic() + timeout
        # A replica says "streaming" before it has been answered, and one that has diverged streams
        # its old timeline again and again; so the primary is asked, and the timelines are compared.
        query = (
            "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_stat_replication "  # noqa: S608
            f"WHERE state = 'streaming' AND application_name = '{replica.name}'"
        )
        while True:
            status = replica.replication_status()
            here = (status["primary_port"], f"{int(status['timeline'] or 0):08X}")
            for (timeline,) in primary.sql(query, database="postgres"):
                if here == (str(primary.port), timeline):
                    return
            if time.monotonic() > deadline:
                raise ServerError(f"{replica} does not follow {primary}:\n{replica.log_tail()}")
            time.sleep(POLL_SECONDS)

    def _copy_primary(self, server: PostgreSQLServer) -> None:
        copy_data(server.data, system_user(), socket=self.primary.socket, port=self.primary.port)
        server.configure(
            primary_conninfo=self._connection(server, self.primary), recovery_min_apply_delay="0"
        )
        server.start()

    def _connection(self, replica: PostgreSQLServer, primary: PostgreSQLServer) -> str:
        return connection_string(
            {
                "host": primary.host,
                "port": str(primary.port),
                "user": "replication",
                "password": self._replication_password,
                "application_name": replica.name,
            }
        )

    # --- starting -------------------------------------------------------------------------

    def _start(self, workspace: Workspace) -> None:
        find_programs()
        hand_over(workspace.temporary, system_user())
        self._primary = self._server(workspace, "primary")
        self.replicas = [
            self._server(workspace, f"replica{number}") for number in range(1, self._replica_count + 1)
        ]
        if not self.primary.data.exists():
            create_data(self.primary.data, system_user())
        self.primary.start()
        self._set_up_primary()
        with futures.ThreadPoolExecutor(max(1, len(self.replicas))) as pool:
            list(pool.map(self._start_replica, self.replicas))

    def _server(self, workspace: Workspace, name: str) -> PostgreSQLServer:
        folder = workspace.folder / name
        folder.mkdir(exist_ok=True)
        hand_over(folder, system_user())
        return PostgreSQLServer(
            folder,
            sockets=workspace.temporary,
            account=self._account,
            watchdog=workspace.watchdog,
            system_user=system_user(),
            options=self._options,
        )

    def _set_up_primary(self) -> None:
        """Roles and database; a kept folder has them, with older passwords."""
        account, sql = self._account, self.primary.sql
        user, database = identifier(account.user), identifier(account.database)
        roles = {role for (role,) in sql("SELECT rolname FROM pg_roles", database="postgres")}
        databases = {name for (name,) in sql("SELECT datname FROM pg_database", database="postgres")}
        verb = {True: "ALTER", False: "CREATE"}
        owner = "OWNER TO" if account.database in databases else "OWNER"
        sql(
            f"{verb[account.user in roles]} ROLE {user} LOGIN CREATEDB"
            f" PASSWORD {literal(account.password)};"
            f"{verb['replication' in roles]} ROLE replication LOGIN REPLICATION"
            f" PASSWORD {literal(self._replication_password)};"
            f"{verb[account.database in databases]} DATABASE {database} {owner} {user}",
            database="postgres",
        )
        # What `sql()` creates is the application's to use.
        sql(
            f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {user};"
            f"ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {user}"
        )

    def _start_replica(self, replica: PostgreSQLServer) -> None:
        if replica.data.exists():
            replica.configure(primary_conninfo=self._connection(replica, self.primary))
            replica.start()
        else:
            self._copy_primary(replica)
        self._sources[replica] = self.primary
