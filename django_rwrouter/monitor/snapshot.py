"""What the watcher of a host publishes for the others, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django_rwrouter import databases
from django_rwrouter.databases.base import Reading
from django_rwrouter.monitor.probes import ProbeResult

VERSION: Final = 1
"""Of the format: another one is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that the watcher knows, at one moment. Times are monotonic seconds."""

    findings: tuple[ProbeResult, ...] = ()
    """The last probe of each server, primaries first."""
    ejected: Mapping[str, str] = field(default_factory=dict)
    """Replicas out of use, by alias, and why."""
    cut_off: Mapping[str, float] = field(default_factory=dict)
    """When the statements that hung on a server were last ended, by alias."""
    answers: Mapping[str, Any] = field(default_factory=dict)
    """To what is asked besides, by the name of the question."""


def encode(snapshot: Snapshot, when: Callable[[float], Any]) -> dict[str, Any]:
    """Return a snapshot as values that JSON has; ``when`` turns its times into something others can read."""
    return {
        "version": VERSION,
        "servers": [_encode_finding(finding, when) for finding in snapshot.findings],
        "ejected": dict(snapshot.ejected),
        "cut_off": {alias: when(at) for alias, at in snapshot.cut_off.items()},
        "answers": dict(snapshot.answers),
    }


def decode(data: Any, when: Callable[[Any], float]) -> Snapshot | None:
    """Read what :func:`encode` returned, whoever has written it; ``None`` if it cannot."""
    try:
        if data["version"] != VERSION:
            return None
        return Snapshot(
            findings=tuple(_decode_finding(each, when) for each in data["servers"]),
            ejected={str(alias): str(why) for alias, why in data["ejected"].items()},
            cut_off={str(alias): when(at) for alias, at in data["cut_off"].items()},
            answers=dict(data["answers"]),
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def to_bytes(data: Mapping[str, Any]) -> bytes:
    """Return JSON."""
    return json.dumps(data, separators=(",", ":")).encode()


def from_bytes(text: bytes) -> Any:
    """Read JSON; ``None`` if it is none."""
    try:
        return json.loads(text)
    except (RecursionError, ValueError):
        return None


def _encode_finding(finding: ProbeResult, when: Callable[[float], Any]) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "alias": finding.alias,
        "began": when(finding.began),
        "seconds": finding.seconds,
        "failure": finding.failure,
        "refusal": finding.refusal,
        "is_primary": finding.is_primary,
    }
    if finding.reading is not None:
        position = finding.reading.position
        encoded["server"] = finding.reading.server
        encoded["position"] = None if position is None else databases.encode(position)
        encoded["writable"] = finding.reading.writable
    return encoded


def _decode_finding(data: Mapping[str, Any], when: Callable[[Any], float]) -> ProbeResult:
    reading = None
    if "server" in data:
        position = data["position"]
        reading = Reading(
            server=str(data["server"]),
            position=None if position is None else databases.decode(position),
            writable={True: True, False: False}.get(data["writable"]),
        )
    return ProbeResult(
        alias=str(data["alias"]),
        began=when(data["began"]),
        seconds=float(data["seconds"]),
        failure=str(data["failure"]),
        refusal=str(data["refusal"]),
        is_primary=bool(data["is_primary"]),
        reading=reading,
    )
