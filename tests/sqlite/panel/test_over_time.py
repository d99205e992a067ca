"""The page "Over time"."""

import re

import pytest
from django.db import connection
from django.utils import translation

from django_rwrouter import stats, use_primary
from django_rwrouter.admin import colors
from django_rwrouter.decision import Reason
from django_rwrouter.stats import recorder
from django_rwrouter.stats.counters import Counters
from django_rwrouter.stats.sums import MAX_ORIGINS
from django_rwrouter.stats.table import RoutingStatistics
from tests.app.models import Book
from tests.sqlite.panel.conftest import NONE, REPLICAS, read, record

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

READS = "Reads by database, in numbers, newest first"


@pytest.fixture
def page(show):
    return lambda span="": show(f"over-time/?span={span}")


def test_where_reads_went(page):
    record(
        read("default", "pinned", 1),
        read("replica1", count=2, milliseconds=1.25),
        latency=[["default", "replica1", "read", [0, 0, 0, 0, 0, 0, 2]]],
    )
    record(read("replica2", count=5), ["default", "default", "write", "write", "", 4, 8000], process="b" * 32)
    shown = page()
    assert shown.tables["Databases"] == [
        [
            "Database",
            "Role",
            "Reads",
            "Share of reads",
            "Half of the reads within",
            "95 % within",
            "Writes",
            "Mean time of a write",
        ],
        ["default", "primary", "1", "12.5%", NONE, NONE, "4", "2.00 ms"],
        ["replica1", "replica", "2", "25.0%", "1.26 ms", "1.56 ms", "0", NONE],
        ["replica2", "replica", "5", "62.5%", NONE, NONE, "0", NONE],
    ]
    assert "Reads 8" in shown.text
    assert "Answered by replicas 87.5%" in shown.text
    assert "Writes 4" in shown.text


def test_why_reads_went_there(page):
    record(
        read("replica1", "window", 5),
        read("default", "pinned", 3),
        read("default", "from_a_newer_version", 2),
    )
    assert page().tables["Why reads went there"] == [
        ["Reason", "On the primary", "On replicas", "Share of reads"],
        [f"{Reason.PINNED.label} pinned", "3", NONE, "30.0%"],
        ["from_a_newer_version from_a_newer_version", "2", NONE, "20.0%"],
        [f"{Reason.WINDOW.label} window", NONE, "5", "50.0%"],
    ]


def test_what_was_pinned_and_what_else_happened(page):
    record(
        events=[
            ["request", "", 40],
            ["pinned_request", "default", 10],
            ["pin_set", "", 3],
            ["token_rejected", "forged", 2],
            ["token_rejected", "malformed", 5],
            ["replica_ejected", "replica2", 1],
            ["of_a_newer_version", "x", 6],
        ]
    )
    shown = page()
    assert shown.tables["Pinned clients, and what else happened"] == [
        ["What", "How often", "In detail"],
        ["Requests", "40", ""],
        ["Requests whose client was pinned to the primary", "10", "25.0% of requests"],
        ["Responses that pinned their client, because it had written", "3", ""],
        ["Tokens not accepted", "7", "malformed: 5, wrong signature: 2"],
        ["Replicas ejected, as they failed or were slow", "1", "replica2: 1"],
        ["of_a_newer_version", "6", "x: 6"],
    ]
    assert "Pinned requests 25.0%" in shown.text


def test_each_minute_of_the_last_hour_newest_first(page, settings):
    settings.TIME_ZONE = "UTC"
    record(read("replica1", count=7), minutes_ago=59)
    record(read("default", "pinned", 1234), minutes_ago=1)
    record(read("default", "pinned", 99), minutes_ago=60)
    header, *rows = page().tables[READS]
    assert header == ["Time (UTC)", "default", "replica1", "replica2", "All"]
    assert len(rows) == 60
    assert [row for row in rows if row[-1] != "0"] == [
        ["07:59", "1,234", "0", "0", "1,234"],
        ["07:01", "0", "7", "0", "7"],
    ]
    assert (rows[0][0], rows[-1][0]) == ("08:00", "07:01")


