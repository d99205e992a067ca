"""The doctor's findings as text and as data."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from django.core.management.color import Style

from django_rwrouter.operations.doctor.findings import Finding, Severity, worst
from django_rwrouter.printable import printable

_WIDTH: Final = 100
_INDENT: Final = " " * 26


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as plain data."""
    return {
        "worst": worst(findings).value,
        "counts": {severity.value: _count(findings, severity) for severity in Severity},
        "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in findings],
    }


def as_lines(findings: Sequence[Finding], style: Style) -> Iterator[str]:
    """Yield the lines of a table for people, server by server."""
    findings = printable(findings)
    for (cluster, alias), group in groupby(findings, key=lambda finding: (finding.cluster, finding.alias)):
        yield style.MIGRATE_HEADING(f"{cluster}: {alias}" if alias else cluster)
        for finding in group:
            yield from _finding(finding, style)
        yield ""
    yield _summary(findings, style)


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    colour: Callable[[str], str] = {
        Severity.OK: style.SUCCESS,
        Severity.UNKNOWN: style.MIGRATE_LABEL,
        Severity.WARNING: style.WARNING,
        Severity.ERROR: style.ERROR,
    }[finding.severity]
    first, *others = _wrapped(finding.message)
    # Coloured after padding, as the colour codes have a length, too.
    yield f"  {colour(f'{finding.severity.value:8}')} {finding.topic:14} {first}"
    yield from (_INDENT + line for line in others)
    if finding.advice:
        yield from (_INDENT + line for line in _wrapped(f"-> {finding.advice}"))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [""]


def _summary(findings: Sequence[Finding], style: Style) -> str:
    errors, warnings = _count(findings, Severity.ERROR), _count(findings, Severity.WARNING)
    text = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."
    if errors:
        return style.ERROR(text)
    return style.WARNING(text) if warnings else style.SUCCESS(text)


def _count(findings: Iterable[Finding], severity: Severity) -> int:
    return sum(finding.severity is severity for finding in findings)


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
