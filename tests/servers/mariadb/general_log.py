"""What a server was really asked, as it says itself."""

from contextlib import contextmanager

from tests.servers.mariadb import settings as ours

_ROWS = f"""
    SELECT CONVERT(argument USING utf8mb4) AS statement FROM mysql.general_log
    WHERE command_type = 'Query' AND user_host LIKE '%[{ours.USER}]%' ORDER BY event_time
"""


class GeneralLog:
    """The statements of the application's user on all servers, while the block of ``recorded()`` runs."""

    def __init__(self, cluster, administration):
        self._cluster = cluster
        self._administration = administration

    def statements(self, server):
        """Return what a server was asked since the last time."""
        rows = self._administration.ask(server, _ROWS)
        self._empty(server)
        return [row["statement"] for row in rows]

    def everything(self):
        """Return what the servers were asked since the last time, by their place in the cluster."""
        return [self.statements(server) for server in self._cluster.servers]

    def _empty(self, server):
        self._administration.ask(server, "SET GLOBAL general_log = OFF")
        self._administration.ask(server, "TRUNCATE TABLE mysql.general_log")
        self._administration.ask(server, "SET GLOBAL general_log = ON")

    def start(self):
        for server in self._cluster.servers:
            self._administration.ask(server, "SET SESSION sql_log_bin = OFF")
            self._administration.ask(server, "SET GLOBAL log_output = 'TABLE'")
            self._empty(server)

    def stop(self):
        for server in self._cluster.servers:
            self._administration.ask(server, "SET GLOBAL general_log = OFF")
            self._administration.ask(server, "SET SESSION sql_log_bin = ON")


@contextmanager
def recorded(cluster, administration):
    log = GeneralLog(cluster, administration)
    log.start()
    try:
        yield log
    finally:
        log.stop()
