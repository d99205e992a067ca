"""Charts: what pygal draws, without its styles and scripts, and with a name for screen readers."""

import re
import sys
import xml.etree.ElementTree as ET

import pytest
from django.utils import translation
from django.utils.safestring import SafeString

from django_rwrouter.admin import svg as svg_charts

pytestmark = pytest.mark.skipif(not svg_charts.available(), reason="needs pygal: pip install pygal")

LABELS = [f"14:{minute:02}" for minute in range(60)]
SERIES = {"default": [5] * 60, "replica1": list(range(60)), "<b>&": [0] * 59 + [12_345]}


def draw(**changes):
    arguments = {
        "title": "Reads & <more>",
        "description": "All of them",
        "labels": LABELS,
        "marks": range(0, 60, 10),
        "series": SERIES,
        "shape": svg_charts.WIDE,
    }
    return svg_charts.stacked_bars("reads", **(arguments | changes))


@pytest.fixture(scope="module")
def svg():
    return ET.fromstring(draw())


def texts(svg, tag):
    return ["".join(each.itertext()) for each in svg.iter(tag)]


def test_the_drawing_may_stand_in_a_page_as_it_is():
    drawing = draw()
    assert isinstance(drawing, SafeString)
    assert drawing.startswith("<svg ")
    assert "<b>" not in drawing
    assert "&lt;b&gt;&amp;" in drawing


def test_nothing_inline_is_left_for_a_content_security_policy_to_refuse(svg):
    for element in svg.iter():
        assert element.tag not in {"script", "style", "link", "image", "use", "a"}
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]
        assert not [value for value in element.attrib.values() if "url(" in value or "//" in value]


def test_it_has_a_name_and_a_description(svg):
    assert svg.get("role") == "img"
    named = {each.get("id"): each.text for each in svg if each.get("id")}
    assert named[svg.get("aria-labelledby")] == "Reads & <more>"
    assert named[svg.get("aria-describedby")] == "All of them"
    assert [each.tag for each in svg][:2] == ["title", "desc"]
    assert texts(svg, "title").count("Reads & <more>") == 1
    assert "Pygal" not in texts(svg, "title")
    assert texts(svg, "desc") == ["All of them"]


def test_it_scales(svg):
    assert svg.get("viewBox") == "0 0 1040 300"
    assert "width" not in svg.attrib
    assert "height" not in svg.attrib


def test_each_bar_tells_its_value(svg):
    titles = texts(svg, "title")
    assert "14:59 · replica1: 59" in titles
    assert "14:59 · <b>&: 12,345" in titles
    assert sum(title.startswith("14:30 · ") for title in titles) == 2
    bars = [each for each in svg.iter("g") if each.get("class") == "bar"]
    assert len(bars) == 60 + 59 + 1


def test_only_the_marked_labels_are_written_and_no_more_than_fit(svg):
    assert [text for text in texts(svg, "text") if ":" in text] == LABELS[::10]
    narrow = ET.fromstring(draw(shape=svg_charts.NARROW))
    assert [text for text in texts(narrow, "text") if ":" in text] == LABELS[::20]


def test_numbers_are_written_as_in_the_language_in_force():
    with translation.override("de"):
        german = texts(ET.fromstring(draw()), "text")
    assert "10.000" in german


def test_two_drawings_on_a_page_have_different_ids():
    wide, narrow = (ET.fromstring(draw(shape=shape)) for shape in (svg_charts.WIDE, svg_charts.NARROW))
    ids = [each.get("id") for svg in (wide, narrow) for each in svg.iter() if each.get("id")]
    assert len(ids) == len(set(ids)) == 4


def test_a_chart_of_nothing_is_drawn_too():
    svg = ET.fromstring(draw(series={"default": [0] * 60}))
    assert "0" in texts(svg, "text")


def draw_lines(**changes):
    arguments = {
        "title": "Lag",
        "description": "The numbers are below.",
        "labels": LABELS,
        "marks": range(0, 60, 10),
        "series": {"replica1": [None, 1.5, 0.25, *[None] * 57], "replica2": [None] * 59 + [12_345.678]},
        "unit": "s",
        "shape": svg_charts.WIDE,
    }
    return ET.fromstring(svg_charts.lines("lag", **(arguments | changes)))


def test_lines_leave_a_gap_where_nothing_was_measured():
    svg = draw_lines()
    lines = [each.get("d") for each in svg.iter("path") if "nofill" in each.get("class", "")]
    assert len(lines) == 1
    assert len(re.findall(r"[\d.]+ [\d.]+", lines[0])) == 2
    titles = [title for title in texts(svg, "title") if "·" in title]
    assert titles == ["14:01 · replica1: 1.50 s", "14:02 · replica1: 0.25 s", "14:59 · replica2: 12,346 s"]


def test_a_single_measurement_has_a_dot_that_can_be_seen():
    radii = sorted(float(each.get("r")) for each in draw_lines().iter("circle"))
    assert radii == [svg_charts.SMALL_DOT, svg_charts.SMALL_DOT, svg_charts.DOT]


def test_lines_carry_neither_style_nor_script_nor_strange_attributes():
    markup = ET.tostring(draw_lines(), encoding="unicode")
    assert not re.search(r"style|script|xlink|<defs| on\w+=", markup)


def test_series_have_the_colours_that_were_asked_for():
    groups = {each.get("class") for each in draw_lines(colors=[3, 7]).iter("g")}
    assert {"series serie-0 color-3", "series serie-1 color-7"} <= groups


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0, [0, 1]),
        (0.37, [0, 0.1, 0.2, 0.3, 0.4]),
        (0.0123, [0, 0.005, 0.01, 0.015]),
        (3.2, [0, 1, 2, 3, 4]),
        (4, [0, 1, 2, 3, 4]),
        (95.5, [0, 50, 100]),
    ],
)
def test_an_axis_of_measurements_has_round_ticks(top, expected):
    assert svg_charts.fine_ticks(top) == pytest.approx(expected)


@pytest.mark.skipif("pygal" in sys.modules, reason="somebody else has imported pygal")
def test_importing_pygal_leaves_the_import_machinery_as_it_was():
    draw()
    assert "PluginImportFixer" not in {type(finder).__name__ for finder in sys.meta_path}


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (5, [0, 2, 4, 6]),
        (10, [0, 5, 10]),
        (11, [0, 5, 10, 15]),
        (36, [0, 10, 20, 30, 40]),
        (999, [0, 500, 1000]),
        (1_000_001, [0, 500_000, 1_000_000, 1_500_000]),
    ],
)
def test_an_axis_has_round_ticks(top, expected):
    assert svg_charts.ticks(top) == expected


def test_ticks_reach_the_top_and_are_few():
    for top in range(5000):
        found = svg_charts.ticks(top)
        assert found[-1] >= top
        assert 2 <= len(found) <= 6
