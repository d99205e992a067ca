"""The page "Now", as far as SQLite goes; tests/browser has it with servers that stop."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_rwrouter import use_primary
from django_rwrouter.monitor import cluster_state
from django_rwrouter.monitor.probes import ProbeResult
from django_rwrouter.operations import overrides
from django_rwrouter.servers.health import health
from django_rwrouter.signals import statement_routed
from django_rwrouter.stats.table import RoutingStatistics
from tests.sqlite.panel.conftest import NONE, NOW, REPLICAS, URL, read, record

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def utc(settings):
    settings.TIME_ZONE = "UTC"


SERVERS = "Databases of the cluster “default”"


def test_each_server_with_what_it_did_in_the_last_minutes(show):
    record(
        read("default", "pinned", 27),
        read("replica1", count=54),
        latency=[["default", "replica1", "read", [0, 0, 0, 0, 0, 0, 54]]],
        events=[["replica_ejected", "replica2", 3]],
    )
    shown = show()
    header, *rows = shown.tables[SERVERS]
    assert header == [
        *("Database", "Role", "State", "Lag", "Reads per second", "p50", "p95", "Share of reads"),
        *("Errors", "Action"),
    ]
    # The counts are of 4 minutes and a half.
    assert rows == [
        ["default", "primary", "healthy", NONE, "0.1", NONE, NONE, "33.3%", "0", ""],
        [
            *("replica1", "replica", "healthy", NONE, "0.2", "1.26 ms", "1.56 ms"),
            *("66.7% 100% among replicas, weight 50%", "0", "Drain replica1 …"),
        ],
        [
            *("replica2", "replica", "healthy", NONE, "0.0", NONE, NONE),
            *("0.0% 0% among replicas, weight 50%", "3", "Drain replica2 …"),
        ],
    ]
    assert "all is well" in shown.text
    assert "of the last 5 minutes, of all processes" in shown.text


@pytest.mark.parametrize(("position", "lag"), [("0-1-9", "level"), ("0-1-7", "at most 0.6 s")])
def test_a_replica_is_level_or_behind_by_at_most_so_much(show, position, lag):
    record(
        servers=[
            {"alias": "default", "role": "primary", "position": "0-1-9"},
            {"alias": "replica1", "role": "replica", "lag": 0.52, "position": position},
        ]
    )
    assert [row[3] for row in show().table(SERVERS)] == [NONE, lag, NONE]


def test_a_server_that_does_not_say_where_it_stands_says_why(show, monkeypatch):
    def refuse(connection, *_sample, **_options):
        return ProbeResult(alias=connection.alias, began=0.0, refusal="pg_last_wal_replay_lsn")

    monkeypatch.setattr(cluster_state, "ask", refuse)
    assert show().table(SERVERS)[1][2] == "healthy it refuses to say where it stands (pg_last_wal_replay_lsn)"


def test_an_ejected_replica(show):
    health.failed("replica2", "OperationalError 2002")
    shown = show()
    assert shown.table(SERVERS)[2][2] == (
        "ejected since 2027-01-15 08:00:30 UTC refused the connection, or could not be reached (2002)"
    )
    assert "1 of 2 replicas take reads" in shown.text


def test_a_time_has_its_date_and_its_zone(show, monkeypatch):
    monkeypatch.setattr("django_rwrouter.operations.overrides.time.time", lambda: NOW - 86_400.0)
    overrides.drain("replica2")
    monkeypatch.setattr("django_rwrouter.operations.overrides.time.time", lambda: NOW + 0.0)
    assert show().table(SERVERS)[2][2] == "drained since 2027-01-14 08:00:30 UTC"


def test_a_replica_that_does_not_answer(show, servers):
    with use_primary():  # So that the request itself does not find out.
        servers.kill("replica1")
        shown = show()
    assert shown.table(SERVERS)[1][2].startswith("does not answer could not be reached")
    assert "1 of 2 replicas take reads" in shown.text


def test_a_drained_replica_with_who_and_why(show):
    overrides.drain("replica1", reason="new disks", by="Inés")
    shown = show()
    row = shown.table(SERVERS)[1]
    assert row[2] == "drained since 2027-01-15 08:00:30 UTC new disks (Inés)"
    assert row[-1] == "Put back replica1 …"
    assert f'href="{URL}actions/undrain/replica1/"' in shown.html


def test_a_drained_replica_shows_no_share(show):
    record(read("replica1"), read("replica2"))
    overrides.drain("replica1")
    drained, other = show().table(SERVERS)[1:]
    assert drained[7] == NONE
    assert other[7] == "50.0% 50% among replicas, weight 100%"


def test_what_is_out_of_use_looks_bad_on_every_page(show):
    overrides.drain("replica1")
    overrides.switch_off("default")
    bad = {"": ["everything goes to the primary", "drained"], "actions/": ["drained", "all on default"]}
    for page, texts in bad.items():
        shown = show(page).html
        states = re.findall(r'<span class="rwrouter-state rwrouter-bad">.*?</svg>(.*?)</span>', shown)
        assert states == texts, page
    record(log=[[NOW, "replica_drained", "replica1", ""], [NOW, "switched_off", "default", ""]])
    assert show("events/").html.count("rwrouter-state rwrouter-bad") == 2


def test_no_replica_is_left(show):
    overrides.drain("replica1")
    overrides.drain("replica2")
    assert "no replica takes reads: the primary answers them" in show().text


def test_the_kill_switch(show):
    overrides.switch_off("default", reason="it smells burnt", by="Inés")
    shown = show()
    assert "The kill switch is thrown: all reads go to the primary. it smells burnt Inés, since" in shown.text
    assert f'href="{URL}actions/switch-on/default/"' in shown.html


def test_what_the_processes_think_is_shown_if_they_do_not_agree(show):
    def server(state):
        return {"alias": "replica1", "condition": state, "since": NOW - 5, "why": "OperationalError 2013"}

    for place, state in enumerate(["healthy", "healthy", "ejected"]):
        record(process=str(place) * 32, servers=[server(state)])
    row = show().table(SERVERS)[1]
    assert row[2].endswith("ejected to 1, healthy to 2")


def test_spilled_and_degraded_reads_of_the_last_minutes(show):
    record(events=[["read_spilled", "default", 1234], ["read_degraded", "default", 5]])
    text = show().text
    assert "Reads on the primary because replicas lagged: 1,234." in text
    assert "Reads on replicas that lagged: 5." in text


def test_several_clusters(show, settings):
    settings.RWROUTER = {
        "CLUSTERS": {
            "main": {"REPLICAS": ["replica1", "replica2"]},
            "apart": {"PRIMARY": "other", "MODELS": ["app"]},
        }
    }
    shown = show()
    assert [row[0] for row in shown.table("Databases of the cluster “main”")] == [
        "default",
        "replica1",
        "replica2",
    ]
    assert [row[0] for row in shown.table("Databases of the cluster “apart”")] == ["other"]


def test_what_is_in_force_and_not_in_the_settings(show, settings):
    overrides.drain("replica2")
    settings.RWROUTER = {"REPLICAS": ["replica1"]}
    assert "Drained or switched off, and not in the settings: replica2." in show().text


@pytest.mark.parametrize(
    ("stats", "text"),
    [({"BACKEND": "off"}, "Nothing is counted"), ({"BACKEND": "x.y"}, "A backend of this project's own")],
)
def test_without_statistics_the_servers_are_shown_all_the_same(show, settings, stats, text):
    settings.RWROUTER = {**REPLICAS, "STATS": stats}
    shown = show()
    assert text in shown.text
    assert shown.table(SERVERS)[1][:6] == ["replica1", "replica", "healthy", NONE, NONE, NONE]


def test_before_migrate(show):
    with connection.schema_editor() as editor:
        editor.delete_model(RoutingStatistics)
    try:
        assert "Run manage.py migrate django_rwrouter" in show().text
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(RoutingStatistics)


def test_the_kill_switch_of_the_settings(show, settings):
    settings.RWROUTER = {**REPLICAS, "ENABLED": False}
    shown = show()
    assert "Routing is switched off (ENABLED is False)" in shown.text
    assert "everything goes to the primary" in shown.text


def test_nothing_is_configured(show, settings):
    settings.RWROUTER = {}
    assert "No replica is configured" in show().text


def test_it_asks_the_tables_twice(admin):
    record(read("replica1"))
    with CaptureQueriesContext(connection) as queries:
        admin.get(URL)
    # The statistics; what is drained or switched off is asked on the raw cursor.
    assert sum("rwrouter" in query["sql"] for query in queries) == 1


def test_looking_at_the_page_does_not_count(admin):
    seen = []
    statement_routed.connect(lambda **kwargs: seen.append(kwargs["sql"]), weak=False, dispatch_uid="seen")
    admin.get(URL)
    statement_routed.disconnect(dispatch_uid="seen")
    assert seen
    assert not [sql for sql in seen if RoutingStatistics._meta.db_table in sql]
