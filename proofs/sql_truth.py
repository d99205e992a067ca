"""Compare what ``classify()`` says with what really happens, statement by random statement.

    python proofs/sql_truth.py --seconds 60                       (SQLite)
    python -m launcher mariadb --replicas 0 -- python proofs/sql_truth.py --vendor mysql

It makes a table in the database of ``DATABASE_URL``, which should be a throwaway, runs mutations of known
statements there, and prints each that changed something and counts as no write; it exits 1 if there is one. With sqlglot
installed it also prints reads, by sqlglot's tree, that count as writes: those may be over-cautious.
"""

# ruff: noqa: BLE001, C901, E501, PLC3002, PLR0912, PLR0915, SIM105
from __future__ import annotations

import argparse
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlparse

from django_rwrouter.databases.sql import Kind, classify

Run = Callable[[str], Any]

SEEDS = {
    "": [
        "SELECT 1; DELETE FROM rw_truth",
        "SELECT 'it''s' ; UPDATE rw_truth SET a = 2 -- x",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT a FROM rw_truth WHERE a IN (1, 2, 'x') -- ' ; DELETE FROM rw_truth\n",
        "SELECT /* ' */ 1; /* \" */ INSERT INTO rw_truth VALUES (9) /* ` */",
        "EXPLAIN SELECT 1; EXPLAIN DELETE FROM rw_truth",
        "BEGIN; DELETE FROM rw_truth; COMMIT",
    ],
    "mysql": [
        "SELECT 1 /*!999999 ' */; DELETE FROM rw_truth -- '",
        "SELECT 1 /*!50000 + 1 */ /*M!100000 + 2 */; DELETE FROM rw_truth",
        "SELECT '\\'; DELETE FROM rw_truth -- '",
        'SELECT "\\"; DELETE FROM rw_truth -- "',
        "SELECT `a` FROM rw_truth # ` ; DELETE FROM rw_truth\n",
        "ANALYZE FORMAT=JSON UPDATE rw_truth SET a = 3",
        "SET STATEMENT max_statement_time=9 FOR DELETE FROM rw_truth",
        "SELECT 5--1; DELETE FROM rw_truth",
        "BEGIN NOT ATOMIC DELETE FROM rw_truth; END",
        "SELECT /*+ QB_NAME(`a`) */ 1; DELETE FROM rw_truth",
        "SELECT a INTO @x FROM rw_truth LIMIT 1; REPLACE INTO rw_truth VALUES (7)",
    ],
    "postgresql": [
        "SELECT 1 -- x\rDELETE FROM rw_truth",
        "SELECT 1; -- x\rDELETE FROM rw_truth",
        "EXPLAIN (ANALYZE, COSTS OFF) DELETE FROM rw_truth",
        'EXPLAIN ("analyze") UPDATE rw_truth SET a = 2',
        "WITH x AS (DELETE FROM rw_truth RETURNING a) SELECT * FROM x",
        "SELECT $a$ ' $$ $a$ ; DELETE FROM rw_truth -- $a$",
        "SELECT /* /* ' */ */ 1; DELETE FROM rw_truth /* /* */ */",
        "SELECT E'\\' ' ; DELETE FROM rw_truth --'",
        "SELECT E'a'\n'\\''; DELETE FROM rw_truth --'",
        "SELECT U&'\\0041' ; DELETE FROM rw_truth --'",
        "SELECT * INTO rw_copy FROM rw_truth; DROP TABLE rw_copy; DELETE FROM rw_truth",
    ],
    "sqlite": [
        "SELECT [a] FROM rw_truth; DELETE FROM [rw_truth]",
        "SELECT `a` FROM rw_truth; REPLACE INTO `rw_truth` VALUES (4)",
        "WITH x AS (SELECT 1) DELETE FROM rw_truth",
        "PRAGMA query_only; UPDATE rw_truth SET a = 2",
    ],
}
PIECES = [
    *"'\"`[]();#$\\\n\r\t*/-!@.,+1",
    *(
        "/*",
        "*/",
        "/*!",
        "/*!50000 ",
        "/*M!999999 ",
        "/*+",
        "-- ",
        "--",
        "$$",
        "$a$",
        "E'",
        "U&'",
        "''",
        "\xa0",
        "\ufeff",
    ),
    *(
        " FOR ",
        " UPDATE ",
        " INTO ",
        " SET ",
        " SELECT ",
        " DELETE ",
        " WITH ",
        " EXPLAIN ",
        " ANALYZE ",
        " STATEMENT ",
        " BEGIN ",
    ),
]


def mutated(seeds: list[str], chance: random.Random) -> str:
    """Return a statement with pieces put in, taken out, moved, or taken from another."""
    text = chance.choice(seeds)
    for _ in range(chance.randint(0, 4)):
        at, other = sorted(chance.randint(0, len(text)) for _ in range(2))
        kind = chance.randrange(4)
        if kind == 0:
            text = text[:at] + chance.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[min(other, at + 4) :]
        elif kind == 2:
            text = text[:at] + text[at:other] + text[at:]
        else:
            donor = chance.choice(seeds)
            text = text[:at] + donor[chance.randint(0, len(donor)) :]
    return text


