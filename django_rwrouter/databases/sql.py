"""Reading SQL just far enough to tell whether it writes, and which tables it names.

What is not provably a read counts as a write, because the cost of a wrong guess is a client that reads
from the primary for a few seconds on one side, and a stale read on the other. One thing cannot be told
from the text: a function of the site's own that writes, called by a ``SELECT``. The documentation says so.

A statement is split into tokens in one pass, in linear time. Where the text may mean two things, depending on
settings of the server that nobody has asked for, it is read both ways, and the worse result counts.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.model_labels import OPENING_QUOTES
from django_rwrouter.databases import by_name
from django_rwrouter.databases.dialects import WORD, Dialect

_CACHED_LENGTH: Final = 10_000
"""Characters. Longer statements are not remembered, except when only lists of placeholders make them long."""
_CACHED_STATEMENTS: Final = 2048
"""For each database product; the oldest makes room."""
_REPEATED: Final = re.compile(r"(\((?:%s, )*%s\), |%s, )\1{7,}")
"""Long lists of placeholders, which say nothing of what a statement does. One is kept, so that neighbours
stay apart. Within a string or a comment nothing is lost that is looked at."""


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
    """Names that stand where tables do, in lower case: as ``schema.table`` and ``table`` if the schema is
    given."""
    target: str | None = None
    """The one table that it writes, where that is certain; with its schema, if that is given."""
    in_parts: bool = False
    """Whether it may have done part of its work when it fails: several statements, or a procedure."""
    locks: bool = False
    """Whether it is a read that locks rows for a write (``FOR UPDATE``)."""
    writes: bool = field(init=False)
    """Whether it counts as a write."""
    operation: str = field(init=False)
    """What it is counted as: the value of its kind, which an enumeration is slow to tell."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "writes", self.kind is Kind.WRITE)
        object.__setattr__(self, "operation", self.kind.value)


class Statements(dict[str, Statement]):
    """What the statements of a database do, by their text; ``vendor`` is Django's name of the database.

    A look-up, as each statement takes it, is one of a dict: a statement that is not there is classified.
    """

    def __init__(self, vendor: str) -> None:
        super().__init__()
        self._vendor = vendor
        self._lock = threading.Lock()

    def __missing__(self, sql: str) -> Statement:
        short = sql if len(sql) <= _CACHED_LENGTH else _REPEATED.sub(r"\1", sql)
        if short is not sql and len(short) <= _CACHED_LENGTH:
            return self[short]
        statement = _classify(short, by_name(self._vendor).dialect)
        if len(short) <= _CACHED_LENGTH:
            with self._lock:
                self[short] = statement
                if len(self) > _CACHED_STATEMENTS:
                    del self[next(iter(self))]
        return statement


class _StatementsByVendor(dict[str, Statements]):
    def __missing__(self, vendor: str) -> Statements:
        return self.setdefault(vendor, Statements(vendor))


STATEMENTS: Final = _StatementsByVendor()
process.owns(STATEMENTS.clear, settings=[SETTING])


def classify(sql: str, vendor: str) -> Statement:
    """Tell what a statement does; ``vendor`` is Django's name of the database (``"mysql"``, ...)."""
    return STATEMENTS[vendor][sql]


