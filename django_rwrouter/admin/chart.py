"""A chart of the page "Over time": drawings for wide and narrow screens, and the same numbers as a table.

The drawings are SVG without style or script, so that a page satisfies ``Content-Security-Policy: default-src
'self'``. Colours and fonts come from ``routing.css``, and follow the theme of the admin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from django_rwrouter.admin.colors import Color
from django_rwrouter.stats.summary import Span

NOTHING: Final = "\N{EN DASH}"
FOLDED_FROM: Final = 8
"""Rows from which on the table is folded away."""
HOUR: Final = 3600
DAY: Final = 86_400
TWO_DECIMALS_BELOW: Final = 100
"""Measurements from here on are written without decimals on a drawing."""
TICKS_ARE_WHOLE: Final = 4
DOT: Final = 2.5
"""Radius of the dots on a line, in pixels: large enough to be pointed at."""
SMALL_DOT: Final = 1.25
"""The same where there are so many that they would run together."""
MANY: Final = 40
MARGIN: Final = 8
LINE: Final = 24
"""Height of the line of times below."""
LETTER: Final = 7.5
"""Width of a character at the most, in the size of text that the style sheet has."""


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn in one colour."""

    name: str
    color: Color
    values: Sequence[float | None]
    """One for each time; ``None`` where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The canvas of a drawing, in pixels at the size at which its text is legible."""

    name: str
    """Part of the element's id and class."""
    width: int
    height: int
    labels: int
    """How many labels fit below."""


WIDE: Final = Shape("wide", 1040, 300, 7)
NARROW: Final = Shape("narrow", 400, 260, 4)
"""For a phone, where a shrunk wide chart would be illegible. The style sheet shows one of the two."""


