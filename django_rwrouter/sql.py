"""Reading SQL just far enough to tell whether it writes, and which tables it names.

What is not provably a read counts as a write, because the cost of a wrong guess is a client that reads
from the primary for a few seconds on one side, and a stale read on the other. One thing cannot be told
from the text: a function that writes, called by a ``SELECT``. The documentation says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final

_CACHED_LENGTH: Final = 10_000
"""Characters. Longer statements (bulk inserts with literal values) are read each time, not remembered."""


class Kind(Enum):
    """What a statement does."""

    READ = "read"
    WRITE = "write"
    CONTROL = "control"
    """Transactions and session settings: neither read nor write."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is known of one statement."""

    kind: Kind
    tables: frozenset[str]
    """Names that stand where tables do, without their schema."""
    target: str | None = None
    """The one table that it writes, where that is certain."""
    in_parts: bool = False
    """Whether it may have done part of its work when it fails: several statements, or a procedure."""
    writes: bool = field(init=False)
    """Whether it counts as a write."""
    operation: str = field(init=False)
    """What it is counted as: the value of its kind, which an enumeration is slow to tell."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "writes", self.kind is Kind.WRITE)
        object.__setattr__(self, "operation", self.kind.value)


def classify(sql: str, vendor: str) -> Statement:
    """Tell what a statement does; ``vendor`` is Django's name of the database (``"mysql"``, ...)."""
    if len(sql) > _CACHED_LENGTH:
        return _classify(sql, vendor)
    return _classify_cached(sql, vendor)


_IDENTIFIER: Final = r"""(?:"(?:[^"]|"")+"|`(?:[^`]|``)+`|\[[^\]]+\]|[^\W\d][\w$]*)"""
_NAME: Final = rf"{_IDENTIFIER}(?:\s*\.\s*{_IDENTIFIER})*"

# What a keyword must not be found in: strings, quoted names and comments. MySQL alone escapes with a
# backslash, quotes strings with double quotes and starts a comment with "#".
_OPAQUE_MYSQL: Final = re.compile(
    r"""(?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")"""
    r"""|(?P<name>`(?:[^`]|``)*`)"""
    r"""|(?P<comment>/\*(?!M?!).*?\*/|--(?=[\s\x00-\x1f]|$)[^\n]*|\#[^\n]*)""",
    re.DOTALL,
)
_OPAQUE_POSTGRESQL: Final = re.compile(
    r"""(?P<string>\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|(?<![\w$])\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"""
    r"""|(?P<name>"(?:[^"]|"")*")"""
    r"""|(?P<comment>/\*(?:(?!/\*).)*?\*/|--[^\n]*)""",
    re.DOTALL,
)
_OPAQUE_OTHER: Final = re.compile(
    r"""(?P<string>'(?:[^']|'')*')"""
    r"""|(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])"""
    r"""|(?P<comment>/\*.*?\*/|--[^\n]*)""",
    re.DOTALL,
)
_EXECUTABLE_COMMENT: Final = re.compile(r"/\*M?!\d*|\*/")

_FIRST_WORD: Final = re.compile(r"[\s(]*([A-Za-z]+)")
_TABLE: Final = re.compile(
    rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:ONLY\s+|IF\s+(?:NOT\s+)?EXISTS\s+)?({_NAME}"
    # FROM may list several, each with an alias.
    rf"(?:(?:\s+(?:AS\s+)?{_IDENTIFIER})?\s*,\s*{_NAME})*)",
    re.IGNORECASE,
)
_COMMA: Final = re.compile(r"\s*,\s*")
_FIRST_NAME: Final = re.compile(_NAME)
_LAST_PART: Final = re.compile(rf"({_IDENTIFIER})\s*$")

_READS: Final = frozenset({"SELECT", "VALUES", "SHOW", "DESCRIBE", "DESC", "FETCH", "TABLE", "HELP"})
_WHOLE: Final = _READS | {
    "INSERT",
    "UPDATE",
    "DELETE",
    "REPLACE",
    "MERGE",
    "WITH",
    "CREATE",
    "ALTER",
    "TRUNCATE",
}
"""Statements that fail as a whole or not at all."""
_CONTROL: Final = frozenset(
    {
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SAVEPOINT",
        "RELEASE",
        "SET",
        "RESET",
        "USE",
        "CLOSE",
        "LISTEN",
        "UNLISTEN",
        "DISCARD",
        "DEALLOCATE",
        "KILL",
        "UNLOCK",
        "LOCK",
    }
)
# Inside a statement that begins as a read: these words mean that it writes. MySQL and others have
# functions called INSERT() and REPLACE(), and FOR UPDATE is a lock, not a write.
_WRITING_WORD: Final = re.compile(
    r"\b(?:INTO|(?:INSERT|REPLACE|DELETE|MERGE)\b(?!\s*\()|(?<!FOR )(?<!KEY )UPDATE)\b",
    re.IGNORECASE,
)
_SPACES: Final = re.compile(r"\s+")
_RUN_BY_EXPLAIN: Final = re.compile(r"\b(?:CREATE|EXECUTE|REFRESH)\b", re.IGNORECASE)
_COMPOUND: Final = re.compile(r"[\s(]*BEGIN\s+NOT\b", re.IGNORECASE)
"""MariaDB's way to run several statements as one."""
_ANALYZE: Final = re.compile(r"\bANALY[ZS]E\b", re.IGNORECASE)
_SET_THAT_WRITES: Final = re.compile(
    r"[\s(]*SET\s+(?:PASSWORD|STATEMENT|GLOBAL|PERSIST|DEFAULT\s+ROLE)\b", re.IGNORECASE
)
_PRAGMA_THAT_READS: Final = re.compile(
    r"\s*PRAGMA\s+(?:\w+\.)?(?:\w+\s*;?\s*$"
    r"|(?:table_x?info|table_list|index_x?info|index_list|foreign_key_list|foreign_key_check"
    r"|integrity_check|quick_check)\s*\("
    r"|(?:foreign_keys|query_only|case_sensitive_like|defer_foreign_keys|legacy_alter_table"
    r"|cache_size|busy_timeout|synchronous|temp_store|mmap_size)\s*[=(])",
    re.IGNORECASE,
)
_TARGET: Final = re.compile(
    rf"\s*(?:INSERT\s+(?:LOW_PRIORITY\s+|DELAYED\s+|HIGH_PRIORITY\s+)?(?:IGNORE\s+|OR\s+\w+\s+)?INTO\s+"
    rf"|REPLACE\s+(?:INTO\s+)?)({_IDENTIFIER})\s*(?:\(|VALUES?\b|SELECT\b|DEFAULT\b|SET\b|AS\b)"
    rf"|\s*UPDATE\s+(?:ONLY\s+)?({_IDENTIFIER})\s+SET\b"
    rf"|\s*DELETE\s+FROM\s+(?:ONLY\s+)?({_IDENTIFIER})\s*(?:WHERE\b|ORDER\b|LIMIT\b|RETURNING\b|;?\s*$)",
    re.IGNORECASE,
)