_COMMENT_MARK: Final = re.compile(r"/\*|\*/")
_EXECUTABLE: Final = re.compile(r"/\*M?![0-9]*([\w.,=@()\t-\r ]*)\*/", re.ASCII)
"""A comment that runs, with nothing inside that could hide what follows."""
_HINT: Final = re.compile(r"""/\*\+(?:[^'"`\\]|'[^']*'|"[^"]*"|`[^`]*`)*\*/""")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_READS: Final = frozenset({"SELECT", "VALUES", "SHOW", "FETCH", "MOVE", "TABLE", "HELP", "WITH", "DECLARE"})
_WHOLE: Final = _set(
    "SELECT VALUES SHOW FETCH TABLE HELP INSERT UPDATE DELETE REPLACE MERGE WITH CREATE ALTER TRUNCATE"
)
"""Statements that fail as a whole or not at all."""
_CONTROL: Final = _set(
    "ROLLBACK ABORT SAVEPOINT RELEASE SET RESET USE CLOSE LISTEN UNLISTEN DISCARD DEALLOCATE KILL UNLOCK LOCK"
)
_MODES: Final = _set(
    "TRANSACTION TRAN WORK DEFERRED IMMEDIATE EXCLUSIVE CONCURRENT ISOLATION LEVEL READ ONLY WRITE COMMITTED"
    " UNCOMMITTED REPEATABLE SERIALIZABLE NOT DEFERRABLE WITH CONSISTENT SNAPSHOT ,"
)
_END: Final = frozenset({"TRANSACTION", "TRAN", "WORK", "AND", "NO", "CHAIN", "RELEASE"})
_ONLY_WITH: Final = {"BEGIN": _MODES, "START": _MODES, "COMMIT": _END, "END": _END}
"""Control, if no other words follow: ``COMMIT PREPARED`` and ``BEGIN NOT ATOMIC`` write."""
_WRITING_WORDS: Final = frozenset({"INTO", "INSERT", "REPLACE", "DELETE", "MERGE", "UPDATE"})
_MORE_WRITING_WORDS: Final = _set("CREATE ALTER DROP TRUNCATE EXEC EXECUTE CALL GRANT REVOKE")
"""On databases where statements may follow each other without a semicolon."""
_WRITING_FUNCTIONS: Final = frozenset(
    form.format(name)
    for name in _set(
        # sequences; large objects; messages (PostgreSQL's manual, 9.17, 35.4 and 9.28)
        "NEXTVAL SETVAL LO_CREAT LO_CREATE LO_UNLINK LO_IMPORT LO_FROM_BYTEA LO_PUT LOWRITE LO_TRUNCATE"
        " LO_TRUNCATE64 PG_NOTIFY PG_LOGICAL_EMIT_MESSAGE DBLINK_EXEC"
        # geometry columns (PostGIS, SpatiaLite)
        " ADDGEOMETRYCOLUMN RECOVERGEOMETRYCOLUMN DISCARDGEOMETRYCOLUMN DROPGEOMETRYCOLUMN DROPGEOMETRYTABLE"
        " UPDATEGEOMETRYSRID POPULATE_GEOMETRY_COLUMNS CREATESPATIALINDEX DISABLESPATIALINDEX"
        " INITSPATIALMETADATA"
        # SQLite: code of which nothing is known
        " LOAD_EXTENSION"
    )
    for form in ("{}", '"{}"', "`{}`")
)
_GLOBAL_SETTINGS: Final = frozenset({"GLOBAL", "PERSIST", "PERSIST_ONLY", "PASSWORD"})
_EXPLAINED: Final = _set(
    "SELECT INSERT UPDATE DELETE REPLACE MERGE WITH VALUES TABLE EXECUTE CREATE REFRESH DECLARE PRAGMA"
)
_ANALYZE: Final = frozenset({"ANALYZE", "ANALYSE"})
_HARMLESS_OPTIONS: Final = _set(
    "( ) , = VERBOSE COSTS BUFFERS FORMAT"
    " SETTINGS SUMMARY TIMING WAL GENERIC_PLAN MEMORY TEXT XML JSON YAML ON OFF"
    " TRUE FALSE QUERY PLAN EXTENDED PARTITIONS TRADITIONAL TREE"
)
_PRAGMAS_THAT_READ: Final = _set(
    "TABLE_INFO TABLE_XINFO TABLE_LIST INDEX_INFO INDEX_XINFO INDEX_LIST FOREIGN_KEY_LIST FOREIGN_KEY_CHECK"
    " INTEGRITY_CHECK QUICK_CHECK"
)
_PRAGMAS_OF_A_SESSION: Final = _set(
    "FOREIGN_KEYS QUERY_ONLY CASE_SENSITIVE_LIKE DEFER_FOREIGN_KEYS LEGACY_ALTER_TABLE CACHE_SIZE"
    " BUSY_TIMEOUT"
    " SYNCHRONOUS TEMP_STORE"
    " MMAP_SIZE RECURSIVE_TRIGGERS AUTOMATIC_INDEX REVERSE_UNORDERED_SELECTS"
    " READ_UNCOMMITTED CACHE_SPILL THREADS"
)
_PRAGMAS_THAT_WRITE: Final = frozenset({"OPTIMIZE", "INCREMENTAL_VACUUM", "WAL_CHECKPOINT"})
_BEFORE_FUNCTIONS: Final = frozenset({"FROM", "JOIN", "STRAIGHT_JOIN"})
"""What stands before a table, or a function that returns one."""
_BEFORE_TABLES: Final = _BEFORE_FUNCTIONS | {"INTO", "UPDATE", "TABLE", "COPY"}
_BETWEEN: Final = frozenset({"ONLY", "LATERAL", "IF", "NOT", "EXISTS", "LOW_PRIORITY", "IGNORE", "OF"})
_AFTER_TABLES: Final = _set(
    "SELECT VALUES SET OUTFILE DUMPFILE WHERE GROUP HAVING ORDER LIMIT OFFSET WINDOW UNION EXCEPT"
    " INTERSECT RETURNING DUPLICATE"
)
"""What ends a list of tables."""
_FROM_OF_AN_EXPRESSION: Final = frozenset({"EXTRACT", "SUBSTRING", "TRIM", "OVERLAY"})
_NAME: Final = re.compile(rf'{WORD}|".*"|`.*`|\[.*\]', re.DOTALL)
_TARGET: Final = re.compile(
    "INSERT (?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY) )?(?:IGNORE |OR [^ ]+ )?INTO |REPLACE (?:INTO )?"
    "|UPDATE (?:ONLY )?|DELETE FROM (?:ONLY )?"
)
"""What stands before the one table that a statement writes."""
_AFTER_INSERT: Final = _set("VALUES VALUE SELECT DEFAULT SET AS OVERRIDING")
_AFTER_TARGET: Final = {
    "INSERT": _AFTER_INSERT,
    "REPLACE": _AFTER_INSERT,
    "UPDATE": frozenset({"SET"}),
    "DELETE": frozenset({"WHERE", "ORDER", "LIMIT", "RETURNING", ""}),
}


