"""A chart of the page "Over time": drawings for wide and narrow screens, and the same numbers as a table.

The drawings are SVG without style or script, so that a page satisfies ``Content-Security-Policy: default-src
'self'``. Colours and fonts come from ``routing.css``, and follow the theme of the admin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
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


SHAPES: Final = (("wide", 1040, 300, 7), ("narrow", 400, 260, 4))
"""Of the drawings: part of the element's id and class, width and height in pixels at the size at which its
text is legible, and how many labels fit below. The narrow one is for a phone, where a shrunk wide chart would
be illegible. The style sheet shows one of the two."""


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
    """What ``_chart.html`` shows: :class:`Bars` or :class:`Lines`."""

    is_whole: bool
    """Whether the values are whole numbers."""

    def __init__(
        self, name: str, title: str, axis: Axis, series: Sequence[Series], *, empty: str, unit: str = ""
    ) -> None:
        self.name, self.title, self.axis, self.series, self._unit = name, title, axis, series, unit
        table = self.table()
        values = [value for column in table for value in column.values if value is not None]
        self.empty = "" if any(values) or (values and not self.is_whole) else empty
        """What to say in place of the chart; empty where there is something to draw."""
        self.columns = [column.name for column in table]
        """The headers of the table."""
        places = reversed(range(len(axis.moments)))
        self.rows = [
            (axis.moments[place], [self.write(column.values[place]) for column in table]) for place in places
        ]
        """Newest first: time, and a number for each column, written out."""
        self.is_folded = len(self.rows) >= FOLDED_FROM
        self.ticks = ticks(max(values, default=0), whole=self.is_whole)
        self.drawings = [] if self.empty else [_Canvas(self, *shape).draw() for shape in SHAPES]

    def table(self) -> Sequence[Series]:
        """Return the columns of the table."""
        return self.series

    def write(self, value: float | None, decimals: int = 2) -> str:
        """Return a value as people read it."""
        raise NotImplementedError

    def marks(self, canvas: _Canvas, series: Series) -> Iterator[SafeString]:
        """Yield what is drawn of one series."""
        raise NotImplementedError


class Bars(Chart):
    """A chart of counts, one stacked upon the other, with their sums in the table."""

    is_whole = True

    def table(self) -> Sequence[Series]:
        """Return the series and, of several, their sum."""
        by_time = zip(*(part.values for part in self.series), strict=True)
        total = Series(_("All"), "", [sum(filter(None, values)) for values in by_time])
        return [*self.series, total] if len(self.series) > 1 else self.series

    def write(self, value: float | None, decimals: int = 0) -> str:
        """Return a count."""
        return number_format(int(value or 0), force_grouping=True)

    def marks(self, canvas: _Canvas, series: Series) -> Iterator[SafeString]:
        """Yield the bars of one series, on top of those before."""
        for place, value in enumerate(series.values):
            if value:
                below = canvas.stacked[place]
                canvas.stacked[place] += value
                bottom, top = canvas.y(below), canvas.y(below + value)
                yield format_html(
                    '<rect x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                    *_pixels(canvas.x(place - 0.42), top, canvas.step * 0.84, bottom - top),
                    canvas.tooltip(place, series.name, self.write(value)),
                )


class Lines(Chart):
    """A chart of measurements, which are missing where nothing was measured."""

    is_whole = False

    def write(self, value: float | None, decimals: int = 2) -> str:
        """Return a measurement with its unit."""
        if value is None:
            return NOTHING
        return f"{number_format(round(value, decimals), decimals, force_grouping=True)} {self._unit}"

    def marks(self, canvas: _Canvas, series: Series) -> Iterator[SafeString]:
        """Yield a line for each time without a gap, and a dot for each measurement."""
        for is_gap, group in groupby(enumerate(series.values), lambda measured: measured[1] is None):
            if is_gap:
                continue
            run = [(canvas.x(place), canvas.y(value or 0), place, value or 0) for place, value in group]
            if len(run) > 1:
                points = "L".join("{} {}".format(*_pixels(x, y)) for x, y, _place, _value in run)
                yield format_html('<path class="rwrouter-line" d="M{}"></path>', points)
            radius = SMALL_DOT if len(run) > 1 and len(series.values) > MANY else DOT
            for x, y, place, value in run:
                text = self.write(value, 2 if value < TWO_DECIMALS_BELOW else 0)
                yield format_html(
                    '<circle cx="{}" cy="{}" r="{}"><title>{}</title></circle>',
                    *_pixels(x, y),
                    str(radius),
                    canvas.tooltip(place, series.name, text),
                )


class _Canvas:
    """Where things are on a drawing."""

    def __init__(self, chart: Chart, shape: str, width: int, height: int, labels: int) -> None:
        self._chart, self.shape, self.width, self.height, self._labels = chart, shape, width, height, labels
        decimals = max(0, -math.floor(math.log10(chart.ticks[1])))
        self._guides = [(tick, chart.write(tick, decimals)) for tick in chart.ticks]
        self._left = MARGIN + LETTER * max(len(text) for _tick, text in self._guides)
        self._bottom = height - LINE
        self.step = (width - MARGIN - self._left) / len(chart.axis.moments)
        self.stacked = [0.0] * len(chart.axis.moments)
        """The sums of the bars drawn so far, for each time."""

    def x(self, place: float) -> float:
        """Return where the middle of a time is."""
        return self._left + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        """Return where a value is."""
        return self._bottom - value / self._chart.ticks[-1] * (self._bottom - MARGIN)

    def tooltip(self, place: int, name: str, value: str) -> str:
        """Return what browsers show of a mark, without a script."""
        return f"{self._chart.axis.labels[place]} · {name}: {value}"

    def draw(self) -> SafeString:
        """Return an ``<svg>`` element."""
        chart, axis = self._chart, self._chart.axis
        left, text_left, right = _pixels(self._left, self._left - 5, self.width - MARGIN)
        places = axis.marks[:: max(1, math.ceil(len(axis.marks) / self._labels))]
        times = [(self.x(place), axis.labels[place]) for place in places]
        context = {
            "id": f"rwrouter-{chart.name}-{self.shape}",
            "title": chart.title,
            "canvas": self,
            "left": left,
            "right": right,
            "text_left": text_left,
            "guides": [(*_pixels(self.y(tick), self.y(tick) + 4.5), text) for tick, text in self._guides],
            # No label reaches beyond the edge.
            "times": [(*_pixels(min(x, self.width - LETTER * len(text) / 2)), text) for x, text in times],
            "times_bottom": self.height - 7,
            "groups": [
                (part.color, mark_safe("".join(chart.marks(self, part))))  # noqa: S308  (escaped by format_html)
                for part in chart.series
            ],
        }
        return render_to_string("admin/django_rwrouter/_drawing.html", context)


def _pixels(*numbers: float) -> list[str]:
    """Write coordinates, as a machine reads them in every language."""
    return [f"{number:.1f}" for number in numbers]


def ticks(top: float, *, whole: bool) -> list[float]:
    """Return a few round numbers from 0 to at least ``top``, for an axis."""
    if top <= 0:
        return [0, 1]
    rough = max(top / 4, 1) if whole else top / 4
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= rough)
    return [step * place for place in range(math.ceil(top / step) + 1)]
