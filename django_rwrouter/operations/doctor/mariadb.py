"""What a MariaDB server has to be set to."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.databases.mariadb import MariaDB
from django_rwrouter.operations.doctor import galera, mysql_family, replication_filters
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Notes
from django_rwrouter.operations.doctor.general import judge_position

PRODUCT: Final = MariaDB
_VARIABLES: Final = (
    "binlog_format",
    "gtid_domain_id",
    "gtid_strict_mode",
    "log_bin",
    "log_slave_updates",
    "read_only",
    "relay_log_recovery",
    "server_id",
    "wait_timeout",
    "wsrep_on",
    *replication_filters.NAMES,
)


def ask(cursor: Any, facts: Facts) -> None:
    """Ask what needs no privilege, and what a privilege allows to see."""
    cursor.execute("SELECT VERSION(), @@server_id, @@hostname, @@port, @@GLOBAL.server_uid")
    version, *identity = cursor.fetchone()
    facts.version = f"MariaDB {str(version).partition('-')[0]}"
    facts.identity = "/".join(map(str, identity))
    mysql_family.ask(cursor, facts, _VARIABLES, {"SUPER", "READ ONLY ADMIN", "READ_ONLY ADMIN"})
    if facts.is_on("wsrep_on"):
        galera.ask(cursor, facts)


def judge(facts: Facts, primary: Facts | None, notes: Notes) -> None:
    """Judge one server."""
    if facts.is_on("wsrep_on"):
        galera.judge(facts, notes)
        return
    mysql_family.judge_log(facts, notes)
    notes.expect(
        facts,
        "gtid_strict_mode",
        "gtid",
        "after a write that went to a replica by mistake, sequence numbers no longer tell what it has"
        " replayed, and nothing says so",
        "SET GLOBAL gtid_strict_mode = ON, and write it into the configuration, on every server.",
    )
    if not facts.is_primary:
        notes.expect(
            facts,
            "relay_log_recovery",
            "relay_log",
            "killed just after its replication has started, it may look for a relay log that is gone, and"
            " replicates nothing when it is back (error 1201)",
            "Set relay_log_recovery = ON, and restart it: what it had not applied, it then asks for anew.",
        )
        mysql_family.judge_replication(
            facts,
            primary,
            notes,
            words=("Slave", "Master"),
            advice="GRANT REPLICA MONITOR ON *.* (before MariaDB 10.5: REPLICATION CLIENT) lets it.",
        )
        if facts.replication and facts.replication.get("Using_Gtid") == "No":
            notes.warning(
                "replication",
                "it looks for its place in the primary's log by file and offset",
                "STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID = slave_pos; START SLAVE: so that it can follow"
                " another server.",
            )
    judge_position(
        facts,
        notes,
        "Turn its binary log on (log_bin)."
        if facts.is_primary
        else "Let it replicate by GTID: CHANGE MASTER TO MASTER_USE_GTID = slave_pos.",
    )
    mysql_family.judge_read_only(facts, notes, "read_only")
