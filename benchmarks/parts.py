"""What every part of the benchmarks is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.environment import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the benchmarks."""

    cluster: Any
    """A MariaDB primary with three replicas."""
    environment: dict[str, str]
    """Where its servers are, for child processes."""
    verdicts: Mapping[str, Verdict]
    """Who can take part."""
    quick: bool
    """Whether all that matters is that it runs."""
    say: Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a report: rows of plain values, and how they are shown."""

    key: str
    title: str
    text: str
    columns: Mapping[str, str]
    """Headings, by the key of a row's value."""
    rows: Sequence[Mapping[str, Any]]
    formats: Mapping[str, str] = field(default_factory=dict)
    """Format strings, by key."""
    notes: Sequence[str] = ()
