"""What a client carries: when it last wrote, for each cluster, signed.

A token is plain data. :meth:`Token.encode` makes the string that the stores keep, :func:`decode` reads it
back and says what was wrong with one that it does not accept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from django.core import signing

SALT: Final = "django_rwrouter.token"
MAX_LENGTH: Final = 3000
"""Characters. Longer values are not even verified; a cookie with its attributes has room for 4096 bytes."""
_VERSION: Final = 1

Flaw = Literal["oversized", "forged", "malformed", "foreign", "expired"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest write of a client to one cluster."""

    wrote_at: float
    """Unix time in seconds, taken after the commit."""


@dataclass(frozen=True, slots=True)
class Token:
    """A client's newest writes, by the cluster's name."""

    marks: Mapping[str, Mark] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def age(self, cluster: str, now: float) -> float:
        """Return the seconds since the client's last write to the cluster; infinity if there is none.

        A time in the future (another host's clock) counts as now.
        """
        mark = self.marks.get(cluster)
        return math.inf if mark is None else max(0.0, now - mark.wrote_at)

    def merge(self, other: Token) -> Token:
        """Return the token that covers what either covers."""
        if not other.marks:
            return self
        if not self.marks:
            return other
        marks = dict(self.marks)
        for cluster, mark in other.marks.items():
            if cluster not in marks or marks[cluster].wrote_at < mark.wrote_at:
                marks[cluster] = mark
        return Token(marks)

    def encode(self) -> str:
        """Return the signed string, or an empty one where nothing was written."""
        if not self.marks:
            return ""
        marks = {cluster: [round(mark.wrote_at, 6)] for cluster, mark in self.marks.items()}
        return signing.Signer(salt=SALT).sign_object([_VERSION, marks])


EMPTY: Final = Token()


def decode(value: str, lifetimes: Mapping[str, float], now: float) -> tuple[Token, Flaw | None]:
    """Read a token that came from outside; never raises.

    ``lifetimes`` has the seconds that a mark lives, by cluster. Returns the marks that are still alive and
    ``None``, or the empty token and what was wrong with the value.
    """
    if len(value) > MAX_LENGTH:
        return EMPTY, "oversized"
    try:
        version, raw = signing.Signer(salt=SALT).unsign_object(value)
        # A newer version may put more behind the time: the time is what we know how to use.
        found = {str(name): float(entry[0]) for name, entry in raw.items()}
    except signing.BadSignature:
        return EMPTY, "forged"
    except Exception:  # noqa: BLE001  (whatever decoding a stranger's bytes can raise)
        return EMPTY, "malformed"
    if version != _VERSION or not all(map(math.isfinite, found.values())):
        return EMPTY, "malformed"
    ours = {name: Mark(min(at, now)) for name, at in found.items() if name in lifetimes}
    if not ours:
        return EMPTY, "foreign"
    alive = {name: mark for name, mark in ours.items() if now - mark.wrote_at < lifetimes[name]}
    return (Token(alive), None) if alive else (EMPTY, "expired")
