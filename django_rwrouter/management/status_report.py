"""What is known of the clusters now, as text and as data."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.core.management.color import Style

from django_rwrouter.operations.overrides import Override
from django_rwrouter.operations.status import ClusterNow, Overview, ServerNow
from django_rwrouter.printable import printable
from django_rwrouter.servers.server_state import Condition

_WIDTH: Final = 100
_HEADINGS: Final = (
    *("database", "role", "state", "since", "lag"),
    *("reads/s", "share", "weight", "p50", "p95", "writes/s", "errors"),
)
_LEFT: Final = 4
"""So many columns are texts, and flush left; the others are numbers."""
_STATE: Final = 2
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
    return {
        "at": overview.at,
        "processes": overview.processes,
        "statistics": overview.statistics,
        "seconds": overview.seconds,
        "reasons": dict(overview.reasons),
        "overrides_failure": overview.overrides_failure,
        "clusters": [_cluster_as_json(cluster) for cluster in overview.clusters],
        "ineffective": [
            {"kind": each.kind.value, "target": each.target, **_override_as_json(each)}
            for each in overview.ineffective
        ],
    }


def _cluster_as_json(cluster: ClusterNow) -> dict[str, Any]:
    return {
        "name": cluster.name,
        "level": cluster.level,
        "routing": cluster.routing,
        "switched_off": cluster.switched_off and _override_as_json(cluster.switched_off),
        "spilled": cluster.spilled,
        "degraded": cluster.degraded,
        "servers": [_server_as_json(server) for server in cluster.servers],
    }


def _server_as_json(server: ServerNow) -> dict[str, Any]:
    traffic = server.traffic
    return {
        "alias": server.alias,
        "label": server.label,
        "is_primary": server.is_primary,
        "role": server.state.role,
        "condition": server.state.condition.value,
        "since": server.state.since,
        "why": server.state.why,
        "failure": server.state.failure,
        "drained": server.drained and _override_as_json(server.drained),
        "lag": server.state.lag,
        "lag_at_least": server.state.lag_at_least,
        "is_level": server.is_level,
        "position": server.state.position,
        "opinions": dict(server.opinions),
        "weight_share": server.weight_share,
        "reads": traffic.reads,
        "reads_per_second": traffic.reads_per_second,
        "share": traffic.share,
        "replica_share": traffic.replica_share,
        "writes": traffic.writes,
        "writes_per_second": traffic.writes_per_second,
        "p50_milliseconds": traffic.p50_milliseconds,
        "p95_milliseconds": traffic.p95_milliseconds,
        "errors": traffic.errors,
    }


def _override_as_json(override: Override) -> dict[str, Any]:
    return {"reason": override.reason, "by": override.by, "at": override.at}


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
    rows = [_row(server, overview) for server in cluster.servers]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    yield "  " + style.MIGRATE_LABEL(_line(_HEADINGS, widths))
    for server, row in zip(cluster.servers, rows, strict=True):
        # Coloured after it was filled: the codes have a length, too.
        cells = _filled(row, widths)
        cells[_STATE] = _colour(server, style)(cells[_STATE])
        if server.role_is_wrong:
            cells[1] = style.ERROR(cells[1])
        yield "  " + "  ".join(cells).rstrip()


def _filled(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.ljust(width) if place < _LEFT else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_filled(row, widths)).rstrip()


def _row(server: ServerNow, overview: Overview) -> tuple[str, ...]:
    traffic = server.traffic
    known = overview.statistics == "here"
    shares = server.state.condition is not Condition.DRAINED
    return (
        server.alias,
        server.state.role,
        server.state.condition.value,
        _since(server.state.since, overview.at) if server.state.since else "",
        _lag(server),
        f"{traffic.reads_per_second:.1f}" if known else "",
        f"{traffic.share:.0f} %" if known and shares else "",
        f"{server.weight_share:.0f} %" if shares and not server.is_primary else "",
        _milliseconds(traffic.p50_milliseconds),
        _milliseconds(traffic.p95_milliseconds),
        f"{traffic.writes_per_second:.1f}" if known else "",
        str(traffic.errors) if known else "",
    )


def _colour(server: ServerNow, style: Style) -> Callable[[str], str]:
    colours: dict[Condition, Callable[[str], str]] = {
        Condition.HEALTHY: style.SUCCESS,
        Condition.DRAINED: style.ERROR,
        Condition.EJECTED: style.ERROR,
        Condition.UNREACHABLE: style.ERROR,
    }
    return colours[server.state.condition]


def _lag(server: ServerNow) -> str:
    if server.is_primary:
        return ""
    word, seconds = server.lag_bound
    if word == "level":
        return word
    return f"{word} {seconds:.1f} s" if word else "?"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms"


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
