"""What MariaDB and MySQL have in common."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Notes
from django_rwrouter.operations.doctor.general import judge_session

_GLOBAL_GRANT: Final = re.compile(r"GRANT (.+?) ON \*\.\* TO ", re.IGNORECASE)

# --- asking ------------------------------------------------------------------------------------


def variables(cursor: Any, names: Collection[str]) -> Mapping[str, str]:
    """Return global variables; what a version does not know is left out."""
    wanted = ", ".join(f"'{name}'" for name in names)
    cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({wanted})")
    return {_text(name).lower(): _text(value) for name, value in cursor.fetchall()}


def may_write_anyway(cursor: Any, privileges: Collection[str]) -> bool:
    """Whether the user has a privilege that ``read_only`` does not stop. Everybody may see his own."""
    cursor.execute("SHOW GRANTS")
    # The text holds the hash of the password: nothing of it leaves this function.
    granted = [
        match[1].upper() for (text,) in cursor.fetchall() if (match := _GLOBAL_GRANT.match(_text(text)))
    ]
    names = {name.strip() for grant in granted for name in grant.split(",")}
    return bool(names & {"ALL", "ALL PRIVILEGES", *privileges})


def ask_clock(cursor: Any, facts: Facts) -> None:
    """Compare the clocks: the server's answer was made between our two looks at ours."""
    before = time.time()
    cursor.execute("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
    after = time.time()
    (server,) = cursor.fetchone()
    facts.clock = float(server) - (before + after) / 2
    facts.clock_accuracy = (after - before) / 2


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


# --- judging -----------------------------------------------------------------------------------


def judge_log(facts: Facts, notes: Notes) -> None:
    """Judge the binary log."""
    if facts.is_on("log_bin"):
        notes.ok("binary_log", "its binary log is on")
    elif facts.is_primary:
        notes.error(
            "binary_log",
            "its binary log is off: nothing is replicated, and it has no position",
            "Set log_bin and a server_id of its own, and restart it.",
        )
    else:
        notes.warning(
            "binary_log",
            "its binary log is off: it cannot take the primary's place",
            "Set log_bin, if it is ever to be promoted.",
        )
    _row_format(facts, notes)
    updates = "log_replica_updates" if "log_replica_updates" in facts.variables else "log_slave_updates"
    if facts.is_primary or not facts.is_on("log_bin"):
        return
    if facts.is_on(updates):
        notes.ok("log_updates", f"{updates} is on")
    else:
        notes.warning(
            "log_updates",
            f"{updates} is off: promoted, it would not have in its log what it has replayed, and tokens "
            "of before would have to be given up",
            f"Set {updates} = ON, and restart it.",
        )


def _row_format(facts: Facts, notes: Notes) -> None:
    form = facts.variables.get("binlog_format", "").upper()
    if form in ("ROW", ""):  # Newer versions of MySQL know no other.
        notes.ok("row_format", "changes are logged as rows")
    elif form == "MIXED":
        notes.ok("row_format", "changes are logged as rows where statements would not be safe (MIXED)")
    else:
        report = notes.error if facts.is_primary else notes.warning
        report(
            "row_format",
            f"binlog_format is {form}: replicas run the statements again and may come to other rows, and "
            "under READ COMMITTED, Django's default, InnoDB refuses to write (1665)",
            "SET GLOBAL binlog_format = ROW, and write it into the configuration.",
        )


def judge_threads(facts: Facts, status: Mapping[str, Any], notes: Notes, word: str) -> bool:
    """Judge whether a replica receives and applies; tell whether it is one at all."""
    if not status:
        notes.error(
            "replication",
            "it does not replicate from anywhere",
            "Make it a replica of the primary, or take the alias out of REPLICAS.",
        )
        return False
    # Not the texts of the errors, which name host and user.
    receives, applies = str(status.get(f"{word}_IO_Running")), str(status.get(f"{word}_SQL_Running"))
    if receives == applies == "Yes":
        notes.ok("replication", "it receives and applies")
        return True
    if receives != "Yes":
        notes.error(
            "replication",
            f"it does not receive from the primary ({receives}{_error(status.get('Last_IO_Errno'))})",
            f"Look at Last_IO_Error in SHOW REPLICA STATUS; START {word.upper()} starts it again.",
        )
    if applies != "Yes":
        notes.error(
            "replication",
            f"it does not apply what it has received ({applies}{_error(status.get('Last_SQL_Errno'))})",
            f"Look at Last_SQL_Error in SHOW REPLICA STATUS; START {word.upper()} starts it again.",
        )
    return True


def _error(number: object) -> str:
    return f", error {number}" if number and str(number) != "0" else ""


def judge_source(server_id: object, primary: Facts | None, notes: Notes) -> None:
    """Judge whom a replica follows."""
    own = None if primary is None else primary.variables.get("server_id")
    if own and server_id and str(server_id) not in ("0", own):
        notes.warning(
            "replication",
            f"it follows the server {server_id}, and the primary is {own}",
            "If that one is a replica itself, all is well; otherwise this is another cluster's replica.",
        )


def judge_delay(seconds: object, facts: Facts, notes: Notes) -> None:
    """Judge a delay that was asked for on the server, and perhaps not in the settings."""
    if seconds and str(seconds) != "0" and not facts.is_delayed:
        notes.warning(
            "replication",
            f"it is kept {seconds} s behind on purpose: it will hardly ever serve a bound read",
            "If that is meant, write 'DELAYED': True among its options in REPLICAS; else end the delay.",
        )


def session_read_only(cursor: Any) -> Mapping[str, str]:
    """Return whether this session, which has just been opened, is read-only, as ``session_read_only``."""
    # MySQL 8 has lost the first name, and MariaDB 11 has gained the second.
    cursor.execute("SHOW SESSION VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')")
    values = [str(value) for _name, value in cursor.fetchall()]
    return {"session_read_only": values[0]} if values else {}


def judge_read_only(facts: Facts, notes: Notes, name: str) -> None:
    """Judge whether a server can be written to. ``name`` is the variable that a replica should have."""
    if facts.is_primary:
        if facts.is_on("read_only") or facts.is_on("super_read_only"):
            notes.error(
                "read_only",
                "the primary is read-only: no write succeeds",
                "If another server was promoted, name that as PRIMARY; otherwise SET GLOBAL read_only = OFF.",
            )
        else:
            judge_session(facts, notes)
        return
    sessions = facts.cluster.settings.read_only_sessions
    guarded = "the router's own sessions are read-only, others are not"
    if not sessions:
        guarded = "READ_ONLY_SESSIONS is False, so that nothing prevents it"
    if not (facts.is_on("read_only") or facts.is_on("super_read_only")):
        report = notes.warning if sessions else notes.error
        report(
            "read_only",
            f"it can be written to: {guarded}",
            f"SET GLOBAL {name} = ON, and write it into the configuration.",
        )
    elif facts.writes_anyway and not facts.is_on("super_read_only"):
        report = notes.warning if sessions else notes.error
        report(
            "privileges",
            "the connection's user may write although the server is read-only (SUPER or its like)",
            "Give the application a user with privileges on its own database alone.",
        )
    else:
        notes.ok("read_only", "it is read-only, and the connection's user is bound by that")
