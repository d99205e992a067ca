"""A chart of the page "Over time": drawings for wide and narrow screens, and the same numbers as a table.

The drawings are SVG without style or script, so that a page satisfies ``Content-Security-Policy: default-src
'self'``. Colours and fonts come from ``routing.css``, and follow the theme of the admin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.template.loader import render_to_string
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
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


class Axis:
    """The times of a chart."""

    def __init__(self, *, span: Span, moments: Sequence[datetime]) -> None:
        self.moments = moments
        self.form = "H:i" if span.seconds < DAY else "m-d H:i"
        """The format of a time, as Django's templates know it."""
        self.labels = [date_format(moment, self.form) for moment in moments]
        self.zone = date_format(moments[-1], "T")
        """The name of the time zone that they are in."""
        every = max(1, len(moments) // 6)
        self.marks: Sequence[int] = range(every - 1, len(moments), every)
        """The places of the times that are written below."""
        if span.seconds <= HOUR:
            minutes = max(1, every * span.step // 60)
            self.marks = [place for place, moment in enumerate(moments) if moment.minute % minutes == 0]


class Chart:
    """What ``_chart.html`` shows: see :func:`bars` and :func:`lines`."""

    def __init__(
        self,
        name: str,
        title: str,
        axis: Axis,
        series: Sequence[Series],
        *,
        table: Sequence[Series],
        empty: str,
        write: Callable[[float | None], str],
        ticks: Sequence[float],
        label: Callable[[float], str],
        marks: Callable[[_Canvas, Series], Iterable[SafeString]],
    ) -> None:
        self.name, self.title, self.axis, self.series = name, title, axis, series
        self.empty = empty
        """What to say in place of the chart; empty where there is something to draw."""
        self.columns = [column.name for column in table]
        """The headers of the table: the series, and perhaps their sum."""
        places = reversed(range(len(axis.moments)))
        self.rows = [
            (axis.moments[place], [write(column.values[place]) for column in table]) for place in places
        ]
        """Newest first: time, and a number for each column, written out."""
        self.is_folded = len(self.rows) >= FOLDED_FROM
        labelled = [(tick, label(tick)) for tick in ticks]
        canvases = () if empty else [_Canvas(shape, axis, labelled) for shape in (WIDE, NARROW)]
        self.drawings = [canvas.draw(self, marks) for canvas in canvases]


def bars(name: str, title: str, axis: Axis, series: Sequence[Series], *, empty: str) -> Chart:
    """Return a chart of counts, one stacked upon the other, with their sums in the table."""
    sums = [sum(filter(None, values)) for values in zip(*(part.values for part in series), strict=True)]

    def marks(canvas: _Canvas, part: Series) -> Iterator[SafeString]:
        for place, value in enumerate(part.values):
            if value:
                below = canvas.stacked[place]
                canvas.stacked[place] += value
                bottom, top = canvas.y(below), canvas.y(below + value)
                yield format_html(
                    '<rect x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                    *_pixels(canvas.x(place - 0.42), top, canvas.step * 0.84, bottom - top),
                    canvas.tooltip(place, part.name, _count(value)),
                )

    return Chart(
        name,
        title,
        axis,
        series,
        table=[*series, Series(_("All"), "", sums)] if len(series) > 1 else series,
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

    def write(value: float | None, decimals: int = 2) -> str:
        if value is None:
            return NOTHING
        return f"{number_format(round(value, decimals), decimals, force_grouping=True)} {unit}"

    def marks(canvas: _Canvas, line: Series) -> Iterator[SafeString]:
        for run in _runs(line.values):
            dot = DOT
            if len(run) > 1:
                points = "L".join("{} {}".format(*_pixels(canvas.x(place), canvas.y(y))) for place, y in run)
                yield format_html('<path class="rwrouter-line" d="M{}"></path>', points)
                dot = SMALL_DOT if len(line.values) > MANY else DOT
            for place, value in run:
                yield format_html(
                    '<circle cx="{}" cy="{}" r="{}"><title>{}</title></circle>',
                    *_pixels(canvas.x(place), canvas.y(value)),
                    str(dot),
                    canvas.tooltip(place, line.name, write(value, 2 if value < TWO_DECIMALS_BELOW else 0)),
                )

    return Chart(
        name,
        title,
        axis,
        series,
        table=series,
        empty="" if measured else empty,
        write=write,
        ticks=steps,
        label=lambda value: write(value, decimals),
        marks=marks,
    )


class _Canvas:
    """Where things are on a drawing."""

    def __init__(self, shape: Shape, axis: Axis, ticks: Sequence[tuple[float, str]]) -> None:
        self._shape, self._axis, self._ticks = shape, axis, ticks
        self._top = ticks[-1][0]
        self._left = MARGIN + LETTER * max(len(text) for _tick, text in ticks)
        self._bottom = shape.height - LINE
        self.step = (shape.width - MARGIN - self._left) / len(axis.moments)
        self.stacked = [0.0] * len(axis.moments)
        """The sums of the bars drawn so far, for each time."""

    def x(self, place: float) -> float:
        """Return where the middle of a time is."""
        return self._left + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return self._bottom - value / self._top * (self._bottom - MARGIN)

    def tooltip(self, place: int, name: str, value: str) -> str:
        """Return what browsers show of a mark, without a script."""
        return f"{self._axis.labels[place]} · {name}: {value}"

    def draw(self, chart: Chart, marks: Callable[[_Canvas, Series], Iterable[SafeString]]) -> SafeString:
        """Return an ``<svg>`` element."""
        shape, axis = self._shape, self._axis
        left, text_left, right = _pixels(self._left, self._left - 5, shape.width - MARGIN)
        places = axis.marks[:: max(1, math.ceil(len(axis.marks) / shape.labels))]
        times = [(self.x(place), axis.labels[place]) for place in places]
        context = {
            "id": f"rwrouter-{chart.name}-{shape.name}",
            "title": chart.title,
            "shape": shape,
            "left": left,
            "right": right,
            "text_left": text_left,
            "guides": [(*_pixels(self.y(tick), self.y(tick) + 4.5), text) for tick, text in self._ticks],
            # No label reaches beyond the edge.
            "times": [(*_pixels(min(x, shape.width - LETTER * len(text) / 2)), text) for x, text in times],
            "times_bottom": shape.height - 7,
            "groups": [
                (part.color, mark_safe("".join(marks(self, part))))  # noqa: S308  (escaped by format_html)
                for part in chart.series
            ],
        }
        return render_to_string("admin/django_rwrouter/_drawing.html", context)


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
