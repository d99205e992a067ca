"""Draws charts on the server, as SVG that carries no style and no script of its own.

pygal draws (extra ``charts``); what it adds for stand-alone files is taken out again, so that a page with the
chart in it satisfies ``Content-Security-Policy: default-src 'self'``. Colours, fonts and anchors come from
``routing.css``, by pygal's own class names, and follow the theme of the admin.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Final
from xml.etree import ElementTree as ET

from django.utils.formats import number_format
from django.utils.safestring import SafeString, mark_safe

DROPPED: Final = frozenset({"script", "style", "defs", "desc"})
"""Elements of pygal's that do not get into the page. Its ``desc`` feed the tooltips of its script."""

DOT: Final = 2.5
"""Radius of the dots on a line, in pixels: large enough to be pointed at."""
SMALL_DOT: Final = 1.25
"""The same where there are so many that they would run together."""
MANY: Final = 40
SERIES: Final = re.compile(r"series serie-(\d+) color-\d+")
"""How pygal marks a series."""
TWO_DECIMALS_BELOW: Final = 100
"""Numbers from here on are written without decimals."""
TICKS_ARE_WHOLE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The canvas of a chart, in pixels at the size at which its text is legible."""

    name: str
    """Part of the element's id and class."""
    width: int
    height: int
    font: int
    """Size of the text, as the style sheet has it too."""
    labels: int
    """How many labels fit below."""


WIDE: Final = Shape(name="wide", width=1040, height=300, font=13, labels=7)
NARROW: Final = Shape(name="narrow", width=400, height=260, font=13, labels=4)
"""For a phone, where a shrunk wide chart would be illegible. The style sheet shows one of the two."""


def available() -> bool:
    """Whether pygal is installed."""
    return find_spec("pygal") is not None


def stacked_bars(
    name: str,
    *,
    title: str,
    description: str,
    labels: Sequence[str],
    marks: Sequence[int],
    series: Mapping[str, Sequence[int]],
    shape: Shape,
    colors: Sequence[int] | None = None,
) -> SafeString:
    """Draw one bar for each label, the series stacked in it; return an ``<svg>`` element.

    The labels must differ. ``marks`` are the places of those to write below; where they do not fit, some of
    them. The title and the description are for screen readers, each value's tooltip for everybody else.
    ``name`` must be unique on the page. ``colors`` are the numbers of the colours, where the series do not
    simply have one after the other. Raises ``ImportError`` without pygal.
    """
    chart = _canvas("StackedBar", shape, labels, marks, spacing=8)
    top = max(map(sum, zip(*series.values(), strict=True)), default=0)
    chart.y_labels = [{"value": tick, "label": _grouped(tick)} for tick in ticks(top)]
    chart.formatter = _grouped
    return _finish(chart, f"{name}-{shape.name}", title, description, series, shape, colors)


def lines(
    name: str,
    *,
    title: str,
    description: str,
    labels: Sequence[str],
    marks: Sequence[int],
    series: Mapping[str, Sequence[float | None]],
    unit: str,
    shape: Shape,
    colors: Sequence[int] | None = None,
) -> SafeString:
    """Draw one line for each series, from 0 up, as :func:`stacked_bars` draws bars.

    ``None`` leaves a gap: nothing was measured there. ``unit`` stands after each number.
    """
    known = [value for values in series.values() for value in values if value is not None]
    steps = fine_ticks(max(known, default=0.0))
    decimals = 0 if steps[1] >= 1 else -math.floor(math.log10(steps[1]))

    def axis(value: float) -> str:
        return f"{number_format(round(value, decimals), decimals, force_grouping=True)} {unit}"

    def exact(value: float) -> str:
        decimals = 2 if value < TWO_DECIMALS_BELOW else 0
        return f"{number_format(round(value, decimals), decimals, force_grouping=True)} {unit}"

    chart = _canvas(
        "Line",
        shape,
        labels,
        marks,
        spacing=0,
        dots_size=DOT if len(labels) <= MANY else SMALL_DOT,
        allow_interruptions=True,
        range=(0, steps[-1]),
    )
    chart.y_labels = [{"value": tick, "label": axis(tick)} for tick in steps]
    chart.formatter = exact
    return _finish(chart, f"{name}-{shape.name}", title, description, series, shape, colors)


