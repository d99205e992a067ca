"""`status`: the clusters as they are now, as text and as data. Exits with 1 if a primary does not answer."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.management.color import Style

from django_rwrouter.management.numbers import counted, minutes, seconds
from django_rwrouter.operations.cluster_now import ClusterNow, Overview, ServerNow
from django_rwrouter.operations.overrides import NOTHING_ROUTED, Override
from django_rwrouter.operations.server_columns import COLUMNS, Column, Unit
from django_rwrouter.operations.status import MINUTES, overview
from django_rwrouter.printable import printable
from django_rwrouter.servers.server_state import Condition

summary: Final = (
    "Shows each cluster as it is now: servers, lag, what is drained or switched off, and where reads go."
)
_CLEAR: Final = "\x1b[H\x1b[2J"
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


def add_arguments(parser: CommandParser) -> None:
    """Add the form of the output, the interval, the timeout and the span of the statistics."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="for programs")
    form.add_argument(
        "--watch",
        nargs="?",
        type=seconds,
        const=2.0,
        metavar="SECONDS",
        help="again and again, until interrupted (default: every 2 seconds)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="how long a server may take (default: MONITOR TIMEOUT)",
    )
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=MINUTES,
        help=f"how much of the statistics to add up (default: {MINUTES}; at most 60)",
    )


def run(command: BaseCommand, **options: Any) -> bool:
    """Print the status, once or repeatedly; return whether a primary does not answer."""
    interval = options["watch"]
    if interval is None:
        now = _look(options)
        lines = [json.dumps(as_json(now), indent=2)] if options["json"] else as_lines(now, command.style)
        command.stdout.write("\n".join(lines))
        return any(cluster.primary.state.condition is Condition.UNREACHABLE for cluster in now.clusters)
    clear = _CLEAR if command.stdout.isatty() else ""
    try:
        while True:
            now = _look(options)
            heading = time.strftime("%H:%M:%S", time.localtime(now.at))
            command.stdout.write("\n".join([f"{clear}{heading}", "", *as_lines(now, command.style)]))
            command.stdout.flush()
            time.sleep(interval)
    except KeyboardInterrupt:
        return False


def _look(options: dict[str, Any]) -> Overview:
    now = overview(ask=True, timeout=options["timeout"], minutes=options["minutes"])
    if not now.clusters:
        raise CommandError(NOTHING_ROUTED)
    return now


# --- for programs --------------------------------------------------------------------------------


def as_json(now: Overview) -> dict[str, Any]:
    """Return it as plain data; names and units stay the same from version to version."""
    return {
        **_values(now, "at", "processes", "statistics", "seconds", "reasons", "overrides_failure"),
        "clusters": [
            {
                **_values(cluster, "name", "level", "routing", "switched_off", "spilled", "degraded"),
                "servers": [
                    {column.name: _plain(column.value(server)) for column in COLUMNS}
                    for server in cluster.servers
                ],
            }
            for cluster in now.clusters
        ],
        "ineffective": [
            {"kind": override.kind.value, "target": override.target, **_plain(override)}
            for override in now.ineffective
        ],
    }


def _values(thing: object, *names: str) -> dict[str, Any]:
    return {name: _plain(getattr(thing, name)) for name in names}


def _plain(value: Any) -> Any:
    return _values(value, "reason", "by", "at") if isinstance(value, Override) else value


# --- for people ----------------------------------------------------------------------------------


def as_lines(now: Overview, style: Style) -> Iterator[str]:
    """Yield the lines of a table for each cluster, and what needs more words below it."""
    now = printable(now)
    for cluster in now.clusters:
        yield from _cluster(cluster, now, style)
        yield ""
    for override in now.ineffective:
        yield style.WARNING(
            f"{override.kind.value} of {override.target!r} has no effect, as the settings do not name it"
            f" ({_since(override.at, now.at)})."
        )
    if now.overrides_failure:
        yield style.WARNING(
            f"What is drained or switched off is not known: the primary that keeps it does not answer"
            f" ({now.overrides_failure})."
        )
    if now.statistics != "here":
        yield style.WARNING(_STATISTICS[now.statistics])
        return
    processes = "No process has written lately what it knows of the servers."
    if now.processes:
        processes = f"{counted(now.processes, 'process', 'processes')} wrote lately."
    yield f"Reads and writes of the last {now.seconds / 60:.1f} minutes. {processes}"