def sqlite() -> tuple[Run, Run]:
    """Return how to run a script, and how to query."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    return connection.executescript, lambda sql: connection.execute(sql).fetchall()


def server(vendor: str) -> tuple[Run, Run]:
    """Return the same for the server of ``DATABASE_URL``; what was left open is rolled back by ``ask``."""
    url = urlparse(os.environ["DATABASE_URL"])
    if vendor == "postgresql":
        import psycopg

        link = psycopg.connect(url.geturl(), autocommit=True)
        asker = psycopg.connect(url.geturl(), autocommit=True)

        def run(sql: str) -> None:
            try:
                link.execute(sql.encode())
            finally:
                if link.info.transaction_status:
                    link.execute("COMMIT")

        return run, lambda sql: (lambda c: c.fetchall() if c.description else None)(asker.execute(sql))
    import MySQLdb

    def connect() -> Any:
        return MySQLdb.connect(
            host=url.hostname,
            port=url.port,
            user=url.username,
            passwd=unquote(url.password or ""),
            db=url.path[1:],
            autocommit=True,
            charset="utf8mb4",
        )

    def drain(cursor: Any) -> list[Any]:
        rows = list(cursor.fetchall())
        while cursor.nextset() is not None:
            cursor.fetchall()
        return rows

    open_link: list[Any] = [connect()]

    def script(sql: str) -> None:
        try:
            with open_link[0].cursor() as cursor:
                cursor.execute(sql)
                drain(cursor)
        finally:
            try:
                open_link[0].commit()
                open_link[0].query("SELECT 1")
                open_link[0].store_result()
            except MySQLdb.Error:
                open_link[0] = connect()

    asker = connect()

    def ask(sql: str) -> list[Any]:
        with asker.cursor() as cursor:
            cursor.execute(sql)
            return drain(cursor)

    return script, ask


def is_read_to_sqlglot(sql: str, vendor: str) -> bool:
    """Whether sqlglot parses it as queries alone."""
    try:
        import sqlglot
    except ImportError:
        return False
    dialect = {"postgresql": "postgres"}.get(vendor, vendor)
    try:
        trees = sqlglot.parse(sql, read=dialect)
    except Exception:  # Its errors are of many kinds.
        return False
    writes = (sqlglot.exp.DML, sqlglot.exp.DDL, sqlglot.exp.Command, sqlglot.exp.Into)
    queries = [tree for tree in trees if tree is not None]
    return bool(queries) and all(
        isinstance(tree, sqlglot.exp.Query)
        and not any(
            isinstance(node, writes) and not isinstance(node, sqlglot.exp.Query) for node in tree.walk()
        )
        for tree in queries
    )


def main() -> int:
    """Run until time is up; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vendor", choices=["sqlite", "mysql", "postgresql"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    vendor, chance = options.vendor, random.Random(options.seed)
    script, ask = sqlite() if vendor == "sqlite" else server(vendor)
    seeds = SEEDS[""] + SEEDS[vendor]
    modes = [""]
    if vendor == "mysql":
        modes = [f"SET SESSION sql_mode = '{mode}'" for mode in ("", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES")]
    elif vendor == "postgresql":
        modes = [f"SET standard_conforming_strings = {mode}" for mode in ("on", "off")]
    ask("CREATE TABLE rw_truth (a int)")
    missed, cautious, total, changed = [], [], 0, 0
    end = time.monotonic() + options.seconds
    dirty = True
    while time.monotonic() < end:
        sql = mutated(seeds, chance)
        if "\x00" in sql:
            continue
        # MariaDB 10.11 crashes on some values there that are no expressions.
        if "STATEMENT" in sql and "SET STATEMENT max_statement_time=9 FOR" not in sql:
            continue
        if dirty:
            ask("DELETE FROM rw_truth")
            ask("INSERT INTO rw_truth VALUES (1)")
        mode = chance.choice(modes)
        try:
            if mode:
                script(mode)
            script(sql)
            ran = True
        except Exception:  # Most mutations are no SQL, and each driver has its own errors.
            ran = False
        if vendor == "sqlite":
            try:
                script("COMMIT")
            except sqlite3.Error:
                pass
            script("PRAGMA query_only = OFF")
        total += 1
        try:
            dirty = ask("SELECT a FROM rw_truth") not in ([(1,)], ((1,),))
        except Exception:
            dirty = True
            try:
                ask("CREATE TABLE rw_truth (a int)")
            except Exception:
                print("THE SERVER IS GONE after", mode, repr(sql))
                raise
        changed += dirty
        statement = classify(sql, vendor)
        if dirty and not statement.writes:
            missed.append((mode, sql))
            print("MISSED", statement.kind.value, mode, repr(sql), flush=True)
        elif ran and statement.kind is Kind.WRITE and not dirty and is_read_to_sqlglot(sql, vendor):
            cautious.append(sql)
            print("CAUTIOUS", repr(sql), flush=True)
    ask("DROP TABLE rw_truth")
    print(
        f"{vendor}: {total} statements, {changed} changed something, {len(missed)} of them missed; {len(cautious)} over-cautious"
    )
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
