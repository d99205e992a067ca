"""Charts: SVG without style or script, with a name for screen readers, and a colour for each thing."""

import re
import xml.etree.ElementTree as ET
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from django.utils import translation
from django.utils.safestring import SafeString

import django_rwrouter
from django_rwrouter.admin import chart, colors
from django_rwrouter.admin.chart import Axis, Series
from django_rwrouter.decision import Reason
from django_rwrouter.stats.summary import SPANS

MOMENTS = [datetime(2027, 1, 15, 14, tzinfo=timezone.utc) + timedelta(minutes=n) for n in range(60)]
LABELS = [f"14:{minute:02}" for minute in range(60)]
SERIES = [
    Series("default", 0, [5] * 60),
    Series("replica1", 1, list(range(60))),
    Series("<b>&", "more", [0] * 59 + [12_345]),
]
AXIS = Axis(span=SPANS["1h"], moments=MOMENTS)


@pytest.fixture(autouse=True)
def utc(settings):
    settings.TIME_ZONE = "UTC"


def bars(series=SERIES):
    return chart.Bars("reads", "Reads & <more>", AXIS, series, empty="none")


def lines(*series):
    series = series or (
        Series("replica1", 3, [None, 1.5, 0.25, *[None] * 57]),
        Series("replica2", 7, [None] * 59 + [12_345.678]),
    )
    return chart.Lines("lag", "Lag", AXIS, series, unit="s", empty="none")


def wide(drawn):
    return ET.fromstring(drawn.drawings[0])


def texts(svg, tag):
    return ["".join(each.itertext()) for each in svg.iter(tag)]


def test_the_drawing_may_stand_in_a_page_as_it_is():
    drawing = bars().drawings[0]
    assert isinstance(drawing, SafeString)
    assert drawing.startswith("<svg ")
    assert "<b>" not in drawing
    assert "&lt;b&gt;&amp;" in drawing


@pytest.mark.parametrize("draw", [bars, lines])
def test_nothing_inline_is_left_for_a_content_security_policy_to_refuse(draw):
    for element in wide(draw()).iter():
        assert element.tag not in {"script", "style", "link", "image", "use", "a", "defs"}
        assert not [name for name in element.attrib if name == "style" or name.startswith("on")]
        assert not [value for value in element.attrib.values() if "url(" in value or "//" in value]


def test_it_has_a_name_and_a_description():
    svg = wide(bars())
    assert svg.get("role") == "img"
    named = {each.get("id"): each.text for each in svg if each.get("id")}
    assert named[svg.get("aria-labelledby")] == "Reads & <more>"
    assert named[svg.get("aria-describedby")] == "The table below has the numbers."
    assert [each.tag for each in svg][:2] == ["title", "desc"]


def test_it_scales():
    svg = wide(bars())
    assert svg.get("viewBox") == "0 0 1040 300"
    assert not {"width", "height"} & set(svg.keys())


def test_each_bar_tells_its_value():
    svg = wide(bars())
    titles = texts(svg, "title")
    assert "14:59 · replica1: 59" in titles
    assert "14:59 · <b>&: 12,345" in titles
    assert sum(title.startswith("14:30 · ") for title in titles) == 2
    assert len(list(svg.iter("rect"))) == 60 + 59 + 1


def test_bars_stand_upon_each_other_and_end_where_the_axis_does():
    svg = wide(bars([Series("a", 0, [3] * 60), Series("b", 1, [7] * 60)]))
    first, second = (group.find("rect") for group in svg.iter("g"))
    bottom, top = float(first.get("y")) + float(first.get("height")), float(second.get("y"))
    assert float(second.get("y")) + float(second.get("height")) == pytest.approx(float(first.get("y")))
    guides = [float(path.get("d").split()[1].split("H")[0]) for path in svg.iter("path")]
    assert (max(guides), min(guides)) == (pytest.approx(bottom), pytest.approx(top))


