"""Reports: each part's tables as JSON, and all of them together as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.parts import Table

ORDER = ("decision", "request", "consistency", "faults", "growth")
MARKDOWN = "report.md"


def save(
    folder: Path, part: str, tables: Sequence[Table], *, about: Mapping[str, Any], data: object = None
) -> None:
    """Write one part's figures, and the whole report anew from all parts that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "part": part,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "about": about,
        "tables": [asdict(table) for table in tables],
    }
    (folder / f"{part}.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    parts = [
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ORDER
        if (folder / f"{name}.json").is_file()
    ]
    (folder / MARKDOWN).write_text(markdown(parts), encoding="utf-8")


def markdown(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return the report for people."""
    lines = ["# Benchmarks: the figures", ""]
    for part in parts:
        lines += [*_head(part), *(line for table in part["tables"] for line in _lines(table))]
    return "\n".join(lines)


def table(made: Table) -> str:
    """Return one table for people."""
    return "\n".join(_lines(asdict(made)))


def insert(page: Path, name: str, text: str) -> None:
    """Put a text into a page between the comments of that name, in place of what is there."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(f"<!-- {name} -->")
    _old, end, after = rest.partition(f"<!-- end of {name} -->")
    if not end:
        raise ValueError(f"{page} has no place for {name!r}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _head(part: Mapping[str, Any]) -> list[str]:
    about = dict(part["about"])
    command, peers, absent = about.pop("command"), about.pop("peers"), about.pop("absent")
    facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in about.items())
    return [
        f"## {part['part'].capitalize()}",
        "",
        f"Made by `{command}` on {part['made'][:10]}: {facts}.",
        *([f"Peers: {', '.join(f'{name} {version}' for name, version in peers.items())}."] if peers else []),
        *(f"Not there: {name} ({reason})." for name, reason in absent.items()),
        "",
    ]


def _lines(table: Mapping[str, Any]) -> list[str]:
    columns = table["columns"]
    numbers = [any(isinstance(row.get(key), (int, float)) for row in table["rows"]) for key in columns]
    return [
        f"### {table['title']}",
        "",
        table["text"],
        "",
        _row(columns.values()),
        _row("---:" if number else "---" for number in numbers),
        *(_row(_cell(row.get(key), table["formats"].get(key)) for key in columns) for row in table["rows"]),
        "",
        *(f"- {note}" for note in table["notes"]),
        *([""] if table["notes"] else []),
    ]


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any, form: str | None) -> str:
    if value is None:
        return "-"
    if form is not None and not isinstance(value, str):
        return form.format(value)
    return str(value)