@pytest.mark.parametrize("use_tz", [True, False])
def test_times_are_in_the_time_zone_in_force(page, settings, use_tz):
    settings.USE_TZ = use_tz
    settings.TIME_ZONE = "Asia/Kolkata"  # Half an hour apart from UTC.
    record(read("replica1"))
    record(read("replica1"), minutes_ago=59)
    shown = page()
    assert [row[0] for row in shown.tables[READS][1:3]] == ["13:30", "13:29"]
    assert "2027-01-15 12:31:00 IST to 2027-01-15 13:30:30 IST" in shown.text
    assert "12:40 12:50 13:00 13:10 13:20 13:30" in shown.text


def test_in_shadow_mode_it_shows_where_reads_would_have_gone(page, settings):
    settings.RWROUTER = {**REPLICAS, "ENABLED": "shadow"}
    record(read("default", "window", 3, would_be="replica1"), read("default", "pinned", 1))
    shown = page()
    assert "Shadow mode: the primary answers every read." in shown.text
    assert "Replicas would have answered 75.0%" in shown.text
    assert [row[:7] for row in shown.tables["Databases"]] == [
        [
            "Database",
            "Role",
            "Reads",
            "Share of reads",
            "Would have answered",
            "Would-be share",
            "Half of the reads within",
        ],
        ["default", "primary", "4", "100.0%", "1", "25.0%", NONE],
        ["replica1", "replica", "0", "0.0%", "3", "75.0%", NONE],
        ["replica2", "replica", "0", "0.0%", "0", "0.0%", NONE],
    ]
    assert shown.tables["Why reads went there"][1:] == [
        [f"{Reason.PINNED.label} pinned", "1", NONE, "25.0%"],
        [f"{Reason.WINDOW.label} window", NONE, "3", "75.0%"],
    ]
    caption = "Reads by the database that would have answered, in numbers, newest first"
    (minute,) = [row[1:] for row in shown.table(caption) if row[-1] != "0"]
    assert minute == ["1", "3", "0", "4"]


def test_with_several_clusters_each_has_its_own_shares(page, settings):
    settings.RWROUTER = {
        "CLUSTERS": {
            "main": {"REPLICAS": ["replica1", "replica2"]},
            "apart": {"PRIMARY": "other", "MODELS": ["app"]},
        }
    }
    record(
        read("replica1", cluster="main"),
        read("default", "pinned", cluster="main"),
        read("other", "no_replica", 6, cluster="apart"),
        events=[["request", "", 10], ["pinned_request", "apart", 2]],
    )
    shown = page()
    assert [row[:5] for row in shown.tables["Databases"]] == [
        ["Cluster", "Database", "Role", "Reads", "Share of the cluster's reads"],
        ["main", "default", "primary", "1", "50.0%"],
        ["main", "replica1", "replica", "1", "50.0%"],
        ["main", "replica2", "replica", "0", "0.0%"],
        ["apart", "other", "primary", "6", "100.0%"],
    ]
    assert "pinned to the primary of “apart” 2 20.0% of requests" in shown.text


def test_a_database_that_left_the_settings_is_still_shown(page):
    record(read("replica9"))
    assert ["replica9", "not configured any more", "1"] in [row[:3] for row in page().tables["Databases"]]


def test_what_a_process_counts_is_what_the_page_shows(page):
    stats.reset()
    stats.count_statement("default", "replica1", "read", "window", "", 0.002)
    stats.flush()
    assert ["replica1", "replica", "1", "100.0%"] in [row[:4] for row in page().tables["Databases"]]


@pytest.mark.parametrize(
    ("span", "rows", "minutes", "newest"),
    [
        ("15m", 15, 1, "08:00"),
        ("1h", 60, 1, "08:00"),
        ("24h", 144, 10, "01-15 08:00"),
        ("7d", 168, 60, "01-15 08:00"),
    ],
)
def test_the_span_can_be_chosen(page, settings, span, rows, minutes, newest):
    settings.TIME_ZONE = "UTC"
    record(read("replica1", count=3))
    record(read("replica1"), minutes_ago=minutes * (rows - 1))
    shown = page(span)
    table = shown.table(READS)
    assert len(table) == rows
    assert table[0] == [newest, "0", "3", "0", "3"]
    (current,) = [attributes for _tag, attributes in shown.tags if attributes.get("aria-current") == "true"]
    assert current["href"] == f"?span={span}"


