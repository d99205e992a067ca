"""Examines what MariaDB and MySQL have in common."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from django_rwrouter.databases.mysql_family import as_text, log_status, replica_status
from django_rwrouter.operations.doctor import replication_filters
from django_rwrouter.operations.doctor.examined_server import ExaminedServer

_GLOBAL_GRANT: Final = re.compile(r"GRANT (.+?) ON \*\.\* TO ", re.IGNORECASE)

# --- asking ------------------------------------------------------------------------------------


def ask(cursor: Any, server: ExaminedServer, privileges: Collection[str]) -> None:
    """Ask for the global variables, how the server replicates, what the user may do, and the clock.

    With one of the ``privileges`` a user may write where ``read_only`` is on.
    """
    # MySQL 8 has lost the first name, and MariaDB 11 has gained the second.
    cursor.execute("SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')")
    (_name, read_only), *_others = cursor.fetchall()
    cursor.execute("SHOW GLOBAL VARIABLES")
    variables = {as_text(name).lower(): as_text(value) for name, value in cursor.fetchall()}
    server.variables = {**variables, "session_read_only": str(read_only)}
    if server.is_primary:
        server.log = log_status(cursor) or {}
    server.replication = replica_status(cursor)
    server.follows = bool(server.replication)
    if server.replication is None:  # Its threads are secret, but not whether MariaDB's run.
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
        row = cursor.fetchone()
        server.follows = True if row is not None and int(row[1]) else None
    cursor.execute("SHOW GRANTS")  # Everybody may see his own.
    # The text holds the hash of the password: nothing of it leaves this function.
    granted = [
        match[1].upper() for (text,) in cursor.fetchall() if (match := _GLOBAL_GRANT.match(as_text(text)))
    ]
    privileges_of_user = {name.strip() for grant in granted for name in grant.split(",")}
    server.writes_anyway = bool(privileges_of_user & {"ALL", "ALL PRIVILEGES", *privileges})
    server.ask_clock(cursor, "SELECT UNIX_TIMESTAMP(SYSDATE(6))")


# --- judging -----------------------------------------------------------------------------------


def judge_log(server: ExaminedServer) -> None:
    """Judge the binary log."""
    if server.is_on("log_bin"):
        server.ok("binary_log", "its binary log is on")
    elif server.is_primary:
        server.error(
            "binary_log",
            "its binary log is off: nothing is replicated, and it has no position",
            "Set log_bin and a server_id of its own, and restart it.",
        )
    else:
        server.warning(
            "binary_log",
            "its binary log is off: it cannot take the primary's place",
            "Set log_bin, if it is ever to be promoted.",
        )
    replication_filters.judge_log(server)
    _row_format(server)
    updates = "log_replica_updates" if "log_replica_updates" in server.variables else "log_slave_updates"
    if server.is_primary or not server.is_on("log_bin"):
        return
    server.expect(
        updates,
        "log_updates",
        "promoted, it would not have in its log what it has replayed, and tokens of before would have to be"
        " given up",
        f"Set {updates} = ON, and restart it.",
    )


def _row_format(server: ExaminedServer) -> None:
    form = server.variables.get("binlog_format", "").upper()
    if form in ("ROW", ""):  # Newer versions of MySQL know no other.
        server.ok("row_format", "changes are logged as rows")
    elif form == "MIXED":
        server.ok("row_format", "changes are logged as rows where statements would not be safe (MIXED)")
    else:
        report = server.error if server.is_primary else server.warning
        report(
            "row_format",
            f"binlog_format is {form}: replicas run the statements again and may come to other rows, and "
            "under READ COMMITTED, Django's default, InnoDB refuses to write (1665)",
            "SET GLOBAL binlog_format = ROW, and write it into the configuration.",
        )


def judge_replication(server: ExaminedServer, advice: str) -> None:
    """Judge a replica's filters, threads, source and delay; ``advice`` is how to let the user see them."""
    replication_filters.judge(server)
    status = server.replication
    if status is None:
        server.unknown(
            "replication",
            "whether its threads run, the user is not allowed to see; routing does not need to",
            advice,
        )
        return
    if not status:
        server.error(
            "replication",
            "it does not replicate from anywhere",
            "Make it a replica of the primary, or take the alias out of REPLICAS.",
        )
        return
    replica, source = ("Slave", "Master") if "Slave_IO_Running" in status else ("Replica", "Source")
    _threads(server, status, replica)
    _source(server, status, source)
    server.judge_delay(int(status.get("SQL_Delay") or 0), "end the delay")


def _threads(server: ExaminedServer, status: Mapping[str, Any], replica: str) -> None:
    """Judge whether a replica receives and applies; ``replica`` begins the names of both threads."""
    runs = True
    for thread, fails in (("IO", "receive from the primary"), ("SQL", "apply what it has received")):
        # Not the texts of the errors, which name host and user.
        state, number = status.get(f"{replica}_{thread}_Running"), status.get(f"Last_{thread}_Errno")
        if str(state) != "Yes":
            runs = False
            error = f", error {number}" if number and str(number) != "0" else ""
            server.error(
                "replication",
                f"it does not {fails} ({state}{error})",
                f"Look at Last_{thread}_Error in SHOW REPLICA STATUS; START {replica.upper()} starts it"
                " again.",
            )
    if runs:
        server.ok("replication", "it receives and applies")


def _source(server: ExaminedServer, status: Mapping[str, Any], source: str) -> None:
    """Judge which server a replica follows; ``source`` begins the name of that server's id."""
    server_id = status.get(f"{source}_Server_Id")
    own = None if server.primary is None else server.primary.variables.get("server_id")
    if own and server_id and str(server_id) not in ("0", own):
        follows = f"it follows the server {server_id}, and the primary is {own}"
        if server.caught_up:
            server.ok("replication", f"{follows}: what that one writes arrives all the same")
        else:
            server.warning(
                "replication",
                follows,
                "If that one is a replica itself, all is well; otherwise this is another cluster's replica.",
            )


def judge_read_only(server: ExaminedServer, name: str) -> None:
    """Judge whether a server can be written to. ``name`` is the variable that a replica should have."""
    if server.is_primary:
        if server.is_on("read_only") or server.is_on("super_read_only"):
            server.error(
                "read_only",
                "the primary is read-only: no write succeeds",
                "If another server was promoted, name that as PRIMARY; otherwise SET GLOBAL read_only = OFF.",
            )
        else:
            server.judge_session()
        return
    if server.cluster.settings.read_only_sessions:
        report, guarded = server.warning, "the router's own sessions are read-only, others are not"
    else:
        report, guarded = server.error, "READ_ONLY_SESSIONS is False, so that nothing prevents it"
    if not (server.is_on("read_only") or server.is_on("super_read_only")):
        report(
            "read_only",
            f"it can be written to: {guarded}",
            f"SET GLOBAL {name} = ON, and write it into the configuration.",
        )
    elif server.writes_anyway and not server.is_on("super_read_only"):
        report(
            "privileges",
            "the connection's user may write although the server is read-only (SUPER or its like)",
            "Give the application a user with privileges on its own database alone.",
        )
    else:
        server.ok("read_only", "it is read-only, and the connection's user is bound by that")
