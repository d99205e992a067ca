"""SQL dialects: the tokens of each, and what some words do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Tokens. What a pattern below matches is never given up in the middle: an opening quote or comment without
# its end takes the rest of the text, so that it is searched once.
SPACE: Final = r"[\t-\r ]"
WORD: Final = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
PLAIN_STRING: Final = r"'[^']*(?:''[^']*)*'"
ESCAPED_STRING: Final = r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"
DOUBLE_QUOTED: Final = r'"[^"]*(?:""[^"]*)*"'
ESCAPED_DOUBLE_QUOTED: Final = r'"[^"\\]*(?:(?:\\.|"")[^"\\]*)*"'
BACKQUOTED: Final = r"`[^`]*(?:``[^`]*)*`"
COMMENT: Final = r"/\*.*?\*/"
BRACKETED: Final = r"\[[^\]]*\]"


def lexer(
    string: str, *quoted: str, skip: str, unterminated: str, word: str = WORD, space: str = SPACE
) -> re.Pattern[str]:
    """Return the pattern of one token and what may be skipped after it.

    Lists of literals, as in ``IN (1, 2)`` and ``VALUES ('a', 1), ('b', 2)``, are one token.
    """
    literal = rf"(?:%s|[xXbBnN]?{string}|-?[0-9][0-9.]*|(?i:NULL|TRUE|FALSE)(?![A-Za-z0-9_$\x80-\U0010ffff]))"
    literals = rf"{literal}(?:{space}*,{space}*{literal})*"
    row = rf"\({space}*{literals}{space}*\)"
    tokens = "|".join(
        [rf"{row}(?:{space}*,{space}*{row})*", literals, *quoted, rf"(?:{unterminated}).*", word, "."]
    )
    return re.compile(rf"({tokens})(?:{space}+|{skip})*", re.DOTALL)


_ANY: Final = lexer(
    PLAIN_STRING,
    DOUBLE_QUOTED,
    BACKQUOTED,
    BRACKETED,
    skip=r"/\*(?:(?!/\*).)*?\*/|--[^\n]*",
    unterminated=r"""['"`\[]|/\*|[nN]?[qQ]'""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How the text of statements is read. The defaults are those of a database of which nothing is known."""

    lexers: tuple[re.Pattern[str], ...] = (_ANY,)
    """Patterns of one token. The first is the usual one; the others are only tried where there is a
    backslash, which may mean something else by a setting of the server."""
    marks: tuple[re.Pattern[str], ...] = ()
    """By lexer, what is in the way of nested comments and dollar quotes, and these themselves; empty if there
    are none."""
    has_executable_comments: bool = False
    """Whether comments may run, as ``/*! ... */``, or be hints."""
    needs_semicolons: bool = False
    """Whether a second statement can only follow a semicolon."""
    has_unicode_names: bool = False
    """Whether ``U&"..."`` is a name, whose escapes may spell any other."""
    has_copy: bool = False
    """Whether ``COPY`` reads and writes rows."""
    has_describe: bool = True
    """Whether ``DESCRIBE`` and ``DESC`` are ``EXPLAIN``."""
    has_do: bool = False
    """Whether ``DO`` computes an expression, and ``ANALYZE`` runs a statement."""
    has_variables: bool = False
    """Whether ``INTO @name`` sets a variable of the session."""
    reset_writes: bool = False
    """Whether ``RESET`` does more than to set a session back."""