def _canvas(kind: str, shape: Shape, labels: Sequence[str], marks: Sequence[int], **options: object) -> Any:
    pygal = _import_pygal()
    style = pygal.style.Style(
        label_font_size=shape.font, major_label_font_size=shape.font, no_data_font_size=shape.font
    )
    chart = getattr(pygal, kind)(
        style=style,
        css=[],
        js=[],
        width=shape.width,
        height=shape.height,
        margin=8,
        show_legend=False,
        truncate_label=-1,
        show_minor_x_labels=False,
        explicit_size=False,
        disable_xml_declaration=True,
        **options,
    )
    chart.x_labels = list(labels)
    every = max(1, math.ceil(len(marks) / shape.labels))
    chart.x_labels_major = [labels[place] for place in marks[::every]]
    return chart


def _finish(
    chart: Any,
    id_: str,
    title: str,
    description: str,
    series: Mapping[str, Sequence[float | None]],
    shape: Shape,
    colors: Sequence[int] | None,
) -> SafeString:
    for label, values in series.items():
        chart.add(label, [_visible(values, place) for place in range(len(values))])
    # What comes from pygal is well-formed and made of our own numbers: no stranger's XML.
    svg = ET.fromstring(chart.render())  # noqa: S314
    _add_tooltips(svg, series)
    _undress(svg)
    if colors is not None:
        _paint(svg, colors)
    _describe(svg, id_, title, description)
    svg.set("class", f"rwrouter-chart rwrouter-chart-{shape.name}")
    # Escaped by the serializer; nothing in it is markup of somebody else's.
    return mark_safe(ET.tostring(svg, encoding="unicode"))  # noqa: S308


def _visible(values: Sequence[float | None], place: int) -> object:
    """Return a value as pygal takes it, with a larger dot where no line leads to it."""
    value = values[place]
    alone = not any(values[other] is not None for other in (place - 1, place + 1) if 0 <= other < len(values))
    return {"value": value, "node": {"r": DOT}} if value is not None and alone else value


def _import_pygal() -> ModuleType:
    """Import pygal, and take its finder off ``sys.meta_path`` again.

    The finder serves pygal's maps only and is of a kind that Python before 3.12 warns of at later imports,
    wherever they are. One that somebody else has put there by importing pygal stays.
    """
    if "pygal" not in sys.modules:
        import_module("pygal")
        sys.meta_path[:] = [
            finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"
        ]
    import_module("pygal.style")
    return import_module("pygal")


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


def _grouped(value: float) -> str:
    return number_format(int(value), force_grouping=True)


def _undress(element: ET.Element) -> None:
    """Take out style, script, foreign attributes and namespaces, in the whole tree."""
    # Inside HTML, <svg> needs no namespace.
    element.tag = element.tag.rpartition("}")[2]
    for attribute in list(element.attrib):
        if attribute in {"style", "id"} or attribute.startswith(("{", "on")):
            del element.attrib[attribute]
    for child in list(element):
        if child.tag.rpartition("}")[2] in DROPPED:
            element.remove(child)
        else:
            _undress(child)


def _add_tooltips(svg: ET.Element, names: Iterable[str]) -> None:
    """Turn what pygal's script would show into titles, which browsers show without one.

    Bars of no height are taken out: nobody can point at them.
    """
    for place, name in enumerate(names):
        for group in svg.iter("{http://www.w3.org/2000/svg}g"):
            if group.get("class") != f"series serie-{place} color-{place}":
                continue
            for parent in (group, *group.findall("{*}g")):
                for mark in list(parent):
                    texts = {each.get("class"): each.text for each in mark.findall("{*}desc")}
                    if "value" not in texts:
                        continue
                    if texts["value"] == "0":
                        parent.remove(mark)
                        continue
                    tooltip = ET.SubElement(mark, "title")
                    tooltip.text = f"{texts.get('x_label')} · {name}: {texts['value']}"


def _paint(svg: ET.Element, colors: Sequence[int]) -> None:
    """Give each series the colour of that number."""
    for group in svg.iter("g"):
        match = SERIES.fullmatch(group.get("class", ""))
        if match is not None:
            place = int(match[1])
            group.set("class", f"series serie-{place} color-{colors[place]}")


def _describe(svg: ET.Element, id_: str, title: str, description: str) -> None:
    for generic in svg.findall("title"):
        svg.remove(generic)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag, id=f"{id_}-{tag}")
        element.text = text
        svg.insert(place, element)
    svg.set("role", "img")
    svg.set("aria-labelledby", f"{id_}-title")
    svg.set("aria-describedby", f"{id_}-desc")
