"""What is known of the clusters now, as text and as data."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django.core.management.color import Style

from django_rwrouter.operations.overrides import Override
from django_rwrouter.operations.server_columns import COLUMNS, Column, Unit
from django_rwrouter.operations.status import ClusterNow, Overview, ServerNow
from django_rwrouter.printable import printable
from django_rwrouter.servers.server_state import Condition

_WIDTH: Final = 100
_ROUTING: Final = {
    "on": "reads are routed",
    "off": "switched off in the settings: all reads go to the primary",
    "shadow": "in shadow: all reads go to the primary",
    "switched_off": "switched off: all reads go to the primary",
}
_STATISTICS: Final = {
    "missing": "No statistics: their table does not exist yet; run `manage.py migrate django_rwrouter`.",
    "off": 'No statistics: RWROUTER["STATS"]["BACKEND"] is "off".',
    "elsewhere": 'The statistics are kept elsewhere: RWROUTER["STATS"]["BACKEND"] is a class of yours.',
    "unreachable": "No statistics: the primary that keeps them does not answer.",
}


# --- for programs --------------------------------------------------------------------------------


def as_json(overview: Overview) -> dict[str, Any]:
    """Return it as plain data; names and units stay the same from version to version."""
    keys = ("at", "processes", "statistics", "seconds", "reasons", "overrides_failure")
    return {
        **{key: getattr(overview, key) for key in keys},
        "clusters": [_cluster_as_json(cluster) for cluster in overview.clusters],
        "ineffective": [
            {"kind": override.kind.value, "target": override.target, **_plain(override)}
            for override in overview.ineffective
        ],
    }


def _cluster_as_json(cluster: ClusterNow) -> dict[str, Any]:
    keys = ("name", "level", "routing", "switched_off", "spilled", "degraded")
    return {
        **{key: _plain(getattr(cluster, key)) for key in keys},
        "servers": [
            {column.name: _plain(column.value(server)) for column in COLUMNS} for server in cluster.servers
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Override):
        return {"reason": value.reason, "by": value.by, "at": value.at}
    return value


# --- for people ----------------------------------------------------------------------------------


def as_lines(overview: Overview, style: Style) -> Iterator[str]:
    """Yield the lines of a table for each cluster, and what needs more words below it."""
    overview = printable(overview)
    for cluster in overview.clusters:
        yield from _cluster(cluster, overview, style)
        yield ""
    for override in overview.ineffective:
        yield style.WARNING(
            f"{override.kind.value} of {override.target!r} has no effect, as the settings do not name it"
            f" ({_since(override.at, overview.at)})."
        )
    if overview.overrides_failure:
        yield style.WARNING(
            f"What is drained or switched off is not known: the primary that keeps it does not answer"
            f" ({overview.overrides_failure})."
        )
    if overview.statistics != "here":
        yield style.WARNING(_STATISTICS[overview.statistics])
    else:
        minutes = overview.seconds / 60
        yield f"Reads and writes of the last {minutes:.1f} minutes. {_processes(overview)}"


def _processes(overview: Overview) -> str:
    if not overview.processes:
        return "No process has written lately what it knows of the servers."
    return f"{_counted(overview.processes, 'process', 'processes')} wrote lately."


def _cluster(cluster: ClusterNow, overview: Overview, style: Style) -> Iterator[str]:
    colour = {"on": style.SUCCESS, "shadow": style.WARNING}.get(cluster.routing, style.ERROR)
    yield f"{style.MIGRATE_HEADING(cluster.name)}  level {cluster.level}, {colour(_ROUTING[cluster.routing])}"
    if cluster.switched_off is not None:
        yield f"  {_deed(cluster.switched_off, overview.at)}"
    yield from _table(cluster, overview, style)
    for server in cluster.servers:
        for note in _notes(server, overview):
            yield from textwrap.wrap(
                f"{server.alias}: {note}", _WIDTH, initial_indent="  ", subsequent_indent="    "
            )
    if cluster.spilled or cluster.degraded:
        yield (
            f"  All replicas lagged: {_counted(cluster.spilled, 'read', 'reads')} went to the primary, and"
            f" {_counted(cluster.degraded, 'read', 'reads')} to a replica all the same."
        )


def _table(cluster: ClusterNow, overview: Overview, style: Style) -> Iterator[str]:
    columns = [column for column in COLUMNS if column.title]
    rows = [[_text(column, server, overview.at) for column in columns] for server in cluster.servers]
    lines = [[column.title for column in columns], *rows]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    for place, line in enumerate(lines):
        cells = [
            text.rjust(width) if column.is_number else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ]
        if place == 0:
            yield "  " + style.MIGRATE_LABEL("  ".join(cells).rstrip())
            continue
        # Coloured after it was filled: the codes have a length, too.
        server = cluster.servers[place - 1]
        bad = {"condition": not server.is_usable, "role": server.role_is_wrong}
        for index, column in enumerate(columns):
            if bad.get(column.name):
                cells[index] = style.ERROR(cells[index])
            elif column.name == "condition":
                cells[index] = style.SUCCESS(cells[index])
        yield "  " + "  ".join(cells).rstrip()


def _text(column: Column, server: ServerNow, now: float) -> str:
    value = column.cell(server)
    if value is None:
        return ""
    if column.unit == "time":
        return _since(value, now) if value else ""
    return _WRITE[column.unit](value) if column.unit in _WRITE else str(value)


def _lag(bound: tuple[str, float]) -> str:
    word, seconds = bound
    return word if word == "level" else f"{word} {seconds:.1f} s" if word else "?"


_WRITE: Final[Mapping[Unit, Callable[[Any], str]]] = {
    "lag": _lag,
    "rate": "{:.1f}".format,
    "percent": "{:.0f} %".format,
    "milliseconds": "{:.3g} ms".format,
}
"""How the table writes a value; all others as they are."""


def _notes(server: ServerNow, overview: Overview) -> Iterator[str]:
    """Yield what does not fit into the table."""
    if server.label:
        yield server.label
    if server.drained is not None:
        yield _deed(server.drained, overview.at)
    elif server.state.why and server.state.why != server.state.failure:
        yield server.state.why
    if server.state.failure:
        yield f"it does not answer ({server.state.failure})"
    if server.role_is_wrong:
        yield (
            "it takes no writes, as a replica" if server.is_primary else "it takes writes, as a primary does"
        )
    total = sum(server.opinions.values())
    for state, count in sorted(server.opinions.items()):
        if state != Condition.HEALTHY.value:
            yield f"{state} by {count} of {_counted(total, 'process', 'processes')}"
    if server.state.position:
        yield f"at {server.state.position}"


def _deed(override: Override, now: float) -> str:
    """Return who did it, when, and why."""
    by = f" by {override.by}" if override.by else ""
    reason = f": {override.reason}" if override.reason else ""
    return f"{_since(override.at, now)}{by}{reason}"


def _since(at: float, now: float) -> str:
    """Return a time of the local day; further back, with the date."""
    form = "%H:%M:%S" if now - at < 20 * 3600 else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(at))


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
