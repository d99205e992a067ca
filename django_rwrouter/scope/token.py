"""What a client carries, signed: for each cluster, when it last wrote, and how far a replica must have come.

A token is plain data. :meth:`Token.encode` makes the string that the stores keep, :func:`decode` reads it
back and says what was wrong with one that it does not accept.
"""

from __future__ import annotations

import hmac
import json
import math
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Literal

from django.core import signing
from django.utils.encoding import force_bytes

from django_rwrouter import process
from django_rwrouter.conf import SETTING
from django_rwrouter.conf.options import Lifetime

if TYPE_CHECKING:
    from django_rwrouter.databases.base import Position

SALT: Final = "django_rwrouter.scope.token"
MAX_LENGTH: Final = 3000
"""Characters. Longer values are not even verified; a cookie with its attributes has room for 4096 bytes."""
_VERSION: Final = 1
_JSON: Final = json.JSONEncoder(separators=(",", ":"))
"""Writes what Django's serializer writes, which makes an encoder for each value."""
Flaw = Literal["oversized", "forged", "malformed", "foreign"]


class FirstSights:
    """When this process first met tokens with a time in the future, that is, of a clock ahead of its own.

    Only signed tokens come here, so no stranger can fill it.
    """

    _LIMIT: Final = 4096

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all, and renew the lock."""
        self._lock = threading.Lock()
        self.times: dict[str, float] = {}

    def when(self, value: str, now: float, *, ahead: bool) -> float:
        """Return when the value was first met; not in the future, should our own clock be put back."""
        key = value.rpartition(":")[2]
        if not ahead and key not in self.times:
            return now
        with self._lock:
            first = min(self.times.pop(key, now), now)
            self.times[key] = first
            if len(self.times) > self._LIMIT:
                del self.times[next(iter(self.times))]
        return first


@dataclass(frozen=True, slots=True)
class Mark:
    """What a client has written to one cluster, and seen of it. Times are Unix time in seconds."""

    wrote_at: float = 0.0
    """Its newest write, taken after the commit; 0 if it only reads."""
    position: Position | None = None
    """Covers its writes, but for those that ``blind_at`` speaks of, and what it has seen."""
    blind_at: float = 0.0
    """Its newest write whose position was needed and could not be had; 0 if there is none."""
    seen_at: float = 0.0
    """When the position was last moved on by a read; 0 if by writes alone."""

    def merge(self, other: Mark) -> Mark:
        """Return the mark that demands what either demands.

        Positions of one history can be compared. Where they cannot, a failover lies between them: the older
        one can be reached by nobody any more, so what is left of it is its time.
        """
        older, newer = sorted((self, other), key=lambda mark: mark.touched)
        position = newer.position or older.position
        blind_at = max(self.blind_at, other.blind_at)
        if position is not None:
            blind_at = max(self.uncovered_at, other.uncovered_at)
        if older.position is not None and newer.position is not None:
            if type(older.position) is type(newer.position) and (
                older.position.covers(newer.position) or newer.position.covers(older.position)
            ):
                position = older.position.merge(newer.position)
            else:
                blind_at = max(blind_at, older.wrote_at)
        return Mark(max(self.wrote_at, other.wrote_at), position, blind_at, max(self.seen_at, other.seen_at))

    @property
    def touched(self) -> float:
        """Return when it last changed."""
        return max(self.wrote_at, self.blind_at, self.seen_at)

    @property
    def uncovered_at(self) -> float:
        """Return the time of the newest write that the position does not cover; 0 if it covers all."""
        return self.wrote_at if self.position is None and not self.blind_at else self.blind_at

    def lifetime(self, lives: Lifetime) -> float:
        """Return for how many seconds the mark lives, from its newest time on."""
        return lives.pin if self.position is None and not self.blind_at else max(lives)

    def alive(self, lives: Lifetime, now: float) -> Mark | None:
        """Return what is left of the mark now."""
        age = now - self.touched
        if age >= lives.position:
            return Mark(self.wrote_at) if now - self.wrote_at < lives.pin else None
        mark = self
        if self.blind_at and now - self.blind_at >= lives.position:
            mark = replace(self, blind_at=0.0)
        return mark if mark.position is not None or mark.blind_at or age < lives.pin else None

    def not_after(self, now: float, pin: float) -> Mark:
        """Take times in the future (another host's clock) for now.

        A transaction that was open when the token was made is expected to end within ``pin`` seconds.
        """
        if self.wrote_at <= now and self.blind_at <= now + pin and self.seen_at <= now:
            return self
        return replace(
            self,
            wrote_at=min(self.wrote_at, now),
            blind_at=min(self.blind_at, now + pin),
            seen_at=min(self.seen_at, now),
        )

    def blind(self) -> Mark:
        """Drop the position, and keep the time."""
        return Mark(self.wrote_at, None, self.touched)


@dataclass(frozen=True, slots=True)
class Token:
    """A client's marks, by the cluster's name."""

    marks: Mapping[str, Mark] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def merge(self, other: Token) -> Token:
        """Return the token that demands what either demands."""
        if not other.marks:
            return self
        if not self.marks:
            return other
        marks = dict(self.marks)
        for cluster, mark in other.marks.items():
            marks[cluster] = marks[cluster].merge(mark) if cluster in marks else mark
        return Token(marks)

    def encode(self, position_text: Callable[[Any], str] = str) -> str:
        """Return the signed string, or an empty one where there is nothing to say.

        ``position_text`` writes a position. Where the string becomes too long for a store, the longest
        positions are dropped, and the times kept.
        """
        if not self.marks:
            return ""
        marks = dict(self.marks)
        texts = {
            cluster: "" if (position := marks[cluster].position) is None else position_text(position)
            for cluster in marks
        }
        while True:
            raw = {cluster: _raw(marks[cluster], texts[cluster]) for cluster in marks}
            value = _signer().sign(signing.b64_encode(_JSON.encode([_VERSION, raw]).encode()).decode())
            if len(value) <= MAX_LENGTH or not any(texts.values()):
                return value
            longest = max(texts, key=lambda cluster: len(texts[cluster]))
            texts[longest], marks[longest] = "", marks[longest].blind()


EMPTY: Final = Token()


def _raw(mark: Mark, text: str) -> list[object]:
    raw: list[object] = [round(mark.wrote_at, 6)]
    if text or mark.blind_at:
        raw += [text, round(mark.blind_at, 6), round(mark.seen_at, 6)]
        while raw[-1] == 0.0:
            raw.pop()
    return raw


def decode(
    value: str,
    lifetimes: Mapping[str, Lifetime],
    now: float,
    read_position: Callable[[str], Position] | None = None,
    first_seen: FirstSights | None = None,
) -> tuple[Token, Flaw | None]:
    """Read a token that came from outside; never raises.

    ``read_position`` reads what ``position_text`` wrote, and raises ``ValueError`` for what it does not know.
    ``first_seen`` remembers when a value with a time in the future was first met. That is taken for its time,
    so a clock that is ahead of ours does not keep the mark alive for as long as it is ahead.
    Returns the marks that are still alive (none, if it has expired) and ``None``, or the empty token and what
    was wrong with the value.
    """
    if len(value) > MAX_LENGTH:
        return EMPTY, "oversized"
    try:
        signed = _verified(value, read_position)
    except signing.BadSignature:
        return EMPTY, "forged"
    except Exception:  # noqa: BLE001  (whatever decoding a stranger's bytes can raise)
        return EMPTY, "malformed"
    marks = {}
    ahead = False
    for name in signed:
        if name in lifetimes:
            mark = marks[name] = signed[name]
            # blind_at does not tell: it lies ahead where a transaction was still open.
            ahead = ahead or mark.wrote_at > now or mark.seen_at > now
    if not marks:
        return EMPTY, "foreign"
    latest = now
    if first_seen is not None and (ahead or first_seen.times):
        latest = first_seen.when(value, now, ahead=ahead)
    for name in [*marks]:
        left = marks[name].not_after(latest, lifetimes[name].pin).alive(lifetimes[name], now)
        if left is None:
            del marks[name]
        else:
            marks[name] = left
    return (Token(marks) if marks else EMPTY), None  # To expire is what a token is for, and no flaw.


class _Signer(signing.Signer):
    """Django's signer, with what ``salted_hmac()`` derives from a key for each signature derived once."""

    def signature(self, value: Any, key: str | bytes | None = None) -> str:
        code = hmac.digest(_derived(key or self.key), value.encode(), "sha256")
        return signing.b64_encode(code).decode()


@lru_cache(maxsize=8)
def _derived(key: str | bytes) -> bytes:
    return sha256(force_bytes(f"{SALT}signer") + force_bytes(key)).digest()


@cache
def _signer() -> _Signer:
    return _Signer(salt=SALT)


@lru_cache(maxsize=1024)
def _verified(value: str, read_position: Callable[[str], Position] | None) -> Mapping[str, Mark]:
    """Return what a token says that was signed with one of the keys in force; raises for any other.

    A client sends its token with each request. Good ones are remembered, as nobody else can make them: what
    they say, not how old they are.
    """
    version, raw = _signer().unsign_object(value)
    if version != _VERSION:
        raise ValueError(version)
    return {str(name): _mark(entry, read_position) for name, entry in raw.items()}


_KEYS: Final = ("SECRET_KEY", "SECRET_KEY_FALLBACKS")
process.derives(_signer.cache_clear, _KEYS)
process.derives(_verified.cache_clear, (*_KEYS, SETTING))  # What it read of a position, too.


def _mark(entry: list[Any], read_position: Callable[[str], Position] | None) -> Mark:
    """Read one mark. A newer version may put more behind what we know."""
    defaults: list[Any] = ["", 0.0, 0.0]
    wrote_at, text, blind_at, seen_at, *_newer = entry + defaults[len(entry) - 1 :]
    times = [float(wrote_at), float(blind_at), float(seen_at)]
    if not all(map(math.isfinite, times)):
        raise ValueError("a time is not finite")
    if not text:
        return Mark(times[0], None, times[1])
    position = None
    if read_position is not None:
        with suppress(ValueError):  # A newer version's position, or another database's.
            position = read_position(text)
    mark = Mark(times[0], position, times[1], times[2])
    return mark.blind() if position is None else mark