def test_nothing_is_drawn_outside_the_canvas():
    for drawing in (*bars().drawings, *lines().drawings):
        svg = ET.fromstring(drawing)
        _x, _y, width, height = map(float, svg.get("viewBox").split())
        for rect in svg.iter("rect"):
            x, y, w, h = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + w <= width
            assert 0 <= y <= y + h <= height
        for text in svg.iter("text"):
            half = chart.LETTER * len(text.text) / 2
            assert "tick" in text.get("class") or half <= float(text.get("x")) <= width - half + 0.1


def test_only_the_marked_times_are_written_and_no_more_than_fit():
    drawings = map(ET.fromstring, bars().drawings)
    written = [[text for text in texts(svg, "text") if ":" in text] for svg in drawings]
    assert written == [LABELS[::10], LABELS[::20]]


def test_numbers_are_written_as_in_the_language_in_force():
    with translation.override("de"):
        german = texts(wide(bars()), "text")
    assert "10.000" in german


def test_two_drawings_on_a_page_have_different_ids():
    ids = [
        each.get("id") for svg in map(ET.fromstring, bars().drawings) for each in svg.iter() if each.get("id")
    ]
    assert len(ids) == len(set(ids)) == 4


@pytest.mark.parametrize(
    "drawn", [bars([Series("a", 0, [0] * 60)]), bars([]), lines(Series("a", 0, [None] * 60))]
)
def test_of_nothing_there_is_no_drawing(drawn):
    assert (drawn.empty, drawn.drawings) == ("none", [])


def test_lines_leave_a_gap_where_nothing_was_measured():
    svg = wide(lines())
    drawn = [each.get("d") for each in svg.iter("path") if each.get("class") == "rwrouter-line"]
    assert len(drawn) == 1
    assert len(re.findall(r"[\d.]+ [\d.]+", drawn[0])) == 2
    titles = [title for title in texts(svg, "title") if "·" in title]
    assert titles == ["14:01 · replica1: 1.50 s", "14:02 · replica1: 0.25 s", "14:59 · replica2: 12,346 s"]


def test_a_single_measurement_has_a_dot_that_can_be_seen():
    radii = sorted(float(each.get("r")) for each in wide(lines()).iter("circle"))
    assert radii == [chart.SMALL_DOT, chart.SMALL_DOT, chart.DOT]


def test_series_have_their_colours():
    assert [each.get("class") for each in wide(lines()).iter("g")] == ["color-3", "color-7"]
    assert [each.get("class") for each in wide(bars()).iter("g")] == ["color-0", "color-1", "color-more"]


# --- colours ------------------------------------------------------------------------------------


def test_databases_have_the_colours_of_their_places_in_the_settings(settings):
    settings.RWROUTER = {
        "CLUSTERS": {
            "main": {"REPLICAS": ["replica2", "replica1"]},
            "apart": {"PRIMARY": "other", "MODELS": ["app"]},
        }
    }
    aliases = ["default", "replica2", "replica1", "other", "gone"]
    assert [colors.of_database(alias) for alias in aliases] == [0, 1, 2, 3, colors.MORE]


def test_reasons_to_read_from_the_primary_have_a_colour_each():
    used = [colors.of_reason(reason.value) for reason in Reason if reason.on_primary]
    assert len(set(used)) == len(used)
    assert colors.of_reason("of_a_newer_version") == colors.MORE


def test_the_style_sheet_has_each_colour():
    style = Path(django_rwrouter.__file__).parent / "static" / "django_rwrouter" / "routing.css"
    rules = re.findall(r"^\.rwrouter \.color-(\d+) {.*?: (.*); }$", style.read_text(), re.MULTILINE)
    assert [int(number) for number, _value in rules] == list(range(colors.COLORS))
    assert len({value for _number, value in rules}) == colors.COLORS


# --- axes ---------------------------------------------------------------------------------------


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
    assert chart.ticks(top, whole=False) == pytest.approx(expected)


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
    assert chart.ticks(top, whole=True) == expected


def test_ticks_reach_the_top_and_are_few():
    for top in range(5000):
        found = chart.ticks(top, whole=True)
        assert found[-1] >= top
        assert 2 <= len(found) <= 6