def _classify(sql: str, dialect: Dialect) -> Statement:
    usual, complete = _parts(sql, dialect, 0)
    if not complete:  # Nothing can be told of what follows.
        return Statement(Kind.WRITE, frozenset(), in_parts=True)
    statements = [(part, _upper(part)) for part in usual]
    kinds = [_kind(words, dialect) for _part, words in statements]
    tables = frozenset(name for part, words in statements for name in _tables(part, words))
    if Kind.WRITE in kinds:
        if len(statements) > 1:
            return Statement(Kind.WRITE, tables, in_parts=True)
        [(part, words)] = statements
        target = _target(part, words)
        if target is not None:
            tables |= _forms(target)
        return Statement(Kind.WRITE, tables, target, in_parts=_first_word(words) not in _WHOLE)
    if "\\" in sql:
        for other in range(1, len(dialect.lexers)):
            # What has no end in such a reading is an error to the server; what stands before it is run.
            parts, complete = _parts(sql, dialect, other)
            if _writes(parts if complete else parts[:-1], dialect):
                return Statement(Kind.WRITE, tables, in_parts=True)
    locks = any("UPDATE" in words and _locks(words) for _part, words in statements)
    return Statement(Kind.READ if Kind.READ in kinds else Kind.CONTROL, tables, locks=locks)


def _parts(sql: str, dialect: Dialect, reading: int) -> tuple[list[list[str]], bool]:
    """Return the tokens of each statement in the text, and whether all that begins in it ends.

    A null character, which servers and drivers treat differently, and an odd executable comment count as
    something without an end.
    """
    if "\x00" in sql:
        return [], False
    lexer = dialect.lexers[reading]
    if dialect.marks and ("$" in sql or sql.count("/*") > 1):
        sql = _flattened(sql, dialect.marks[reading])
    # The first semicolon lets a comment be skipped that comes first; the last shows that it was reached.
    tokens = lexer.findall(f";{sql}\n;")
    complete = tokens[-1:] == [";"]
    if dialect.has_executable_comments and "/*" in sql and complete:
        opened = _opened(tokens, lexer, dialect)
        if opened is None:
            return [], False
        tokens = opened
    return _split(tokens), complete


