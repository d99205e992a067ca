"""A chart of the page "Over time": drawings for wide and narrow screens, and the same numbers as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.utils.formats import date_format, number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_rwrouter.admin import svg
from django_rwrouter.stats.summary import Span

NOTHING: Final = "\N{EN DASH}"
FOLDED_FROM: Final = 8
"""Rows from which on the table is folded away."""
HOUR: Final = 3600
DAY: Final = 86_400

Series = Mapping[str, Sequence[float | None]]


@dataclass(slots=True, kw_only=True)
class Axis:
    """The times of a chart."""

    span: Span
    moments: Sequence[datetime]

    @property
    def labels(self) -> list[str]:
        """How the times are written; each is different."""
        return [date_format(moment, self.form) for moment in self.moments]

    @property
    def form(self) -> str:
        """The format of a time, as Django's templates know it."""
        return "H:i" if self.span.seconds < DAY else "m-d H:i"

    @property
    def zone(self) -> str:
        """The name of the time zone that they are in."""
        return date_format(self.moments[-1], "T")

    @property
    def marks(self) -> list[int]:
        """The places of the times that are written below."""
        every = max(1, len(self.moments) // 6)
        if self.span.seconds <= HOUR:
            minutes = every * self.span.step // 60
            return [place for place, each in enumerate(self.moments) if each.minute % max(1, minutes) == 0]
        return list(range(every - 1, len(self.moments), every))


@dataclass(slots=True, kw_only=True)
class Chart:
    """What ``_chart.html`` shows."""

    name: str
    """Part of ids: unique on the page."""
    title: str
    columns: Sequence[str]
    """The headers of the table: the series, and perhaps their sum."""
    rows: list[tuple[datetime, list[str]]]
    """Newest first: time, and a number for each series, written out."""
    drawings: list[SafeString] = field(default_factory=list)
    legend: list[tuple[int, str]] = field(default_factory=list)
    """Of the series: number of the colour, and name."""
    lines: bool = False
    form: str = "H:i"
    zone: str = ""
    """The name of the time zone."""
    empty: str = ""
    """What to say in place of the chart, where there is nothing to draw."""

    @property
    def is_folded(self) -> bool:
        """Whether the table would be so long that it is folded away."""
        return len(self.rows) >= FOLDED_FROM


def bars(name: str, title: str, axis: Axis, series: Mapping[str, Sequence[int]], *, empty: str) -> Chart:
    """Return a chart of counts, one stacked upon the other, with their sums in the table."""
    columns = list(series.values())
    sums = [sum(column[place] for column in columns) for place in range(len(axis.moments))]

    def draw(shape: svg.Shape, description: str) -> SafeString:
        return svg.stacked_bars(
            f"rwrouter-{name}",
            title=title,
            description=description,
            labels=axis.labels,
            marks=axis.marks,
            series=series,
            shape=shape,
        )

    names = [*series, _("All")] if len(series) > 1 else list(series)
    columns = [*columns, sums] if len(series) > 1 else columns
    chart = _chart(name, title, axis, names, [[_count(value) for value in column] for column in columns])
    chart.legend = list(enumerate(series))
    if any(sums):
        _draw(chart, draw)
    else:
        chart.empty = empty
    return chart


def lines(
    name: str,
    title: str,
    axis: Axis,
    series: Series,
    *,
    unit: str,
    empty: str,
    colors: Sequence[int] | None = None,
) -> Chart:
    """Return a chart of measurements, which are missing where nothing was measured.

    ``colors`` are the numbers of the series' colours, where they are not the first ones.
    """

    def draw(shape: svg.Shape, description: str) -> SafeString:
        return svg.lines(
            f"rwrouter-{name}",
            title=title,
            description=description,
            labels=axis.labels,
            marks=axis.marks,
            series=series,
            unit=unit,
            shape=shape,
            colors=colors,
        )

    def text(value: float | None) -> str:
        if value is None:
            return NOTHING
        return f"{number_format(round(value, 2), 2, force_grouping=True)} {unit}"

    chart = _chart(
        name, title, axis, list(series), [[text(value) for value in column] for column in series.values()]
    )
    chart.legend = list(zip(colors or range(len(series)), series, strict=True))
    chart.lines = True
    if any(value is not None for column in series.values() for value in column):
        _draw(chart, draw)
    else:
        chart.empty = empty
    return chart


def _chart(
    name: str, title: str, axis: Axis, names: Sequence[str], columns: Sequence[Sequence[str]]
) -> Chart:
    rows = [(moment, [column[place] for column in columns]) for place, moment in enumerate(axis.moments)]
    return Chart(name=name, title=title, columns=names, rows=rows[::-1], form=axis.form, zone=axis.zone)


def _draw(chart: Chart, draw: Callable[[svg.Shape, str], SafeString]) -> None:
    if svg.available():
        description = _("The table below has the numbers.")
        chart.drawings = [draw(shape, description) for shape in (svg.WIDE, svg.NARROW)]


def _count(value: float | None) -> str:
    return number_format(int(value or 0), force_grouping=True)
