"""Draws charts on the server, as SVG that carries no style and no script of its own.

pygal draws (extra ``charts``); what it adds for stand-alone files is taken out again, so that a page with the
chart in it satisfies ``Content-Security-Policy: default-src 'self'``. Colours, fonts and anchors come from
``routing.css``, by pygal's own class names, and follow the theme of the admin.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final
from xml.etree import ElementTree as ET

from django.utils.formats import number_format
from django.utils.safestring import SafeString, mark_safe

DROPPED: Final = frozenset({"script", "style", "defs", "desc"})
"""Elements of pygal's that do not get into the page. Its ``desc`` feed the tooltips of its script."""


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
) -> SafeString:
    """Draw one bar for each label, the series stacked in it; return an ``<svg>`` element.

    The labels must differ. ``marks`` are the places of those to write below; where they do not fit, some of
    them. The title and the description are for screen readers, each value's tooltip for everybody else.
    ``name`` must be unique on the page. Raises ``ImportError`` without pygal.
    """
    pygal = _import_pygal()
    style = pygal.style.Style(
        label_font_size=shape.font, major_label_font_size=shape.font, no_data_font_size=shape.font
    )
    chart = pygal.StackedBar(
        style=style,
        css=[],
        js=[],
        width=shape.width,
        height=shape.height,
        margin=8,
        spacing=8,
        show_legend=False,
        truncate_label=-1,
        show_minor_x_labels=False,
        explicit_size=False,
        disable_xml_declaration=True,
    )
    chart.x_labels = list(labels)
    every = max(1, math.ceil(len(marks) / shape.labels))
    chart.x_labels_major = [labels[place] for place in marks[::every]]
    top = max(map(sum, zip(*series.values(), strict=True)), default=0)
    chart.y_labels = [{"value": tick, "label": _grouped(tick)} for tick in ticks(top)]
    chart.formatter = _grouped
    for label, values in series.items():
        chart.add(label, list(values))
    # What comes from pygal is well-formed and made of our own numbers: no stranger's XML.
    svg = ET.fromstring(chart.render())  # noqa: S314
    _add_tooltips(svg, series)
    _undress(svg)
    _describe(svg, f"{name}-{shape.name}", title, description)
    svg.set("class", f"rwrouter-chart rwrouter-chart-{shape.name}")
    # Escaped by the serializer; nothing in it is markup of somebody else's.
    return mark_safe(ET.tostring(svg, encoding="unicode"))  # noqa: S308


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
        for group in svg.findall(f".//{{*}}g[@class='series serie-{place} color-{place}']/{{*}}g"):
            for bar in list(group):
                texts = {each.get("class"): each.text for each in bar.findall("{*}desc")}
                if texts.get("value") == "0":
                    group.remove(bar)
                    continue
                tooltip = ET.SubElement(bar, "title")
                tooltip.text = f"{texts.get('x_label')} · {name}: {texts.get('value')}"


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