def _split(tokens: Iterable[str]) -> list[list[str]]:
    """Return the tokens of each statement."""
    return [list(part) for is_end, part in groupby(tokens, ";".__eq__) if not is_end]


def _flattened(sql: str, marks: re.Pattern[str]) -> str:
    """Replace PostgreSQL's comments, which nest, and dollar quotes by what the lexer can match."""
    pieces: list[str] = []
    start = 0
    while mark := marks.search(sql, start):
        piece, end = mark[0], mark.end()
        pieces.append(sql[start : mark.start()])
        if piece == "/*":
            piece, depth = " ", 1
            for inner in _COMMENT_MARK.finditer(sql, end):
                depth += 1 if inner[0] == "/*" else -1
                if not depth:
                    end = inner.end()
                    break
            else:
                piece, end = "'", len(sql)
        elif piece[0] == "$":
            end = sql.find(piece, end) + len(piece)
            piece = " '' "
            if end < mark.end() + len(mark[0]):
                piece, end = "'", len(sql)
        elif piece in {"'", '"'}:
            piece, end = "'", len(sql)
        pieces.append(piece)
        start = end
    pieces.append(sql[start:])
    return "".join(pieces)


def _opened(tokens: list[str], lexer: re.Pattern[str], dialect: Dialect) -> list[str] | None:
    """Return the tokens of MySQL with hints taken out, and with executable comments opened.

    Which of these run depends on the server and its version. So a statement with one that could matter is
    refused (``None``), and so is one whose hint may end elsewhere. The others are told to change nothing by
    reading the statement with and without them.
    """
    opened: list[str] = []
    without: list[str] = []
    for token in tokens:
        if not token.startswith("/*"):
            opened.append(token)
            without.append(token)
            continue
        if token.startswith("/*+"):
            if not _HINT.fullmatch(token):
                return None
            continue
        content = _EXECUTABLE.fullmatch(token)
        if content is None:
            return None
        inner = lexer.findall(content[1].lstrip())
        if not (_WRITING_WORDS | _WRITING_FUNCTIONS).isdisjoint(_upper(inner)):
            return None
        opened += inner
    return None if len(without) != len(opened) and _writes(_split(without), dialect) else opened


def _writes(parts: Iterable[Sequence[str]], dialect: Dialect) -> bool:
    return any(_kind(_upper(part), dialect) is Kind.WRITE for part in parts)


def _upper(part: Sequence[str]) -> list[str]:
    return [token.upper() for token in part]


def _first_word(words: Sequence[str]) -> str:
    return next((word for word in words if word != "("), "")


def _kind(words: Sequence[str], dialect: Dialect) -> Kind:
    """Tell what one statement does, given its tokens in capitals."""
    word = _first_word(words)
    if word == "EXPLAIN" or (word in {"DESCRIBE", "DESC"} and dialect.has_describe):
        return _kind_of_explain(words, dialect)
    if word == "PRAGMA":
        return _kind_of_pragma(words)
    if words[:2] != ["SET", "STATEMENT"] and _has_writing_word(words, dialect):
        return Kind.WRITE
    if word in _READS or (word == "DO" and dialect.has_do):
        return Kind.READ
    if word == "COPY" and dialect.has_copy:
        return Kind.READ if "STDOUT" in words and words[words.index("STDOUT") - 1] == "TO" else Kind.WRITE
    if word == "ANALYZE" and dialect.has_do:  # It runs a statement, or writes a table's statistics.
        rest = words[4:] if words[1:3] == ["FORMAT", "="] else words[1:]
        return _kind(rest, dialect) if _first_word(rest) in {"SELECT", "WITH", "VALUES"} else Kind.WRITE
    if word in _ONLY_WITH:
        return Kind.CONTROL if _ONLY_WITH[word].issuperset(words[1:]) else Kind.WRITE
    if word == "SET":
        return _kind_of_set(words, dialect)
    if word in _CONTROL and not (word == "RESET" and dialect.reset_writes):
        return Kind.CONTROL
    return Kind.WRITE


