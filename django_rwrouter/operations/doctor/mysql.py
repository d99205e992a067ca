"""Examines the configuration of a MySQL server."""

from __future__ import annotations

from typing import Any

from django_rwrouter.operations.doctor import mysql_family
from django_rwrouter.operations.doctor.examined_server import ExaminedServer


def ask(cursor: Any, server: ExaminedServer) -> None:
    """Ask what needs no privilege, and what a privilege allows to see."""
    mysql_family.ask(cursor, server, {"SUPER", "CONNECTION_ADMIN"})
    server.version = f"MySQL {server.variables['version']}"
    server.identity = server.variables["server_uuid"]


def judge(server: ExaminedServer) -> None:
    """Judge one server."""
    mysql_family.judge_log(server)
    mode = server.variables.get("gtid_mode", "")
    if mode == "ON":
        server.ok("gtid", "gtid_mode is ON")
    else:
        report = server.error if server.cluster.needs_positions else server.warning
        report(
            "gtid",
            f"gtid_mode is {mode or 'not set'}: transactions have no ids, and servers no positions",
            "Set enforce_gtid_consistency = ON and gtid_mode = ON on every server, step by step as MySQL's "
            'manual says ("Changing GTID Mode on Servers That Are Online").',
        )
    if server.variables.get("enforce_gtid_consistency", "ON") != "ON":
        server.warning(
            "gtid",
            "enforce_gtid_consistency is not ON: statements are let through that cannot have an id",
            "Set enforce_gtid_consistency = ON.",
        )
    if not server.is_primary:
        mysql_family.judge_replication(server, "GRANT REPLICATION CLIENT ON *.* lets it.")
        if server.replication and str(server.replication.get("Auto_Position")) == "0":
            server.warning(
                "replication",
                "it looks for its place in the source's log by file and offset",
                "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1, so that it can follow another"
                " source.",
            )
    server.judge_position("Turn GTIDs on (gtid_mode).")
    mysql_family.judge_read_only(server, "super_read_only")