def test_an_unknown_span_is_the_usual_one(page):
    record(read("replica1"), minutes_ago=59)
    assert len(page("1000y").table(READS)) == 60


@pytest.mark.parametrize(("minutes_ago", "rows"), [(0, 12), (11, 12), (12, 13), (30, 31), (59, 60)])
def test_a_young_sites_charts_begin_with_the_site(page, minutes_ago, rows):
    record(read("replica1"), minutes_ago=minutes_ago)
    assert len(page().table(READS)) == rows


def test_why_the_primary_had_to_answer_over_time(page):
    record(*(read("default", reason.value, 2 + place) for place, reason in enumerate(list(Reason)[:7])))
    shown = page()
    header, newest, *_older = shown.tables["Why the primary had to answer, in numbers, newest first"]
    # The five most frequent, and the rest of them.
    assert header == [
        "Time (CST)",
        *(str(reason.label) for reason in list(Reason)[6:1:-1]),
        "other reasons",
        "All",
    ]
    assert newest[1:] == ["8", "7", "6", "5", "4", "5", "35"]


def test_lag_latency_and_pinned_clients_over_time(page):
    record(
        read("replica1", count=2),
        events=[["request", "", 4], ["pinned_request", "default", 1]],
        lag=[["replica1", 3.25, 0.5]],
        latency=[["default", "replica1", "read", [0, 0, 0, 0, 0, 0, 2]]],
    )
    shown = page("15m")
    lag = shown.tables["Lag of each replica, at most, in numbers, newest first"]
    assert lag[:3] == [
        ["Time (CST)", "replica1", "replica2"],
        [lag[1][0], "3.25 s", NONE],
        [lag[2][0], NONE, NONE],
    ]
    latency = shown.table("What 95 % of the reads took at most, in numbers, newest first")
    assert latency[0][1:] == [NONE, "1.56 ms", NONE]
    pinned = shown.table("Requests of pinned clients, in numbers, newest first")
    assert [row[1] for row in pinned[:2]] == ["25.00 %", NONE]


def test_spills_and_failovers_over_time(page):
    record(read("replica1"), events=[["read_spilled", "default", 7], ["failover", "replica1", 2]])
    table = page("15m").tables["Spills, failovers and ejections, in numbers, newest first"]
    assert table[0][1:] == [
        "Reads on the primary, because all replicas lagged",
        "Reads that lost their replica, and were run again elsewhere",
        "All",
    ]
    assert table[1][1:] == ["7", "2", "9"]


def test_each_chart_is_drawn_wide_and_narrow(page):
    record(read("replica1", count=3), lag=[["replica1", 1.0, 1.0]])
    shown = page()
    drawings = [attributes["class"] for tag, attributes in shown.tags if attributes.get("role") == "img"]
    assert drawings == ["rwrouter-chart rwrouter-chart-wide", "rwrouter-chart rwrouter-chart-narrow"] * 2
    assert "The primary had to answer no read." in shown.text


def test_a_chart_of_one_series_has_a_legend_too(page):
    record(read("replica1"), events=[["request", "", 4]])
    assert "Share of requests In numbers" in page().text


def test_a_reason_and_a_database_have_the_same_colour_wherever_they_are_shown(show):
    """However frequent they are."""

    def swatches(shown, name):
        """Return the colours before a name: in legends, and of the bar in its row."""
        html = re.sub(r"\s+", " ", shown.html)
        legend = rf'<g class="color-(\w+)"><rect width="12" [^>]*></rect></g></svg>{re.escape(name)}</li>'
        row = rf'<th scope="row">{re.escape(name)}\b(?:(?!</tr>).)*?<g class="color-(\w+)">'
        return {match[1] for pattern in (legend, row) for match in re.finditer(pattern, html)}

    for pinned, written in ((5, 1), (1, 5)):
        record(
            *(read("default", "pinned", pinned), read("default", "wrote_in_scope", written)),
            read("replica2"),
            lag=[["replica2", 1.0, 1.0]],
        )
        shown = show("over-time/")
        assert swatches(shown, str(Reason.PINNED.label)) == {str(colors.of_reason("pinned"))}
        assert swatches(shown, "replica2") == {"2"}
    assert swatches(show(), "replica2") == {"2"}


