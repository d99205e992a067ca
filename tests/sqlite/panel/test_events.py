"""The page "Events"."""

import pytest
from django.db import connections

from django_rwrouter import ReplicaWriteError, stats
from tests.sqlite.panel.conftest import NOW, REPLICAS, record

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

EVENTS = "Events, newest first"


@pytest.fixture(autouse=True)
def utc(settings):
    settings.TIME_ZONE = "UTC"


@pytest.fixture
def happened(databases):
    record(
        log=[
            [NOW - 10, "replica_ejected", "replica1", "OperationalError 2002"],
            [NOW - 5, "replica_restored", "replica1", "5.0 s"],
            [NOW - 4, "token_rejected", "forged", ""],
            [NOW - 3, "role_changed", "replica2", "primary"],
        ]
    )
    record(
        log=[
            [NOW - 7, "failover", "replica1", "replica2: OperationalError 2013"],
            [NOW - 6, "of_later", "x", "y"],
        ],
        process="b" * 32,
    )


def test_newest_first(show, happened):
    assert show("events/").table(EVENTS) == [
        ["2027-01-15 08:00:27 UTC", "Role changed", "replica2", "now primary", "1 of 2 processes"],
        ["2027-01-15 08:00:26 UTC", "Token rejected", "", "wrong signature", "1 of 2 processes"],
        ["2027-01-15 08:00:24 UTC", "of_later", "x", "y", "1 of 2 processes"],
        [
            *("2027-01-15 08:00:23 UTC", "Read failed over", "replica1"),
            "stopped answering, or went away (2013); run again on replica2",
            "1 of 2 processes",
        ],
        [
            *("2027-01-15 08:00:20 UTC restored 2027-01-15 08:00:25 UTC", "Replica ejected", "replica1"),
            "refused the connection, or could not be reached (2002)",
            "1 of 2 processes",
        ],
    ]


def test_an_outage_that_forty_processes_saw_is_one_event(show):
    def saw(number, *log):
        key = f"{number:08}"
        record(
            process=f"{key}{'0' * 24}",
            log=[[when, name, "replica1", detail, key] for when, name, detail in log],
        )

    for number in range(40):
        error = "OperationalError 2013" if number == 7 else "OperationalError 2002"
        saw(
            number,
            (NOW - 25 + number / 10, "replica_ejected", error),
            (NOW - 10 + number / 10, "replica_restored", "15.0 s"),
        )
    saw(40)
    assert show("events/").table(EVENTS) == [
        [
            "2027-01-15 08:00:05 UTC restored 2027-01-15 08:00:23 UTC",
            *("Replica ejected", "replica1"),
            "refused the connection, or could not be reached (2002), stopped answering, or went away (2013)",
            "40 of 41 processes",
        ]
    ]


def test_what_goes_on_comes_first_and_looks_bad(show):
    ejected = {"alias": "replica2", "condition": "ejected"}
    record(
        log=[
            [NOW - 20, "replica_ejected", "replica2", "timeout", "a" * 8],
            [NOW - 19, "replica_ejected", "replica1", "timeout", "a" * 8],
            [NOW - 18, "replica_restored", "replica1", "1.0 s", "a" * 8],
        ],
        servers=[ejected],
    )
    shown = show("events/")
    assert [row[:3] for row in shown.table(EVENTS)] == [
        ["2027-01-15 08:00:10 UTC goes on", "Replica ejected", "replica2"],
        ["2027-01-15 08:00:11 UTC restored 2027-01-15 08:00:12 UTC", "Replica ejected", "replica1"],
    ]
    assert shown.html.count("rwrouter-state rwrouter-bad") == 1


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=replica_ejected", ["Replica ejected"]),
        ("database=replica1", ["Read failed over", "Replica ejected"]),
        ("name=failover&database=replica1", ["Read failed over"]),
        ("name=of_later", ["of_later"]),
    ],
)
def test_filtered(show, happened, query, names):
    shown = show(f"events/?{query}")
    assert [row[1] for row in shown.table(EVENTS)] == names
    assert "Show all" in shown.text


def test_nothing_matches(show, happened):
    shown = show("events/?name=failover&database=replica2")
    assert shown.tables == {}
    assert "No such event" in shown.text


@pytest.mark.parametrize("query", ["name=nonsense", "database=nonsense", "p=nonsense", "p=99"])
def test_nonsense_shows_all(show, happened, query):
    assert len(show(f"events/?{query}").table(EVENTS)) == 5


def test_many_have_pages_which_keep_the_filter(show):
    for minute in range(0, 60, 2):
        record(
            log=[[NOW - 60 * minute - n, "failover", "replica1", f"replica{n}: timeout"] for n in range(4)],
            minutes_ago=minute,
        )
    first = show("events/?database=replica1")
    assert len(first.table(EVENTS)) == 50
    assert "Page 1 of 3" in first.text
    assert 'href="?database=replica1&amp;p=2"' in first.html
    last = show("events/?database=replica1&p=3")
    assert len(last.table(EVENTS)) == 20
    assert ("Newer" in last.text, "Older" in last.text) == (True, False)


def test_refused_writes_and_rejected_tokens_are_kept_one_by_one(show, client):
    stats.reset()
    with pytest.raises(ReplicaWriteError), connections["replica1"].cursor() as cursor:
        cursor.execute("DELETE FROM app_book")
    client.cookies["rwrouter"] = "made up"
    client.get("/admin/login/")
    stats.flush()
    found = {tuple(row[1:4]) for row in show("events/").table(EVENTS)}
    assert ("Write on a replica refused", "replica1", "") in found
    assert ("Token rejected", "", "malformed") in found or ("Token rejected", "", "wrong signature") in found


def test_nothing_has_happened(show):
    assert "Nothing has happened" in show("events/").text


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ({**REPLICAS, "STATS": {"BACKEND": "off"}}, "Statistics are switched off"),
        ({}, "No replica is configured"),
    ],
)
def test_where_there_are_none_the_page_says_why(show, settings, setting, text):
    settings.RWROUTER = setting
    assert text in show("events/").text
