"""What a MySQL server has to be set to."""

from __future__ import annotations

from typing import Any, Final

from django_rwrouter.databases.mysql import MySQL
from django_rwrouter.operations.doctor import mysql_family
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Notes
from django_rwrouter.operations.doctor.general import judge_position

PRODUCT: Final = MySQL
_VARIABLES: Final = (
    "binlog_format",
    "enforce_gtid_consistency",
    "gtid_mode",
    "log_bin",
    "log_replica_updates",
    "log_slave_updates",
    "read_only",
    "server_id",
    "server_uuid",
    "super_read_only",
    "wait_timeout",
)


def ask(cursor: Any, facts: Facts) -> None:
    """Ask what needs no privilege, and what a privilege allows to see."""
    cursor.execute("SELECT VERSION(), @@server_uuid")
    version, uuid = cursor.fetchone()
    facts.version = f"MySQL {version}"
    facts.identity = str(uuid)
    mysql_family.ask(cursor, facts, _VARIABLES, {"SUPER", "CONNECTION_ADMIN"})


def judge(facts: Facts, primary: Facts | None, notes: Notes) -> None:
    """Judge one server."""
    mysql_family.judge_log(facts, notes)
    mode = facts.variables.get("gtid_mode", "")
    if mode == "ON":
        notes.ok("gtid", "gtid_mode is ON")
    else:
        report = notes.error if facts.cluster.settings.needs_positions else notes.warning
        report(
            "gtid",
            f"gtid_mode is {mode or 'not set'}: transactions have no ids, and servers no positions",
            "Set enforce_gtid_consistency = ON and gtid_mode = ON on every server, step by step as MySQL's "
            'manual says ("Changing GTID Mode on Servers That Are Online").',
        )
    if facts.variables.get("enforce_gtid_consistency", "ON") != "ON":
        notes.warning(
            "gtid",
            "enforce_gtid_consistency is not ON: statements are let through that cannot have an id",
            "Set enforce_gtid_consistency = ON.",
        )
    if not facts.is_primary:
        mysql_family.judge_replication(
            facts,
            primary,
            notes,
            words=("Replica", "Source"),
            advice="GRANT REPLICATION CLIENT ON *.* lets it.",
        )
        if facts.replication and str(facts.replication.get("Auto_Position")) == "0":
            notes.warning(
                "replication",
                "it looks for its place in the source's log by file and offset",
                "CHANGE REPLICATION SOURCE TO SOURCE_AUTO_POSITION = 1, so that it can follow another"
                " source.",
            )
    judge_position(facts, notes, "Turn GTIDs on (gtid_mode).")
    mysql_family.judge_read_only(facts, notes, "super_read_only")
