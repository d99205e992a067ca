"""What is done to the cluster before and after each test, quickly.

``MariaDBServer.sql()`` starts a program for each call: right for a demo, slow for hundreds of tests. Here the
administrator's sessions are kept open.
"""

from contextlib import closing

import MySQLdb.cursors

from launcher.watchdog import proc_stat

TIMEOUT = 10
"""Seconds that replicas are given to catch up."""


class Administrator:
    """Runs single statements as root, through the Unix socket; rows are dicts."""

    def __init__(self, server):
        self._server = server
        self._connection = None
        self._pid = None

    def __call__(self, statement):
        with closing(self._session().cursor()) as cursor:
            cursor.execute(statement)
            return list(cursor)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _session(self):
        if self._connection is None or self._pid != self._server.pid:  # It was started anew.
            self._pid = self._server.pid
            self._connection = MySQLdb.connect(
                unix_socket=str(self._server.socket),
                user="root",
                charset="utf8mb4",
                autocommit=True,
                read_timeout=TIMEOUT + 1,
                cursorclass=MySQLdb.cursors.DictCursor,
            )
        return self._connection


class Administration:
    """What is done to all servers again and again."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._as_root = {server: Administrator(server) for server in cluster.servers}

    def ask(self, server, statement):
        """Run a statement on a server."""
        return self._as_root[server](statement)

    def level(self):
        """Return when every replica has applied all that the primary has logged up to now."""
        [primary] = self.ask(self._cluster.primary, "SELECT @@global.gtid_binlog_pos AS position")
        wait = f"SELECT MASTER_GTID_WAIT('{primary['position']}', {TIMEOUT}) AS result"
        for replica in self._cluster.replicas:
            [answer] = self.ask(replica, wait)
            if answer["result"] != 0:
                self._cluster.wait(replica, timeout=0.1)  # Raises, and says why.

    def pause(self):
        """Let no replica apply anything more."""
        for replica in self._cluster.replicas:
            self.ask(replica, "STOP REPLICA SQL_THREAD")

    def resume(self):
        """Let replicas that are merely paused go on. Whatever else was done to the servers is undone, too."""
        if not all(map(self._is_well, self._cluster.servers)):
            self._cluster.heal()
            return
        for replica in self._cluster.replicas:
            self.ask(replica, "START REPLICA SQL_THREAD")

    def empty(self, tables):
        """Delete all rows."""
        self.ask(self._cluster.primary, "SET FOREIGN_KEY_CHECKS = 0")
        for table in tables:
            self.ask(self._cluster.primary, f"DELETE FROM {table}")

    def close(self):
        """End the sessions."""
        for administrator in self._as_root.values():
            administrator.close()

    def _is_well(self, server):
        if not server.is_running() or proc_stat(server.pid)[:1] == ["T"]:
            return False
        status = self.ask(server, "SHOW REPLICA STATUS")  # Nothing on the primary.
        return all((each["Slave_IO_Running"], each["SQL_Delay"]) == ("Yes", 0) for each in status)
