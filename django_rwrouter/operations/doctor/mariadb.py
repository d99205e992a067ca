"""Examines the configuration of a MariaDB server."""

from __future__ import annotations

from typing import Any

from django_rwrouter.databases.galera import status
from django_rwrouter.operations.doctor import galera, mysql_family
from django_rwrouter.operations.doctor.examined_server import ExaminedServer


def ask(cursor: Any, server: ExaminedServer) -> None:
    """Ask what needs no privilege, and what a privilege allows to see."""
    mysql_family.ask(cursor, server, {"SUPER", "READ ONLY ADMIN", "READ_ONLY ADMIN"})
    variables = server.variables
    server.version = f"MariaDB {variables['version'].partition('-')[0]}"
    server.identity = "/".join(variables[name] for name in ("server_id", "hostname", "port", "server_uid"))
    if server.is_on("wsrep_on"):
        # Nodes may share their server_id: with wsrep_gtid_mode, they should.
        server.variables = {**variables, **status(cursor), "server_id": ""}


def judge(server: ExaminedServer) -> None:
    """Judge one server."""
    if server.is_on("wsrep_on"):
        galera.judge(server)
        return
    mysql_family.judge_log(server)
    server.expect(
        "gtid_strict_mode",
        "gtid",
        "after a write that went to a replica by mistake, sequence numbers no longer tell what it has"
        " replayed, and nothing says so",
        "SET GLOBAL gtid_strict_mode = ON, and write it into the configuration, on every server.",
    )
    if not server.is_primary:
        server.expect(
            "relay_log_recovery",
            "relay_log",
            "killed just after its replication has started, it may look for a relay log that is gone, and"
            " replicates nothing when it is back (error 1201)",
            "Set relay_log_recovery = ON, and restart it: what it had not applied, it then asks for anew.",
        )
        mysql_family.judge_replication(
            server, "GRANT REPLICA MONITOR ON *.* (before MariaDB 10.5: REPLICATION CLIENT) lets it."
        )
        if server.replication and server.replication.get("Using_Gtid") == "No":
            server.warning(
                "replication",
                "it looks for its place in the primary's log by file and offset",
                "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = slave_pos; START SLAVE: so that it can follow"
                " another server.",
            )
    server.judge_position(
        "Turn its binary log on (log_bin)."
        if server.is_primary
        else "Let it replicate by GTID: CHANGE MASTER TO MASTER_USE_GTID = slave_pos."
    )
    mysql_family.judge_read_only(server, "read_only")
