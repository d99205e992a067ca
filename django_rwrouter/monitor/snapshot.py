"""The snapshot that a leader publishes for the other processes, and its format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django_rwrouter import databases
from django_rwrouter.databases.base import Reading
from django_rwrouter.monitor.probes import Answers, ProbeResult

VERSION: Final = 3
"""Version of the format; others are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the leader knows at one moment. Times are monotonic seconds."""

    at: float = 0.0
    """When it was made."""
    findings: tuple[ProbeResult, ...] = ()
    """The last probe of each server, primaries first."""
    ejected: Mapping[str, str] = field(default_factory=dict)
    """Why each ejected replica was ejected, by alias."""
    cut_off: Mapping[str, float] = field(default_factory=dict)
    """When hung statements on a server were last cut off, by alias."""
    answers: Answers = field(default_factory=dict)
    """The answers to the additional questions."""


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "alias": str,
    "seconds": float,
    "failure": str,
    "refusal": str,
    "is_primary": bool,
}
"""The fields of a probe's result that are published as they are, and their types."""


def encode(snapshot: Snapshot, when: Callable[[float], Any], **more: Any) -> bytes:
    """Return a snapshot as JSON; ``when`` turns its times into values that readers understand."""
    data = {
        "version": VERSION,
        "at": when(snapshot.at),
        "servers": [_encode_finding(finding, when) for finding in snapshot.findings],
        "ejected": dict(snapshot.ejected),
        "cut_off": {alias: when(at) for alias, at in snapshot.cut_off.items()},
        "answers": {name: (answer, when(at)) for name, (answer, at) in snapshot.answers.items()},
    }
    return json.dumps(data | more, separators=(",", ":")).encode()


def from_bytes(text: bytes) -> Any:
    """Read JSON; ``None`` if the text is not JSON."""
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None


def decode(data: Any, when: Callable[[Any], float]) -> Snapshot | None:
    """Read the JSON that :func:`encode` made; ``None`` for anything else, whoever wrote it."""
    try:
        if data["version"] != VERSION:
            return None
        return Snapshot(
            at=when(data["at"]),
            findings=tuple(_decode_finding(finding, when) for finding in data["servers"]),
            ejected={str(alias): str(why) for alias, why in data["ejected"].items()},
            cut_off={str(alias): when(at) for alias, at in data["cut_off"].items()},
            answers={str(name): (answer, when(at)) for name, (answer, at) in data["answers"].items()},
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _encode_finding(finding: ProbeResult, when: Callable[[float], Any]) -> dict[str, Any]:
    reading = finding.reading
    encoded = {name: getattr(finding, name) for name in _PLAIN} | {"began": when(finding.began)}
    if reading is not None:
        position = None if reading.position is None else databases.encode(reading.position)
        encoded["reading"] = reading.server, position, reading.writable
    return encoded


def _decode_finding(data: Mapping[str, Any], when: Callable[[Any], float]) -> ProbeResult:
    reading = None
    if "reading" in data:
        server, position, writable = data["reading"]
        reading = Reading(
            server=str(server),
            position=None if position is None else databases.decode(position),
            writable={True: True, False: False}.get(writable),
        )
    plain = {name: kind(data[name]) for name, kind in _PLAIN.items()}
    return ProbeResult(began=when(data["began"]), reading=reading, **plain)
