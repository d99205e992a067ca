"""Reasons for ejecting a server, and how they are shown.

A cause is stored as a program wants it, in logs, signals and statistics: in English, or as a driver's error
with its code, such as ``OperationalError 2013``. Pages show it as a sentence, in the reader's language.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext, gettext_noop

from django_rwrouter.databases import meaning_of
from django_rwrouter.databases.base import LOST

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

_BY_TYPE: Final = {
    # Clients of PostgreSQL and SQLite have no code for a connection that fails.
    "OperationalError": gettext_noop("could not be reached, or lost the connection"),
    "InterfaceError": LOST,
    "TimeoutError": gettext_noop("did not answer in time"),
}
"""What a server did, by the type of an error without a code."""

_ERROR: Final = re.compile(r"(\w+Error)(?: (\w+))?")
"""An error as :func:`django_rwrouter.events.emit.why` writes it."""
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
    text = _BY_TYPE.get(code) or meaning_of(code)
    return f"{gettext(text)} ({code})" if text else cause