def test_numbers_that_a_machine_reads_are_not_localized(page):
    record(read("default", "pinned"), read("replica1", count=2))
    with translation.override("de"):
        shown = page()
    widths = [attributes.get("width") for tag, attributes in shown.tags if tag == "rect"]
    assert "33.33%" in widths
    assert not [width for width in widths if width and "," in width]


# --- when there is nothing to show -------------------------------------------------------------


def test_empty(page):
    shown = page()
    assert "Nothing was counted in this time" in shown.text
    assert "wait 10 seconds" in shown.text
    assert shown.tables == {}


def test_too_old(page):
    record(read("replica1"), minutes_ago=70)
    assert "Nothing was counted in this time" in page().text


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({**REPLICAS, "STATS": {"BACKEND": "off"}}, "Statistics are switched off"),
        ({**REPLICAS, "STATS": {"BACKEND": "x.y"}}, "Statistics are kept elsewhere"),
        ({}, "No replica is configured"),
    ],
    ids=["off", "elsewhere", "inert"],
)
def test_where_no_statistics_are_kept_the_page_says_why(page, settings, setting, text):
    record(read("replica1"))
    settings.RWROUTER = setting
    shown = page()
    assert text in shown.text
    assert shown.tables == {}


def test_a_missing_table_is_no_error(page):
    with connection.schema_editor() as editor:
        editor.delete_model(RoutingStatistics)
    try:
        assert "manage.py migrate django_rwrouter" in page().text
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RoutingStatistics)


def test_the_kill_switch_is_shown(page, settings):
    settings.RWROUTER = {**REPLICAS, "ENABLED": False}
    record(read("default", "disabled"))
    assert "Routing is switched off (ENABLED is False)" in page().text


# --- what read from the primary ----------------------------------------------------------------

BY_VIEW = "What read from the primary, by view"
BY_MODEL = "What read from the primary, by model"


def test_views_and_models_that_read_from_the_primary_are_named_with_their_reasons(page):
    origins = [
        ["pinned", "shop:list", "app.Book", 3],
        ["wrote_in_scope", "shop:list", "app.Author", 1],
        ["explicit", "", "", 4],
    ]
    record(read("default", "pinned", 8), origins=origins)
    assert page().table(BY_VIEW) == [
        ["outside any request", "4", "50.0%", "the database was named in the code: 4"],
        [
            "shop:list",
            "4",
            "50.0%",
            "the client wrote a moment ago: 3, this request, task or scope has written: 1",
        ],
    ]
    assert [row[:2] for row in page().table(BY_MODEL)] == [
        ["no model: SQL of the project's own", "4"],
        ["app.Book", "3"],
        ["app.Author", "1"],
    ]


def test_beyond_top_they_are_put_together(page, settings):
    settings.RWROUTER = {**REPLICAS, "STATS": {"TOP": 2}}
    record(read("default", "pinned", 6), origins=[["pinned", f"view{n}", "app.Book", n] for n in (1, 2, 3)])
    record(read("default", "pinned", 9), origins=[["pinned", "*", "*", 9]], process="b" * 32)
    assert [row[:2] for row in page().table(BY_VIEW)] == [
        ["view3", "3"],
        ["view2", "2"],
        ["all other views", "10"],
    ]


def test_a_request_that_reads_from_the_primary_is_counted_by_its_view_and_model(show, client):
    stats.reset()
    client.post("/books/", {"title": "Emma"})
    stats.flush()
    assert [row[:2] for row in show("over-time/").table(BY_VIEW)] == [["tests.app.views.books", "1"]]
    assert [row[0] for row in show("").table(BY_MODEL)] == ["app.Book"]


def test_none_are_counted_where_the_setting_says_so(settings, databases):
    settings.RWROUTER = {**REPLICAS, "STATS": {"TOP": 0}}
    stats.reset()
    with use_primary():
        list(Book.objects.all())
    (row,) = recorder._counters.take()
    assert "origins" not in row.data


def test_a_process_keeps_a_bounded_number_of_them():
    counters = Counters()
    for number in range(MAX_ORIGINS + 5):
        counters.count_statement("c", "default", "read", "pinned", "", 0.001, (f"view{number}", None))
    (row,) = counters.take()
    assert len(row.data["origins"]) == MAX_ORIGINS + 1
    assert ("pinned", "*", "*", 5) in row.data["origins"]