def _cluster(cluster: ClusterNow, now: Overview, style: Style) -> Iterator[str]:
    color = {"on": style.SUCCESS, "shadow": style.WARNING}.get(cluster.routing, style.ERROR)
    yield f"{style.MIGRATE_HEADING(cluster.name)}  level {cluster.level}, {color(_ROUTING[cluster.routing])}"
    if cluster.switched_off is not None:
        yield f"  {_deed(cluster.switched_off, now.at)}"
    yield from _table(cluster, now, style)
    for server in cluster.servers:
        for note in _notes(server, now):
            yield from textwrap.wrap(
                f"{server.alias}: {note}", _WIDTH, initial_indent="  ", subsequent_indent="    "
            )
    if cluster.spilled or cluster.degraded:
        yield (
            f"  All replicas lagged: {counted(cluster.spilled, 'read', 'reads')} went to the primary, and"
            f" {counted(cluster.degraded, 'read', 'reads')} to a replica all the same."
        )


def _table(cluster: ClusterNow, now: Overview, style: Style) -> Iterator[str]:
    columns = [column for column in COLUMNS if column.title]
    rows = [[_text(column, server, now.at) for column in columns] for server in cluster.servers]
    lines = [[column.title for column in columns], *rows]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    heading, *rows = (
        [
            text.rjust(width) if column.is_number else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        ]
        for line in lines
    )
    yield "  " + style.MIGRATE_LABEL("  ".join(heading).rstrip())
    for server, cells in zip(cluster.servers, rows, strict=True):
        # Coloured after it was filled: the codes have a length, too.
        colors = {"condition": style.SUCCESS if server.is_usable else style.ERROR}
        if server.role_is_wrong:
            colors["role"] = style.ERROR
        texts = (colors.get(column.name, str)(cell) for column, cell in zip(columns, cells, strict=True))
        yield "  " + "  ".join(texts).rstrip()


def _text(column: Column, server: ServerNow, now: float) -> str:
    value = column.cell(server)
    if value is None:
        return ""
    if column.unit == "time":
        return _since(value, now) if value else ""
    return _WRITE.get(column.unit, str)(value)


def _lag(bound: tuple[str, float]) -> str:
    word, seconds = bound
    return word if word == "level" else f"{word} {seconds:.1f} s" if word else "?"


_WRITE: Final[Mapping[Unit, Callable[[Any], str]]] = {
    "lag": _lag,
    "rate": "{:.1f}".format,
    "percent": "{:.0f} %".format,
    "ms": "{:.3g} ms".format,
}
"""How the table writes a value; all others as they are."""


def _notes(server: ServerNow, now: Overview) -> Iterator[str]:
    """Yield what does not fit into the table."""
    if server.label:
        yield server.label
    if server.drained is not None:
        yield _deed(server.drained, now.at)
    elif server.state.why and server.state.why != server.state.failure:
        yield server.state.why
    if server.state.failure:
        yield f"it does not answer ({server.state.failure})"
    if server.state.refused:
        refused = server.state.refused
        is_code = any(character.isdigit() for character in refused)
        yield (
            f"it refuses to say where it stands ({refused}); `rwrouter doctor` says more"
            if is_code
            else (
                f"it refuses to say where it stands: {refused} is not there, or not for this user;"
                " `rwrouter doctor` names the grant"
            )
        )
    if server.role_is_wrong:
        yield (
            "it takes no writes, as a replica" if server.is_primary else "it takes writes, as a primary does"
        )
    total = counted(sum(server.opinions.values()), "process", "processes")
    for state, count in sorted(server.opinions.items()):
        if state != Condition.HEALTHY.value:
            yield f"{state} by {count} of {total}"
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
