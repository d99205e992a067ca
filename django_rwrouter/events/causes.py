"""Why a server was left alone: the words that this package finds for it itself.

They are written in English where it happens, into logs, signals and statistics; a page translates them when
it shows them. What comes from a driver, such as ``OperationalError 2013``, is the same in every language.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.translation import gettext, gettext_noop

TIMEOUT: Final = gettext_noop("timeout")
"""A server does not answer in time."""
NO_ANSWER: Final = gettext_noop("no answer")
"""It does not answer, and nobody has waited for it now."""
NO_ANSWER_WITHIN: Final = gettext_noop("no answer within %(seconds)s s")
NOT_IN_RECOVERY: Final = gettext_noop("not in recovery")
"""A PostgreSQL server takes writes: it is no replica."""
SLOW: Final = gettext_noop("slow: %(own)s ms, its peers %(peers)s ms")
"""Means of its reads, or of the monitor's own questions."""
SECONDS: Final = gettext_noop("%(seconds)s s")
"""For how long it was left alone."""

_VALUE: Final = re.compile(r"%\((\w+)\)s")


def _pattern(text: str) -> re.Pattern[str]:
    """Return what recognizes a text with its values in it; all of them are numbers."""
    words = _VALUE.split(text)  # Every other one is the name of a value.
    parts = [rf"(?P<{word}>[\d.e+-]+)" if index % 2 else re.escape(word) for index, word in enumerate(words)]
    return re.compile("".join(parts))


_PATTERNS: Final = {
    text: _pattern(text) for text in (TIMEOUT, NO_ANSWER, NO_ANSWER_WITHIN, NOT_IN_RECOVERY, SLOW, SECONDS)
}


def translated(cause: str) -> str:
    """Return a cause in the language in force; as it is, if it is none of these."""
    for text, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(cause):
            return gettext(text) % found.groupdict()
    return cause
