"""Reasons for ejecting a server, and what the codes of drivers mean: one table of sentences.

A cause is stored as a program wants it, in logs, signals and statistics: in English, or as a driver's error
with its code, such as ``OperationalError 2013``. Pages show it as a sentence, in the reader's language.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext, gettext_noop

TIMEOUT: Final = gettext_noop("timeout")
"""The server did not answer in time."""
NO_ANSWER: Final = gettext_noop("no answer")
"""The server did not answer before, and was not waited for now."""
NO_ANSWER_WITHIN: Final = gettext_noop("no answer within %(seconds)s s")
NOT_IN_RECOVERY: Final = gettext_noop("not in recovery")
"""The PostgreSQL server takes writes, so it is no replica."""
SLOW: Final = gettext_noop("slow: %(own)s ms, its peers %(peers)s ms")
"""Mean durations of reads, or of the monitor's probes."""
SECONDS: Final = gettext_noop("%(seconds)s s")
"""For how long the server was ejected."""

_FULL: Final = gettext_noop("has no connection left")
_REFUSED_USER: Final = gettext_noop("refused user or password")
_REFUSED_DATABASE: Final = gettext_noop("has no such database, or no right to it for this user")
_STOPPING: Final = gettext_noop("is shutting down")
_UNREACHABLE: Final = gettext_noop("refused the connection, or could not be reached")
_ENDED: Final = gettext_noop("ended the connection")
_LOST: Final = gettext_noop("lost the connection")

SENTENCES: Final = {
    **dict.fromkeys(("1040", "1203", "53300"), _FULL),
    **dict.fromkeys(("1045", "28000", "28P01"), _REFUSED_USER),
    **dict.fromkeys(("1044", "1049", "3D000"), _REFUSED_DATABASE),
    "1047": gettext_noop("is outside its Galera cluster"),
    **dict.fromkeys(("1053", "1077", "1079", "57P01"), _STOPPING),
    **dict.fromkeys(("1152", "1158", "1159", "1160", "1161", "1184", "08P01", "08006"), _LOST),
    **dict.fromkeys(("1927", "3169", "4031"), _ENDED),
    **dict.fromkeys(("2002", "2003"), _UNREACHABLE),
    "2005": gettext_noop("has a host name that is not known"),
    "2006": gettext_noop("went away"),
    "2013": gettext_noop("stopped answering, or went away"),
    "2026": gettext_noop("could not agree on an encrypted connection"),
    "3032": gettext_noop("is in offline mode"),
    "9001": gettext_noop("is not there behind its proxy"),
    "57P02": gettext_noop("has crashed"),
    "57P03": gettext_noop("is starting, or takes no connections yet"),
    # Clients of PostgreSQL and SQLite have no code for a connection that fails.
    "OperationalError": gettext_noop("could not be reached, or lost the connection"),
    "InterfaceError": _LOST,
}
"""What a server did, by the error's code (MariaDB's and MySQL's numbers, PostgreSQL's SQLSTATE), or else its
type."""

_ERROR: Final = re.compile(r"(\w+Error)(?: (\w+))?")
"""An error as :func:`django_rwrouter.events.why` writes it."""
_VALUE: Final = re.compile(r"%\((\w+)\)s")


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern that matches a text with numbers for its values."""
    words = _VALUE.split(text)  # Every other one is the name of a value.
    parts = [rf"(?P<{word}>[\d.e+-]+)" if index % 2 else re.escape(word) for index, word in enumerate(words)]
    return re.compile("".join(parts))


_PATTERNS: Final = {
    text: _pattern(text) for text in (TIMEOUT, NO_ANSWER, NO_ANSWER_WITHIN, NOT_IN_RECOVERY, SLOW, SECONDS)
}


def sentence(cause: str) -> str:
    """Return a cause as a sentence in the language in force; as it is, if it is none of these."""
    for text, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(cause):
            return gettext(text) % match.groupdict()
    error = _ERROR.fullmatch(cause)
    code = error[error.lastindex or 0] if error else ""
    return f"{gettext(SENTENCES[code])} ({code})" if code in SENTENCES else cause
