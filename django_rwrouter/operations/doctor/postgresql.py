"""Examines the configuration of a PostgreSQL server."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.databases.postgresql import SUBSCRIBES
from django_rwrouter.operations.doctor.examined_server import ExaminedServer

_OLDEST: Final = 120000
_SYNTAX_ERROR: Final = "42601"


def ask(cursor: Any, server: ExaminedServer) -> None:
    """Ask what needs no privilege; ``pg_monitor`` would show more."""
    cursor.execute("SELECT name, setting FROM pg_settings")
    variables = dict(cursor.fetchall())
    cursor.execute(
        "SELECT pg_is_in_recovery()::text AS in_recovery,"
        " (SELECT count(*) FROM pg_stat_wal_receiver)::text AS receivers,"
        " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused()::text ELSE 'false' END AS paused,"
        " pg_has_role('pg_monitor', 'USAGE')::text AS pg_monitor,"
        " coalesce((SELECT setting FROM pg_settings WHERE name = 'default_transaction_read_only'"
        " AND source = 'session'), 'off') AS session_read_only,"
        " concat_ws('/', host(inet_server_addr()), inet_server_port(), pg_postmaster_start_time())"
    )
    *values, server.identity = cursor.fetchone()
    variables.update(zip((column[0] for column in cursor.description), values, strict=False))
    cursor.execute(SUBSCRIBES)
    server.is_subscriber = not server.is_primary and bool(cursor.fetchone()[0])
    variables["load_balance_mode"] = _load_balance_mode(cursor)
    server.variables = variables
    server.follows = server.is_on("in_recovery") or server.is_subscriber
    server.version = f"PostgreSQL {variables.get('server_version', '').partition(' ')[0]}"
    server.ask_clock(cursor, "SELECT extract(epoch FROM clock_timestamp())")


def _load_balance_mode(cursor: Any) -> str:
    """Ask pgpool-II; to PostgreSQL, that is an error of syntax, and outside a transaction nothing more."""
    try:
        cursor.execute("PGPOOL SHOW load_balance_mode")
        (mode,) = cursor.fetchone()
    except Exception as error:
        if getattr(error, "sqlstate", getattr(error, "pgcode", "")) != _SYNTAX_ERROR:
            raise
        return ""
    return str(mode)


def judge(server: ExaminedServer) -> None:
    """Judge one server."""
    if int(server.variables.get("server_version_num", _OLDEST)) < _OLDEST:
        server.error("version", "it is older than PostgreSQL 12", "Upgrade it.")
    if server.is_on("load_balance_mode"):
        server.error(
            "pooler",
            "it is pgpool-II, whose load_balance_mode is on: it sends reads to servers of its own choice, and"
            " no level holds, nor does a read of the primary's alias see what was just written",
            "Write load_balance_mode = off in pgpool.conf, or give the server's own address.",
        )
    if server.is_primary:
        _primary(server)
    elif server.is_subscriber:
        _subscriber(server)
        return
    else:
        _replica(server)
    advice = "Look at what is said of replication above; GRANT pg_monitor lets its timeline be seen."
    server.judge_position("Look at what is said of it above." if server.is_primary else advice)


def _primary(server: ExaminedServer) -> None:
    if server.is_on("in_recovery"):
        server.error(
            "read_only",
            "the primary is a standby: no write succeeds",
            "If another server was promoted, name that as PRIMARY; otherwise promote this one.",
        )
        return
    server.judge_session()
    level = server.variables.get("wal_level", "")
    if level == "minimal":
        server.error("binary_log", "wal_level is minimal: nothing is replicated", "Set wal_level = replica.")
    else:
        server.ok("binary_log", f"wal_level is {level}")
    if server.variables.get("synchronous_commit") == "off":
        server.warning(
            "commit",
            "synchronous_commit is off: positions then cover what is still open, too, and while a long "
            "transaction is, replicas look late, and bound reads go to the primary",
            "Set synchronous_commit = on (or local), at least for the application's user.",
        )
    else:
        server.ok("commit", f"synchronous_commit is {server.variables.get('synchronous_commit')}")


def _subscriber(server: ExaminedServer) -> None:
    server.warning(
        "replication",
        "it is a logical subscriber, which has no position of its primary: eventual reads go there, and no"
        " others",
        "Make it a standby (pg_basebackup) if it is to take more; and name in 'EXCEPT' among its options in"
        " REPLICAS what its publication leaves out.",
    )
    server.warning(
        "read_only",
        "it can be written to, as every subscriber",
        "Give the application a user there who may only read: what is written there by mistake stops or"
        " spoils its copy.",
    )


def _replica(server: ExaminedServer) -> None:
    if not server.is_on("in_recovery"):
        server.error(
            "replication",
            "it is no standby: it has a history of its own, and can be written to",
            "Make it anew from a copy of the primary (pg_basebackup), or take the alias out of REPLICAS.",
        )
        return
    server.ok("read_only", "it is a standby, which nobody can write to")
    if server.variables.get("receivers") == "0":
        server.error(
            "replication",
            "it does not receive from the primary",
            "Look for the reason in its log; primary_conninfo says where it looks.",
        )
    else:
        server.ok("replication", "it receives")
    if server.is_on("paused"):
        server.error(
            "replication",
            "it does not replay what it has received: replay is paused",
            "SELECT pg_wal_replay_resume().",
        )
    delay = int(server.variables.get("recovery_min_apply_delay", "0")) / 1000
    server.judge_delay(delay, "set recovery_min_apply_delay = 0")
    if server.is_on("pg_monitor"):
        server.ok("privileges", "its timeline can be seen")
    else:
        server.unknown(
            "privileges",
            "its timeline, the user is not allowed to see; after a failover, the router then trusts a "
            "replica only while it receives from another server",
            "GRANT pg_monitor TO the application's user, on the primary.",
        )
