"""Examines the configuration of a node of a Galera cluster."""

from __future__ import annotations

from django_rwrouter.databases.galera import PRIMARY, SYNCED
from django_rwrouter.operations.doctor import mysql_family
from django_rwrouter.operations.doctor.examined_server import ExaminedServer


def judge(server: ExaminedServer) -> None:
    """Judge one node."""
    variables = server.variables
    state, component = variables.get("wsrep_local_state_comment"), variables.get("wsrep_cluster_status")
    if state == SYNCED and component == PRIMARY:
        server.ok("replication", "it is a node of a Galera cluster, and synced")
    else:
        server.error(
            "replication",
            f"it is a node of a Galera cluster, and {state}, its component {component}: nobody reads from it",
            "A donor or joiner is back by itself; wsrep_desync = OFF ends a desynchronisation; a node outside"
            " the primary component finds back when it reaches the others.",
        )
    if int(variables.get("wsrep_sync_wait") or 0) & 1:
        server.warning(
            "sync_wait",
            "wsrep_sync_wait is on for all reads: each waits until the node has applied what the cluster has"
            " written, where the router waits only where a read needs it",
            "SET GLOBAL wsrep_sync_wait = 0.",
        )
    _auto_increment(server)
    if server.is_on("log_bin") and not server.is_on("wsrep_gtid_mode"):
        server.warning(
            "gtid",
            "wsrep_gtid_mode is off: each node logs GTIDs of its own, and a replica outside the cluster"
            " cannot change from one to another (the router does not read them)",
            "Set wsrep_gtid_mode = ON and one wsrep_gtid_domain_id on all nodes.",
        )
    if server.is_primary:
        mysql_family.judge_read_only(server, "read_only")
        if not server.cluster.settings.sync_replicas:
            server.ok(
                "commit",
                "a commit is certified on all nodes, and applied there later: SYNC_REPLICAS waits for that",
            )
    if server.is_primary or server.caught_up is not None:
        server.judge_position("Look at wsrep_last_committed.")


def _auto_increment(server: ExaminedServer) -> None:
    variables = server.variables
    if variables.get("innodb_autoinc_lock_mode", "2") != "2":
        server.error(
            "auto_increment",
            "innodb_autoinc_lock_mode is not 2: appliers lock each other out",
            "Set innodb_autoinc_lock_mode = 2, and restart it.",
        )
    if (
        variables.get("wsrep_auto_increment_control", "ON") != "ON"
        and variables.get("auto_increment_increment") == "1"
    ):
        server.warning(
            "auto_increment",
            "nodes hand out the same numbers: if another node than the primary is written to, inserts fail",
            "Set wsrep_auto_increment_control = ON.",
        )
