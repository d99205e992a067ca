"""Checks that apply to servers of every product, and to all servers of a cluster together."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from django_rwrouter.conf.clusters import Cluster
from django_rwrouter.operations.doctor.facts import Facts
from django_rwrouter.operations.doctor.findings import Finding, Notes

CLOCK_SECONDS: Final = 1.0
"""Largest difference between two clocks that is not reported."""


def judge(facts: Facts, notes: Notes) -> None:
    """Judge clock and timeouts."""
    if facts.clock is not None:
        _clock(facts.clock, facts.clock_accuracy, notes)
    if facts.product.timeouts:
        _timeouts(facts, notes)


def judge_without_positions(facts: Facts, notes: Notes) -> None:
    """Judge a database that has no positions."""
    if facts.is_primary:
        return
    message = "this database has no positions: how far a replica is behind cannot be known"
    if facts.cluster.settings.needs_positions:
        notes.warning(
            "position",
            f"{message}, and causal, strong, MONOTONIC_READS and SYNC_REPLICAS are as the level window",
            "Use MariaDB, MySQL or PostgreSQL, or the level window.",
        )
    else:
        notes.ok("position", f"{message}; the level does not need it")


def judge_session(facts: Facts, notes: Notes) -> None:
    """Judge whether a new session of a primary that takes writes takes them, too."""
    if facts.is_on("session_read_only"):
        notes.error(
            "read_only",
            "a new session on the primary is read-only: a pooler hands out one that was left so",
            "Let the pooler reconnect to the server (PgBouncer: RECONNECT), and set READ_ONLY_SESSIONS to"
            " False for what shares sessions.",
        )
    else:
        notes.ok("read_only", "it takes writes")


def judge_delay(seconds: float, facts: Facts, notes: Notes, remedy: str) -> None:
    """Judge a delay that was asked for on the server, and perhaps not in the settings."""
    if seconds and not facts.is_delayed:
        notes.warning(
            "replication",
            f"it is kept {seconds:g} s behind on purpose: it will hardly ever serve a bound read",
            f"If that is meant, write 'DELAYED': True among its options in REPLICAS; else {remedy}.",
        )


def judge_position(facts: Facts, notes: Notes, advice: str) -> None:
    """Judge where a server stands. ``advice`` is what to do if it does not say."""
    report = notes.error if facts.cluster.settings.needs_positions else notes.warning
    if facts.refused:
        is_function = facts.refused.startswith("pg_")
        what = f"EXECUTE ON FUNCTION {facts.refused}()" if is_function else f"{facts.refused} ON *.*"
        report(
            "position",
            f"it refuses to say where it stands: {facts.refused} is not there, or not for this user",
            f"GRANT {what} TO the application's user, on the primary. Where the server does not support that,"
            " write CONSISTENCY 'window', to which the levels that need positions fall back.",
        )
    elif facts.caught_up is None and not facts.is_primary:
        notes.unknown(
            "position", "whether it keeps up cannot be told while the primary does not say where it is"
        )
    elif facts.position is None:
        report("position", "it does not say where it stands", advice)
    elif facts.is_primary:
        notes.ok("position", "it says where it stands")
    elif facts.caught_up:
        notes.ok("position", "it has reached where the primary stood")
    elif facts.is_delayed:
        notes.ok("position", "it is late on purpose, as DELAYED says")
    else:
        notes.error(
            "position",
            "it has not reached where the primary stood, or belongs to another history",
            "If replication runs, it is behind: look for the load that keeps it. If it does not catch up, "
            "compare its position with the primary's, and make it anew from a copy of the primary.",
        )


def compare(cluster: Cluster, answers: list[Facts]) -> list[Finding]:
    """Find servers in each other's place, aliases of one server, and servers that cannot be told apart."""
    findings: list[Finding] = []
    _in_each_others_place(cluster, answers, findings)
    numbers: dict[str, Facts] = {}
    for facts in answers:
        number = facts.variables.get("server_id", "")
        other = numbers.setdefault(number, facts) if number else facts
        if other.identity != facts.identity:
            Notes(cluster.name, facts.alias, findings).error(
                "identity",
                f"its server_id is {number}, as is {other.alias!r}'s: their writes cannot be told apart",
                "Give each server a server_id of its own.",
            )
    aliases: defaultdict[str, list[str]] = defaultdict(list)
    for facts in answers:
        if facts.identity:
            aliases[facts.identity].append(facts.alias)
    for first, *others in aliases.values():
        for alias in others:
            notes = Notes(cluster.name, alias, findings)
            if first == cluster.primary:
                notes.error(
                    "identity",
                    "this is the primary itself: it takes no load off it",
                    "Give the address of a replica, or take the alias out of REPLICAS.",
                )
            else:
                notes.warning(
                    "identity",
                    f"this is the same server as {first!r}",
                    "Two aliases of one server are drawn twice as often; write WEIGHT if that is meant.",
                )
    return findings


def _in_each_others_place(cluster: Cluster, answers: list[Facts], findings: list[Finding]) -> None:
    """Look for a primary that replicates from a server which the settings call its replica.

    Whether it is read-only does not matter. Two servers that follow each other are none of that.
    """
    follows = {facts.alias: facts.follows for facts in answers}
    sources = [
        facts.alias
        for facts in answers
        if not facts.is_primary
        and (facts.follows is False or (facts.follows is None and not facts.caught_up))
    ]
    if follows.get(cluster.primary) and sources:
        Notes(cluster.name, cluster.primary, findings).error(
            "roles",
            f"it replicates from another server, and {' and '.join(map(repr, sources))} from nobody: primary"
            " and replica are in each other's place",
            f"Swap their addresses in DATABASES: {cluster.primary!r} is where writes go.",
        )


def _clock(ahead: float, accuracy: float, notes: Notes) -> None:
    if abs(ahead) - accuracy <= CLOCK_SECONDS:
        notes.ok("clock", "its clock agrees with this machine's")
        return
    notes.warning(
        "clock",
        f"its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's",
        "Nothing here compares a server's clock, but if it is this machine's that is wrong, a client's "
        "window is shorter by as much: synchronise the machines that run Django.",
    )


def _timeouts(facts: Facts, notes: Notes) -> None:
    """Judge what bounds a server that says nothing, and how long connections live."""
    missing = facts.product.missing_timeouts(facts.options.get("OPTIONS", {}))
    if missing and not facts.is_primary:
        notes.warning(
            "timeouts",
            f"OPTIONS has no {' and no '.join(missing)}: a replica that hangs keeps whoever asks it",
            f"Write {', '.join(f'{name!r}: 2' for name in missing)} (seconds) into its OPTIONS.",
        )
    max_age = facts.options.get("CONN_MAX_AGE", 0)
    server = facts.variables.get("wait_timeout", "")
    outlives = max_age is None or (server.isdigit() and max_age > int(server))
    if outlives and server and not facts.options.get("CONN_HEALTH_CHECKS"):
        notes.warning(
            "timeouts",
            f"Django keeps connections longer (CONN_MAX_AGE {max_age}) than the server does ({server} s)",
            "Set CONN_HEALTH_CHECKS to True, or CONN_MAX_AGE to less than the server's wait_timeout.",
        )
    elif not missing or facts.is_primary:
        notes.ok("timeouts", "connections end on both sides as they should")
