"""The page "Read/write routing" of the admin."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_rwrouter import admin as routing_admin
from django_rwrouter import charts, stats
from django_rwrouter.counters import Row
from django_rwrouter.decision import Reason
from django_rwrouter.models import RoutingStatistics
from django_rwrouter.signals import statement_routed
from tests.django.conftest import replicate
from tests.settings import DATABASES

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

URL = "/admin/django_rwrouter/routingstatistics/"
NOW = 1_800_000_030
"""Half past a minute: 8:00:30 UTC on a Friday."""
NONE = "\N{EN DASH}"
REPLICAS = {"REPLICAS": ["replica1", "replica2"]}


def read(alias, reason="window", count=1, milliseconds=1.0, would_be="", cluster="default"):
    return [cluster, alias, "read", reason, would_be, count, int(count * milliseconds * 1000)]


def record(*statements, events=(), minutes_ago=0, process="a" * 32):
    start = NOW - 30 - 60 * minutes_ago
    data = {"statements": list(statements), "events": list(events)}
    RoutingStatistics.objects.on_primary().put([Row(process=process, resolution=60, start=start, data=data)])


class _Page(HTMLParser):
    """What a person sees of a page: its tables, cell by cell, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.tags, self._cell, self._words = {}, [], None, []
        self.feed(html)
        self.text = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th", "caption"}:
            self._cell = []

    def handle_endtag(self, tag):
        if tag == "caption":
            self.tables[" ".join(" ".join(self._cell).split())] = self._rows
        elif tag in {"td", "th"} and self._cell is not None:
            self._rows[-1].append(" ".join(" ".join(self._cell).split()))
        if tag in {"td", "th", "caption"}:
            self._cell = None

    def handle_data(self, data):
        self._words.append(data)
        if self._cell is not None:
            self._cell.append(data)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(routing_admin, "time", SimpleNamespace(time=lambda: NOW))
    monkeypatch.setattr(stats._counters, "_clock", lambda: NOW)


@pytest.fixture
def admin(databases, client):
    user = User.objects.db_manager("default").create_superuser("admin", password="x")
    replicate()
    client.force_login(user)
    return client


@pytest.fixture
def page(admin):
    """Open the page and read it: our part of it, or the whole."""

    def open_page(*, whole=False):
        response = admin.get(URL)
        assert response.status_code == 200
        html = response.content.decode()
        return _Page(html if whole else html[html.index('<div id="content-main">') :])

    return open_page


@pytest.fixture
def staff(databases, client):
    user = User.objects.db_manager("default").create_user("staff", password="x", is_staff=True)
    replicate()
    client.force_login(user)
    return user


# --- who sees it -------------------------------------------------------------------------------


def test_the_index_leads_to_the_page(admin):
    html = admin.get("/admin/").content.decode()
    assert f'href="{URL}"' in html
    assert "Read/write routing" in html
    assert f"{URL}add/" not in html


def test_staff_without_the_permission_neither_see_nor_open_it(client, staff):
    assert URL not in client.get("/admin/").content.decode()
    assert client.get(URL).status_code == 403


def test_staff_with_the_permission_see_and_open_it(client, staff):
    staff.user_permissions.add(Permission.objects.using("default").get(codename="view_routing"))
    replicate()
    assert URL in client.get("/admin/").content.decode()
    assert client.get(URL).status_code == 200


def test_strangers_are_asked_to_log_in(databases, client):
    response = client.get(URL)
    assert response.status_code == 302
    assert response.url == f"/admin/login/?next={URL}"


def test_there_are_two_permissions():
    assert RoutingStatistics._meta.default_permissions == ()
    assert [name for name, _label in RoutingStatistics._meta.permissions] == [
        "view_routing",
        "change_routing",
    ]


@pytest.mark.parametrize("path", ["add/", "1/change/", "1/delete/", "1/history/"])
def test_nothing_can_be_added_changed_or_deleted(admin, path):
    record(read("replica1"))
    assert admin.get(URL + path).status_code == 404


# --- what it shows -----------------------------------------------------------------------------


def test_where_reads_went(page):
    record(read("default", "pinned", 1), read("replica1", count=2, milliseconds=1.25))
    record(read("replica2", count=5), ["default", "default", "write", "write", "", 4, 8000], process="b" * 32)
    shown = page()
    assert shown.tables["Databases"] == [
        [
            "Database",
            "Role",
            "Reads",
            "Share of reads",
            "Mean time of a read",
            "Writes",
            "Mean time of a write",
        ],
        ["default", "primary", "1", "12.5%", "1.00 ms", "4", "2.00 ms"],
        ["replica1", "replica", "2", "25.0%", "1.25 ms", "0", NONE],
        ["replica2", "replica", "5", "62.5%", "1.00 ms", "0", NONE],
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
            ["token_rejected", "expired", 5],
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
        ["Tokens not accepted", "7", "expired: 5, wrong signature: 2"],
        ["Writes too late for the client's token (in a streamed response)", "0", ""],
        ["Writes sent to a replica, and refused", "0", ""],
        ["Replicas left alone for a while, as they failed or were slow", "1", "replica2: 1"],
        ["Primaries that could not be asked where they stand", "0", ""],
        ["Writes that SYNC_REPLICAS had not replayed within SYNC_TIMEOUT", "0", ""],
        ["of_a_newer_version", "6", "x: 6"],
    ]
    assert "Pinned requests 25.0%" in shown.text