def _classify(sql: str, vendor: str) -> Statement:
    plain = _without_opaque_text(sql, vendor)
    if plain is None:
        return Statement(Kind.WRITE, frozenset(), in_parts=True)
    tables = frozenset(name for match in _TABLE.finditer(plain) for name in _names(match[1]))
    parts = [part for part in plain.split(";") if part.strip()]
    kinds = {_kind(part) for part in parts}
    if Kind.WRITE in kinds:
        if len(parts) > 1:
            return Statement(Kind.WRITE, tables, in_parts=True)
        return Statement(Kind.WRITE, tables, _target(plain), in_parts=_first_word(plain) not in _WHOLE)
    if Kind.READ in kinds:
        return Statement(Kind.READ, tables)
    return Statement(Kind.CONTROL, tables)


_classify_cached = lru_cache(maxsize=2048)(_classify)


def _without_opaque_text(sql: str, vendor: str) -> str | None:
    """Return the statement with comments and the contents of strings gone.

    ``None`` if a string or a comment has no end: then nothing can be told of what follows.
    """
    if vendor == "mysql":
        if "/*!" in sql or "/*M!" in sql:  # MySQL runs what stands in such a comment.
            sql = _EXECUTABLE_COMMENT.sub(" ", sql)
        opaque, quotes = _OPAQUE_MYSQL, "'\"`"
    elif vendor == "postgresql":
        opaque, quotes = _OPAQUE_POSTGRESQL, "'\""
    else:
        opaque, quotes = _OPAQUE_OTHER, "'\"`"
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["comment"] is not None:
            return " "
        if match["string"] is not None:
            return "''"
        names.append(match["name"])
        return "\x00"

    plain = opaque.sub(replace, sql)
    if "\x00" in sql or "/*" in plain or any(mark in plain.replace("''", "") for mark in quotes):
        return None
    found = iter(names)
    # Quoted names come back, without anything inside that could be taken for SQL.
    return re.sub("\x00", lambda _match: _harmless(next(found)), plain)


def _harmless(name: str) -> str:
    inner = name[1:-1]
    return '"' + (inner if re.fullmatch(r"[\w$ .-]+", inner) and ";" not in inner else "?") + '"'


def _kind(part: str) -> Kind:
    word = _first_word(part)
    if word in _READS or word == "WITH":
        return Kind.WRITE if _has_writing_word(part) else Kind.READ
    if word == "EXPLAIN":
        if _ANALYZE.search(part) and (_has_writing_word(part) or _RUN_BY_EXPLAIN.search(part)):
            return Kind.WRITE
        return Kind.READ
    if word == "ANALYZE":  # MariaDB: ANALYZE SELECT runs the statement; ANALYZE TABLE writes statistics.
        rest = _FIRST_WORD.sub("", part, count=1)
        return _kind(rest) if _FIRST_WORD.match(rest) and "TABLE" not in rest.upper()[:20] else Kind.WRITE
    if word == "PRAGMA":
        return Kind.READ if _PRAGMA_THAT_READS.match(part) else Kind.WRITE
    if word == "DECLARE":  # A cursor for a query.
        return Kind.WRITE if _has_writing_word(part) else Kind.READ
    if word in _CONTROL:
        writes = _SET_THAT_WRITES.match(part) or _COMPOUND.match(part)
        return Kind.WRITE if writes else Kind.CONTROL
    return Kind.WRITE


def _first_word(part: str) -> str:
    match = _FIRST_WORD.match(part)
    return match[1].upper() if match else ""


def _has_writing_word(part: str) -> bool:
    # Quoted names may be called anything; one space between words lets the look-behinds see "FOR UPDATE".
    return _WRITING_WORD.search(_SPACES.sub(" ", re.sub(r'"[^"]*"', '"', part))) is not None


def _target(plain: str) -> str | None:
    match = _TARGET.match(plain)
    name = match and (match[1] or match[2] or match[3])
    return _unquoted(name) if name else None


def _names(listed: str) -> Iterator[str]:
    """Yield the tables of a list, without their aliases."""
    for item in _COMMA.split(listed):
        name = _FIRST_NAME.match(item)
        if name is not None:
            yield _unquoted(name[0])


def _unquoted(name: str) -> str:
    last = _LAST_PART.search(name)
    part = last[1] if last else name
    return part[1:-1] if part[0] in '"`[' else part