@dataclass(slots=True, kw_only=True)
class Axis:
    """The times of a chart."""

    span: Span
    moments: Sequence[datetime]

    @property
    def labels(self) -> list[str]:
        """How the times are written."""
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
            minutes = max(1, every * self.span.step // 60)
            return [place for place, moment in enumerate(self.moments) if moment.minute % minutes == 0]
        return list(range(every - 1, len(self.moments), every))


@dataclass(slots=True, kw_only=True)
class Chart:
    """What ``_chart.html`` shows."""

    name: str
    """Part of ids: unique on the page."""
    title: str
    axis: Axis
    series: Sequence[Series]
    columns: list[str]
    """The headers of the table: the series, and perhaps their sum."""
    rows: list[tuple[datetime, list[str]]]
    """Newest first: time, and a number for each series, written out."""
    empty: str
    """What to say in place of the chart; empty where there is something to draw."""
    drawings: list[SafeString] = field(default_factory=list)

    @property
    def is_folded(self) -> bool:
        """Whether the table would be so long that it is folded away."""
        return len(self.rows) >= FOLDED_FROM


def bars(name: str, title: str, axis: Axis, series: Sequence[Series], *, empty: str) -> Chart:
    """Return a chart of counts, one stacked upon the other, with their sums in the table."""
    sums = [sum(filter(None, values)) for values in zip(*(part.values for part in series), strict=True)]
    table = [*series, Series(_("All"), "", sums)] if len(series) > 1 else series

    def marks(canvas: _Canvas, values: Series, below: list[float]) -> Iterator[SafeString]:
        for place, value in enumerate(values.values):
            if value:
                bottom, top = canvas.y(below[place]), canvas.y(below[place] + value)
                below[place] += value
                yield format_html(
                    '<rect x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                    *_pixels(canvas.x(place - 0.42), top, canvas.step * 0.84, bottom - top),
                    canvas.tooltip(place, values.name, _count(value)),
                )

    return _chart(
        name,
        title,
        axis,
        series,
        table,
        empty="" if any(sums) else empty,
        write=_count,
        ticks=ticks(int(max(sums, default=0))),
        label=_count,
        marks=marks,
    )


def lines(name: str, title: str, axis: Axis, series: Sequence[Series], *, unit: str, empty: str) -> Chart:
    """Return a chart of measurements, which are missing where nothing was measured."""
    measured = [value for line in series for value in line.values if value is not None]
    steps = fine_ticks(max(measured, default=0.0))
    decimals = 0 if steps[1] >= 1 else -math.floor(math.log10(steps[1]))

    def exact(value: float) -> str:
        return _measurement(value, 2 if value < TWO_DECIMALS_BELOW else 0, unit)

    def marks(canvas: _Canvas, values: Series, _below: list[float]) -> Iterator[SafeString]:
        for run in _runs(values.values):
            if len(run) > 1:
                points = "L".join("{} {}".format(*_pixels(canvas.x(place), canvas.y(y))) for place, y in run)
                yield format_html('<path class="rwrouter-line" d="M{}"></path>', points)
            small = len(run) > 1 and len(values.values) > MANY
            for place, value in run:
                yield format_html(
                    '<circle cx="{}" cy="{}" r="{}"><title>{}</title></circle>',
                    *_pixels(canvas.x(place), canvas.y(value)),
                    str(SMALL_DOT if small else DOT),
                    canvas.tooltip(place, values.name, exact(value)),
                )

    return _chart(
        name,
        title,
        axis,
        series,
        series,
        empty="" if measured else empty,
        write=lambda value: NOTHING if value is None else _measurement(value, 2, unit),
        ticks=steps,
        label=lambda value: _measurement(value, decimals, unit),
        marks=marks,
    )


def _chart(
    name: str,
    title: str,
    axis: Axis,
    series: Sequence[Series],
    table: Sequence[Series],
    *,
    empty: str,
    write: Callable[[float | None], str],
    ticks: Sequence[float],
    label: Callable[[float], str],
    marks: Callable[[_Canvas, Series, list[float]], Iterable[SafeString]],
) -> Chart:
    rows = [
        (moment, [write(column.values[place]) for column in table])
        for place, moment in enumerate(axis.moments)
    ]
    chart = Chart(
        name=name,
        title=title,
        axis=axis,
        series=series,
        columns=[column.name for column in table],
        rows=rows[::-1],
        empty=empty,
    )
    if not empty:
        chart.drawings = [_Canvas(shape, axis, ticks, label).draw(chart, marks) for shape in (WIDE, NARROW)]
    return chart


class _Canvas:
    """Where things are on a drawing."""

    def __init__(
        self, shape: Shape, axis: Axis, ticks: Sequence[float], label: Callable[[float], str]
    ) -> None:
        self._shape = shape
        self._axis = axis
        self._labels = axis.labels
        self._ticks = [(tick, label(tick)) for tick in ticks]
        self._top = ticks[-1]
        self._left = MARGIN + LETTER * max(len(text) for _tick, text in self._ticks)
        self._bottom = shape.height - LINE
        self.step = (shape.width - MARGIN - self._left) / len(axis.moments)

    def x(self, place: float) -> float:
        """Return where the middle of a time is."""
        return self._left + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return self._bottom - value / self._top * (self._bottom - MARGIN)

    def tooltip(self, place: int, name: str, value: str) -> str:
        """Return what browsers show of a mark, without a script."""
        return f"{self._labels[place]} · {name}: {value}"

    def draw(
        self, chart: Chart, marks: Callable[[_Canvas, Series, list[float]], Iterable[SafeString]]
    ) -> SafeString:
        """Return an ``<svg>`` element. Title and description are for screen readers."""
        below = [0.0] * len(self._axis.moments)
        id_ = f"rwrouter-{chart.name}-{self._shape.name}"
        return format_html(
            '<svg class="rwrouter-chart rwrouter-chart-{}" viewBox="0 0 {} {}" role="img"'
            ' aria-labelledby="{}-title" aria-describedby="{}-desc">'
            '<title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}{}</svg>',
            self._shape.name,
            str(self._shape.width),
            str(self._shape.height),
            *(id_, id_, id_, chart.title, id_, _("The table below has the numbers.")),
            mark_safe("".join((*self._guides(), *self._times()))),  # noqa: S308  (escaped by format_html)
            format_html_join(
                "",
                '<g class="color-{}">{}</g>',
                (
                    (part.color, mark_safe("".join(marks(self, part, below))))  # noqa: S308  (the same)
                    for part in chart.series
                ),
            ),
        )

    def _guides(self) -> Iterator[SafeString]:
        """Draw the numbers on the left, each with a line."""
        right = self._shape.width - MARGIN
        for tick, text in self._ticks:
            left, y, text_x, text_y = _pixels(self._left, self.y(tick), self._left - 5, self.y(tick) + 4.5)
            yield format_html('<path class="rwrouter-guide" d="M{} {}H{}"></path>', left, y, str(right))
            yield format_html('<text class="rwrouter-tick" x="{}" y="{}">{}</text>', text_x, text_y, text)

    def _times(self) -> Iterator[SafeString]:
        """Write times below, no more than fit, and none beyond the edge."""
        marks = self._axis.marks
        for place in marks[:: max(1, math.ceil(len(marks) / self._shape.labels))]:
            text = self._labels[place]
            half = LETTER * len(text) / 2
            x, y = _pixels(min(self.x(place), self._shape.width - half), self._shape.height - 7)
            yield format_html('<text class="rwrouter-mark" x="{}" y="{}">{}</text>', x, y, text)


def _pixels(*numbers: float) -> list[str]:
    """Write coordinates, as a machine reads them in every language."""
    return [f"{number:.1f}" for number in numbers]


def _runs(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    """Yield what was measured without a gap: places and values."""
    run: list[tuple[int, float]] = []
    for place, value in enumerate((*values, None)):
        if value is not None:
            run.append((place, value))
        elif run:
            yield run
            run = []


def ticks(top: int) -> list[int]:
    """Return a few round whole numbers from 0 to at least ``top``, for an axis."""
    rough = max(top / 4, 1)
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= rough)
    steps = max(1, math.ceil(top / step))
    return [step * place for place in range(steps + 1)]


def fine_ticks(top: float) -> list[float]:
    """Return a few round numbers from 0 to at least ``top``, fractions too."""
    if top >= TICKS_ARE_WHOLE:
        return [float(tick) for tick in ticks(math.ceil(top))]
    if top <= 0:
        return [0.0, 1.0]
    scale: int = 10 ** (3 - math.floor(math.log10(top)))
    return [tick / scale for tick in ticks(math.ceil(top * scale))]


def _count(value: float | None) -> str:
    return number_format(int(value or 0), force_grouping=True)


def _measurement(value: float, decimals: int, unit: str) -> str:
    return f"{number_format(round(value, decimals), decimals, force_grouping=True)} {unit}"
