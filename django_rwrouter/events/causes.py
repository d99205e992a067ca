"""Reasons for ejecting a server. Logs, signals and statistics have them in English; pages translate them.

What comes from a driver, such as ``OperationalError 2013``, is the same in every language.
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

_VALUE: Final = re.compile(r"%\((\w+)\)s")


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern that matches a text with numbers for its values."""
    words = _VALUE.split(text)  # Every other one is the name of a value.
    parts = [rf"(?P<{word}>[\d.e+-]+)" if index % 2 else re.escape(word) for index, word in enumerate(words)]
    return re.compile("".join(parts))


_PATTERNS: Final = {
    text: _pattern(text) for text in (TIMEOUT, NO_ANSWER, NO_ANSWER_WITHIN, NOT_IN_RECOVERY, SLOW, SECONDS)
}


def translated(cause: str) -> str:
    """Translate a cause; return any other text as it is."""
    for text, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(cause):
            return gettext(text) % match.groupdict()
    return cause