def _kind_of_explain(words: Sequence[str], dialect: Dialect) -> Kind:
    """``EXPLAIN`` plans, ``EXPLAIN ANALYZE`` runs; options that are unknown may ask for either."""
    at = next((at for at, word in enumerate(words) if word in _EXPLAINED), len(words))
    if at == len(words):
        return Kind.READ if _ANALYZE.isdisjoint(words) else Kind.WRITE
    if words[at] != "PRAGMA" and all(
        word in _HARMLESS_OPTIONS or word[0] in "'0123456789" for word in words[1:at]
    ):
        return Kind.READ
    return _kind(words[at:], dialect)  # SQLite runs some pragmas while it prepares them.


def _kind_of_pragma(words: Sequence[str]) -> Kind:
    at = 3 if words[2:3] == ["."] else 1
    name = words[at].strip("\"`[]'") if len(words) > at else ""
    if len(words) == at + 1:
        return Kind.WRITE if name in _PRAGMAS_THAT_WRITE else Kind.READ
    if name in _PRAGMAS_OF_A_SESSION or (name in _PRAGMAS_THAT_READ and words[at + 1] != "="):
        return Kind.READ
    return Kind.WRITE


def _kind_of_set(words: Sequence[str], dialect: Dialect) -> Kind:
    if words[1:2] == ["STATEMENT"]:  # MariaDB: settings for one statement, which follows.
        depth = 0
        for at, word in enumerate(words):
            depth += (word == "(") - (word == ")")
            if word == "FOR" and not depth:
                if words[at + 1 : at + 2] == ["SET"]:
                    return Kind.WRITE
                return (
                    Kind.WRITE if _has_writing_word(words[:at], dialect) else _kind(words[at + 1 :], dialect)
                )
        return Kind.WRITE
    if not _GLOBAL_SETTINGS.isdisjoint(words) or words[1:3] == ["DEFAULT", "ROLE"]:
        return Kind.WRITE
    return Kind.CONTROL


def _has_writing_word(words: Sequence[str], dialect: Dialect) -> bool:
    """Whether a statement may write that does not begin like one."""
    if _changes_more_than_tables(words):
        return True
    if dialect.has_unicode_names and _calls_escaped_name(words):
        return True
    if not dialect.needs_semicolons and not _MORE_WRITING_WORDS.isdisjoint(words):
        return True
    if _WRITING_WORDS.isdisjoint(words):
        return False
    for at, word in enumerate(words):
        if word not in _WRITING_WORDS or (at and words[at - 1] == "."):
            continue
        after = words[at + 1] if at + 1 < len(words) else ""
        if word == "UPDATE":
            is_harmless = _is_lock(words, at)
        elif word == "INTO":  # A variable of the session.
            is_harmless = dialect.has_variables and after == "@"
        else:  # MySQL and others have functions INSERT() and REPLACE().
            is_harmless = after.startswith("(")
        if not is_harmless:
            return True
    return False


def _changes_more_than_tables(words: Sequence[str]) -> bool:
    """Whether a function is called that is known to write, or a sequence is asked for its next value."""
    if not _WRITING_FUNCTIONS.isdisjoint(words):
        for word, after in zip(words, [*words[1:], ""], strict=True):
            if word in _WRITING_FUNCTIONS and (after.startswith("(") or word == "NEXTVAL"):
                return True
    return "NEXT" in words and ("NEXT", "VALUE", "FOR") in zip(words, words[1:], words[2:], strict=False)


def _calls_escaped_name(words: Sequence[str]) -> bool:
    """Whether a function is called as ``U&"..."``, whose escapes may spell any name."""
    return "U" in words and any(
        before == "U" and word == "&" and name[0] == '"' and (after[0] == "(" or after == "UESCAPE")
        for before, word, name, after in zip(words, words[1:], words[2:], words[3:], strict=False)
    )


def _locks(words: Sequence[str]) -> bool:
    return any(word == "UPDATE" and _is_lock(words, at) for at, word in enumerate(words))


