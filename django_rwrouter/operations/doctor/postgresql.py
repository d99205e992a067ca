"""What a PostgreSQL server has to be set to."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.databases.postgresql import SUBSCRIBES, PostgreSQL
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Notes
from django_rwrouter.operations.doctor.general import judge_delay, judge_position, judge_session

PRODUCT: Final = PostgreSQL
_SETTINGS: Final = (
    "default_transaction_isolation",
    "hot_standby",
    "recovery_min_apply_delay",
    "server_version",
    "server_version_num",
    "synchronous_commit",
    "transaction_read_only",
    "wal_level",
)
_OLDEST: Final = 120000
_SYNTAX_ERROR: Final = "42601"


def ask(cursor: Any, facts: Facts) -> None:
    """Ask what needs no privilege; ``pg_monitor`` would show more."""
    cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(_SETTINGS),))
    variables = dict(cursor.fetchall())
    cursor.execute(
        "SELECT pg_is_in_recovery()::text, host(inet_server_addr()), inet_server_port()::text,"
        " pg_postmaster_start_time()::text,"
        " (SELECT count(*) FROM pg_stat_wal_receiver)::text,"
        " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused()::text END,"
        " pg_has_role('pg_monitor', 'USAGE')::text"
    )
    recovering, host, port, started, receivers, paused, monitor = cursor.fetchone()
    variables |= {"in_recovery": recovering, "paused": paused or "false", "receivers": receivers}
    variables["pg_monitor"] = monitor
    cursor.execute(
        "SELECT setting FROM pg_settings WHERE name = 'default_transaction_read_only' AND source = 'session'"
    )
    variables["session_read_only"] = (cursor.fetchone() or ("off",))[0]
    cursor.execute(SUBSCRIBES)
    facts.is_subscriber = not facts.is_primary and bool(cursor.fetchone()[0])
    variables["load_balance_mode"] = _load_balance_mode(cursor)
    facts.variables = variables
    facts.follows = facts.is_on("in_recovery") or facts.is_subscriber
    facts.version = f"PostgreSQL {variables.get('server_version', '').partition(' ')[0]}"
    facts.identity = f"{host}/{port}/{started}"
    facts.ask_clock(cursor, "SELECT extract(epoch FROM clock_timestamp())")


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


def judge(facts: Facts, primary: Facts | None, notes: Notes) -> None:
    """Judge one server."""
    if int(facts.variables.get("server_version_num", _OLDEST)) < _OLDEST:
        notes.error("version", "it is older than PostgreSQL 12", "Upgrade it.")
    if facts.is_on("load_balance_mode"):
        notes.error(
            "pooler",
            "it is pgpool-II, whose load_balance_mode is on: it sends reads to servers of its own choice, and"
            " no level holds, nor does a read of the primary's alias see what was just written",
            "Write load_balance_mode = off in pgpool.conf, or give the server's own address.",
        )
    if facts.is_primary:
        _primary(facts, notes)
    elif facts.is_subscriber:
        _subscriber(notes)
        return
    else:
        _replica(facts, notes)
    advice = "Look at what is said of replication above; GRANT pg_monitor lets its timeline be seen."
    judge_position(facts, notes, "Look at what is said of it above." if facts.is_primary else advice)


def _primary(facts: Facts, notes: Notes) -> None:
    if facts.is_on("in_recovery"):
        notes.error(
            "read_only",
            "the primary is a standby: no write succeeds",
            "If another server was promoted, name that as PRIMARY; otherwise promote this one.",
        )
        return
    judge_session(facts, notes)
    level = facts.variables.get("wal_level", "")
    if level == "minimal":
        notes.error("binary_log", "wal_level is minimal: nothing is replicated", "Set wal_level = replica.")
    else:
        notes.ok("binary_log", f"wal_level is {level}")
    if facts.variables.get("synchronous_commit") == "off":
        notes.warning(
            "commit",
            "synchronous_commit is off: positions then cover what is still open, too, and while a long "
            "transaction is, replicas look late, and bound reads go to the primary",
            "Set synchronous_commit = on (or local), at least for the application's user.",
        )
    else:
        notes.ok("commit", f"synchronous_commit is {facts.variables.get('synchronous_commit')}")


def _subscriber(notes: Notes) -> None:
    notes.warning(
        "replication",
        "it is a logical subscriber, which has no position of its primary: eventual reads go there, and no"
        " others",
        "Make it a standby (pg_basebackup) if it is to take more; and name in 'EXCEPT' among its options in"
        " REPLICAS what its publication leaves out.",
    )
    notes.warning(
        "read_only",
        "it can be written to, as every subscriber",
        "Give the application a user there who may only read: what is written there by mistake stops or"
        " spoils its copy.",
    )


def _replica(facts: Facts, notes: Notes) -> None:
    if not facts.is_on("in_recovery"):
        notes.error(
            "replication",
            "it is no standby: it has a history of its own, and can be written to",
            "Make it anew from a copy of the primary (pg_basebackup), or take the alias out of REPLICAS.",
        )
        return
    notes.ok("read_only", "it is a standby, which nobody can write to")
    if facts.variables.get("default_transaction_isolation") == "serializable":
        notes.warning(
            "isolation",
            "default_transaction_isolation is serializable, which no standby has: each read fails there,"
            " and is run again on the primary",
            "Give the replica's session another default: 'OPTIONS': {'options':"
            " '-c default_transaction_isolation=repeatable\\\\ read'}.",
        )
    if facts.variables.get("receivers") == "0":
        notes.error(
            "replication",
            "it does not receive from the primary",
            "Look for the reason in its log; primary_conninfo says where it looks.",
        )
    else:
        notes.ok("replication", "it receives")
    if facts.is_on("paused"):
        notes.error(
            "replication",
            "it does not replay what it has received: replay is paused",
            "SELECT pg_wal_replay_resume().",
        )
    delay = int(facts.variables.get("recovery_min_apply_delay", "0")) / 1000
    judge_delay(delay, facts, notes, "set recovery_min_apply_delay = 0")
    if facts.is_on("pg_monitor"):
        notes.ok("privileges", "its timeline can be seen")
    else:
        notes.unknown(
            "privileges",
            "its timeline, the user is not allowed to see; after a failover, the router then trusts a "
            "replica only while it receives from another server",
            "GRANT pg_monitor TO the application's user, on the primary.",
        )