def test_each_minute_of_the_last_hour_newest_first(page, settings):
    settings.TIME_ZONE = "UTC"
    record(read("replica1", count=7), minutes_ago=59)
    record(read("default", "pinned", 1234), minutes_ago=1)
    record(read("default", "pinned", 99), minutes_ago=60)
    header, *rows = page().tables["The same in numbers, newest first"]
    assert header == ["Time", "default", "replica1", "replica2", "All"]
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
    shown = page()
    assert [row[0] for row in shown.tables["The same in numbers, newest first"][1:3]] == ["13:30", "13:29"]
    assert "The last hour, 12:31 to 13:30 (IST)" in shown.text
    assert "12:40 12:50 13:00 13:10 13:20 13:30" in shown.text or not charts.available()


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
            "Mean time of a read",
        ],
        ["default", "primary", "4", "100.0%", "1", "25.0%", "1.00 ms"],
        ["replica1", "replica", "0", "0.0%", "3", "75.0%", NONE],
        ["replica2", "replica", "0", "0.0%", "0", "0.0%", NONE],
    ]
    assert shown.tables["Why reads went there"][1:] == [
        [f"{Reason.PINNED.label} pinned", "1", NONE, "25.0%"],
        [f"{Reason.WINDOW.label} window", NONE, "3", "75.0%"],
    ]
    (minute,) = [row[1:] for row in shown.tables["The same in numbers, newest first"][1:] if row[-1] != "0"]
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
    assert ["replica1", "replica", "1", "100.0%", "2.00 ms"] in [
        row[:5] for row in page().tables["Databases"]
    ]


# --- when there is nothing to show -------------------------------------------------------------


def test_empty(page):
    shown = page()
    assert "Nothing was counted in the last hour" in shown.text
    assert "wait 10 seconds" in shown.text
    assert shown.tables == {}


def test_too_old(page):
    record(read("replica1"), minutes_ago=70)
    assert "Nothing was counted in the last hour" in page().text


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


# --- how it is made ----------------------------------------------------------------------------


def test_it_asks_the_database_once(admin):
    record(read("replica1"))
    with CaptureQueriesContext(connection) as queries:
        admin.get(URL)
    assert sum("rwrouter" in query["sql"] for query in queries) == 1


def test_looking_at_the_page_does_not_count(admin):
    seen = []
    statement_routed.connect(lambda **kwargs: seen.append(kwargs["sql"]), weak=False, dispatch_uid="seen")
    admin.get(URL)
    statement_routed.disconnect(dispatch_uid="seen")
    assert seen
    assert not [sql for sql in seen if RoutingStatistics._meta.db_table in sql]


def test_nothing_on_the_page_is_inline(page):
    record(read("replica1"))
    for tag, attributes in page(whole=True).tags:
        assert not (tag == "script" and "src" not in attributes)
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            assert "//" not in (attributes.get(name) or "")


def test_every_table_has_a_caption_and_headers_with_a_scope(page):
    record(read("replica1"))
    tags = page().tags
    tables = [tag for tag, _attributes in tags if tag == "table"]
    captions = [tag for tag, _attributes in tags if tag == "caption"]
    assert len(tables) == len(captions) == 4
    assert {attributes.get("scope") for tag, attributes in tags if tag == "th"} == {"col", "row"}


def test_ids_are_unique(page):
    record(read("replica1"))
    ids = [attributes["id"] for _tag, attributes in page(whole=True).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(not charts.available(), reason="needs pygal: pip install pygal")
def test_the_chart_is_drawn_wide_and_narrow(page):
    record(read("replica1", count=3))
    shown = page()
    drawings = [attributes["class"] for tag, attributes in shown.tags if attributes.get("role") == "img"]
    assert drawings == ["rwrouter-chart rwrouter-chart-wide", "rwrouter-chart rwrouter-chart-narrow"]
    assert "pip install" not in shown.text
    assert "3 reads in the last hour." in shown.text


def test_without_pygal_the_numbers_are_there_and_how_to_get_the_chart(page, monkeypatch):
    monkeypatch.setattr(charts, "available", lambda: False)
    record(read("replica1"))
    shown = page()
    assert 'pip install "django-rwrouter[charts]"' in shown.text
    assert "img" not in {attributes.get("role") for _tag, attributes in shown.tags}
    assert len(shown.tables["The same in numbers, newest first"]) == 61


def test_writes_alone_make_no_chart(page):
    record(["default", "default", "write", "write", "", 1, 10])
    shown = page()
    assert "img" not in {attributes.get("role") for _tag, attributes in shown.tags}
    assert shown.tables["Why reads went there"][1:] == [["There were no reads."]]


def test_numbers_that_a_machine_reads_are_not_localized(page):
    record(read("default", "pinned"), read("replica1", count=2))
    with translation.override("de"):
        shown = page()
    widths = [attributes.get("width") for tag, attributes in shown.tags if tag == "rect"]
    assert "33.33%" in widths
    assert not [width for width in widths if width and "," in width]


def test_no_address_and_no_user_of_a_database_is_shown(admin):
    record(read("replica1"))
    html = admin.get(URL).content.decode()
    for database in DATABASES.values():
        assert str(database["NAME"]) not in html
    assert not re.search(r"sqlite3|HOST|PASSWORD", html)