def _is_lock(words: Sequence[str], at: int) -> bool:
    """Whether the ``UPDATE`` at this place belongs to ``FOR UPDATE`` or ``FOR NO KEY UPDATE``."""
    return at > 0 and (words[at - 1] == "FOR" or list(words[max(at - 3, 0) : at]) == ["FOR", "NO", "KEY"])


def _tables(part: Sequence[str], words: Sequence[str]) -> Iterator[str]:
    """Yield the names that stand where tables do; ``words`` are the same tokens in capitals."""
    if _BEFORE_TABLES.isdisjoint(words):
        return
    may_call = False
    lists = False  # Whether a comma stands before another table here.
    expects = False  # Whether a table comes next.
    around: list[bool] = []
    for at, word in enumerate(words):
        if word == "(":
            around.append(lists)
            lists = expects
        elif word == ")":
            lists, expects = bool(around) and around.pop(), False
        elif word == ",":
            expects = lists
        elif word in _BEFORE_TABLES and not _names_no_table(words, at):
            lists = expects = lists or word != "STRAIGHT_JOIN"  # Else one of SELECT's own words.
            may_call = word in _BEFORE_FUNCTIONS
        elif word in _AFTER_TABLES:
            lists = expects = False
        elif expects and word not in _BETWEEN:
            expects = False
            name, after = _name_at(part, at)
            if name is not None and not (may_call and after < len(words) and words[after].startswith("(")):
                yield from _forms(name)


def _names_no_table(words: Sequence[str], at: int) -> bool:
    word = words[at]
    if word == "UPDATE":
        return _is_lock(words, at) or (at > 0 and words[at - 1] == "KEY")
    if word == "COPY":
        return at > 0
    if word == "JOIN":
        return words[at - 1 : at] == ["FOR"]  # An index hint.
    if word == "FROM":
        before = list(words[max(at - 3, 0) : at])
        is_operand = before[-1:] == ["DISTINCT"] and before[-2:-1] in (["IS"], ["NOT"])
        return is_operand or (before[1:2] == ["("] and before[0] in _FROM_OF_AN_EXPRESSION)
    return False


def _name_at(part: Sequence[str], at: int) -> tuple[str | None, int]:
    """Return the name at this place, as ``table_name()`` returns a model's, and the place after it."""
    names: list[str] = []
    while at < len(part) and _NAME.fullmatch(part[at]):
        names.append(_unquoted(part[at]).lower())
        at += 1
        if at >= len(part) or part[at] != ".":
            return ".".join(names), at
        at += 1
    return None, at


def _unquoted(name: str) -> str:
    quote = name[-1]
    return name[1:-1].replace(quote * 2, quote) if name[0] in OPENING_QUOTES else name


def _forms(name: str) -> frozenset[str]:
    """Return a name with its schema and without, as a model may leave it out."""
    return frozenset({name, name.rpartition(".")[2]})


def _target(part: Sequence[str], words: Sequence[str]) -> str | None:
    """Return the one table that a statement writes, or ``None`` if it may be another or several."""
    match = _TARGET.match(" ".join([*words[:6], ""]))
    if match is None:
        return None
    name, at = _name_at(part, match[0].count(" "))
    after, followers = words[at] if at < len(words) else "", _AFTER_TARGET[words[0]]
    if name is None or not (after in followers or ("VALUES" in followers and after.startswith("("))):
        return None
    # The rest may write, too: WITH x AS (DELETE ...).
    for place in range(at, len(words)):
        if words[place] in {"INSERT", "DELETE", "MERGE"} and words[place + 1 : place + 2] != ["("]:
            return None
        if words[place] == "UPDATE" and words[place - 1] not in {"FOR", "KEY", "DO"}:
            return None
    return name


def text_of(sql: Any, connection: BaseDatabaseWrapper) -> str:
    """Return the text of a statement given as bytes or as psycopg's composed SQL."""
    if isinstance(sql, bytes):
        return sql.decode(errors="replace")
    if hasattr(sql, "as_string"):
        return str(sql.as_string(connection.connection))
    return str(sql)
