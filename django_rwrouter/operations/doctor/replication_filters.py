"""Finds tables that replication filters of MariaDB or MySQL withhold from a replica that is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from django.apps import apps

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.operations.doctor.examined_server import ExaminedServer

NAMES: Final = (
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
)
"""Columns of the replica's status, which takes a privilege, and variables of MariaDB."""
_SHOWN: Final = 5


def judge(server: ExaminedServer) -> None:
    """Judge whether a replica leaves tables out that are read there: no position tells of that."""
    status = {name.lower(): value for name, value in (server.replication or {}).items()}
    shown = {**status, **server.variables}
    filters = {
        name: [rule.strip() for rule in text.split(",")]
        for name in NAMES
        if (text := str(shown.get(name) or ""))
    }
    if not filters:
        return
    database = str(server.options.get("NAME", ""))
    left_out = sorted(
        table for table in tables_read_there(server) if not _replicates(filters, database, table)
    )
    if not left_out:
        server.ok("filters", f"its {' and '.join(filters)} leave out nothing that is read there")
        return
    more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    server.error(
        "filters",
        f"its {' and '.join(filters)} leave out tables that are read there, and stay as they were:"
        f" {', '.join(left_out[:_SHOWN])}{more}",
        "Take them out of the filters, and make the replica anew from a copy of the primary; or name their"
        " apps in 'EXCEPT' among its options in REPLICAS.",
    )


def judge_log(server: ExaminedServer) -> None:
    """Judge whether a primary logs what is written to its database, if the user may see that."""
    only, ignored = (
        [name.strip() for name in str(server.log.get(column) or "").split(",") if name]
        for column in ("Binlog_Do_DB", "Binlog_Ignore_DB")
    )
    database = str(server.options.get("NAME", ""))
    if database in ignored or (only and database not in only):
        server.error(
            "filters",
            f"its {'binlog_do_db' if only else 'binlog_ignore_db'} leaves the database {database!r} out of"
            " its log: nothing of that is replicated, and no position tells",
            "Take the option away, restart it, and make the replicas anew from a copy of it.",
        )


def tables_read_there(server: ExaminedServer) -> frozenset[str]:
    """Return the tables that the router reads from a replica."""
    routes = filter(None, map(get_topology().route, apps.get_models(include_auto_created=True)))
    return frozenset(
        route.model._meta.db_table
        for route in routes
        if route.model is not None
        and route.fixed is None
        and any(replica.alias == server.alias for replica in route.replicas)
    )


def _replicates(filters: Mapping[str, Sequence[str]], database: str, table: str) -> bool:
    """Evaluate filters as the manuals say ("How Servers Evaluate Replication Filtering Rules")."""
    only = filters.get("replicate_do_db")
    if database not in only if only else database in filters.get("replicate_ignore_db", ()):
        return False
    name = f"{database}.{table}"
    for kind in ("", "wild_"):
        for verb, verdict in (("do", True), ("ignore", False)):
            rules = filters.get(f"replicate_{kind}{verb}_table", ())
            if any(_matches(rule, name) if kind else rule == name for rule in rules):
                return verdict
    return not filters.keys() & {"replicate_do_table", "replicate_wild_do_table"}


def _matches(pattern: str, name: str) -> bool:
    """Match as ``LIKE`` does."""
    wildcards = {"%": ".*", "_": "."}
    pieces = re.findall(r"\\.|.", pattern)
    return bool(re.fullmatch("".join(wildcards.get(piece) or re.escape(piece[-1]) for piece in pieces), name))
