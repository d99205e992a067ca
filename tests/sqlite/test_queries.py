"""What the panel, commands and exporters read: of all processes, with one query."""

import time

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_rwrouter import stats
from django_rwrouter.stats import queries, recorder
from django_rwrouter.stats.counters import Row
from django_rwrouter.stats.latency import trimmed
from django_rwrouter.stats.summary import SPANS
from django_rwrouter.stats.table import RoutingStatistics

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

NOW = 1_700_000_050
MINUTE = NOW // 60 * 60
HOUR = SPANS["1h"]


def put(process="a", start=MINUTE, resolution=60, *, written=NOW, **data):
    table = RoutingStatistics.objects.on_primary()
    data = {"statements": [], "events": [], **data}
    table.put([Row(process=process, resolution=resolution, start=start, data=data)])
    table.filter(process=process, start=start).update(written=written)


def read(alias="replica1", reason="window", count=1):
    return ("default", alias, "read", reason, "", count, 100)


@pytest.mark.usefixtures("databases")
class TestReport:
    def test_all_of_the_time_and_nothing_older(self):
        put("a", statements=[read(count=2)])
        put("b", statements=[read("default", "pinned", 3)])
        put("", MINUTE - 59 * 60, statements=[read(count=10)])
        put("", MINUTE - 60 * 60, statements=[read(count=100)])
        put("", 0, 0, statements=[read(count=1000)])
        found = queries.report(HOUR, NOW)
        assert {each.alias: each.reads.count for each in found.databases} == {
            "default": 3,
            "replica1": 12,
            "replica2": 0,
        }
        assert len(found.steps) == 60
        assert (found.steps[0].reads, found.steps[-1].reads) == (
            {"replica1": 10},
            {"replica1": 2, "default": 3},
        )
        assert found.steps[-1].primary_reasons == {"pinned": 3}

    @pytest.mark.parametrize("span", SPANS.values(), ids=SPANS)
    def test_the_last_step_is_the_one_that_is_going_on(self, span):
        put(statements=[read()])
        found = queries.report(span, NOW)
        assert found.steps[-1].reads == {"replica1": 1}
        assert len(found.steps) == span.seconds // span.step

    def test_percentiles_lag_and_failures_of_a_database(self):
        put(
            statements=[read(count=100)],
            latency=[("default", "replica1", "read", [0, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 40])],
            lag=[("replica1", 3.0, 0.5)],
            events=[("replica_ejected", "replica1", 2), ("failover", "replica1", 3), ("failover", "gone", 1)],
        )
        found = queries.report(HOUR, NOW)
        replica = next(each for each in found.databases if each.alias == "replica1")
        assert 1 < replica.reads.p50_milliseconds <= 1.6
        assert 10 < replica.reads.p95_milliseconds <= 16
        assert replica.writes.p50_milliseconds is None
        assert replica.errors == 5
        assert found.steps[-1].lag == {"replica1": 3.0}
        assert found.steps[-1].milliseconds("replica1", 0.95) == replica.reads.p95_milliseconds
        assert found.steps[-1].milliseconds("replica2", 0.95) is None
        assert found.steps[-1].events == {"replica_ejected": 2, "failover": 4}

    def test_pinned_clients_by_step(self):
        put(events=[("request", "", 8), ("pinned_request", "default", 2), ("pinned_request", "other", 1)])
        steps = queries.report(HOUR, NOW).steps
        assert (steps[-1].pinned_share, steps[0].pinned_share) == (25.0, 0.0)

    def test_noted_events_newest_first(self):
        entries = [
            (NOW - 9.0, "replica_ejected", "replica1", "2013"),
            (NOW - 2.0, "failover", "replica1", ""),
        ]
        put("a", log=entries)
        put("b", log=[(NOW - 5.0, "replica_ejected", "replica2", "2003")])
        found = queries.report(HOUR, NOW)
        assert [each.when for each in found.log] == [NOW - 2.0, NOW - 5.0, NOW - 9.0]
        assert found.log[-1][:4] == (NOW - 9.0, "replica_ejected", "replica1", "2013")

    def test_how_many_processes_counted_at_the_same_time(self):
        put("a")
        put("b")
        put("a", MINUTE - 60)
        found = queries.report(HOUR, NOW)
        assert found.processes_between(NOW - 1, NOW) == 2
        assert found.processes_between(MINUTE - 30, MINUTE - 20) == 1
        assert found.processes_between(MINUTE - 30, NOW) == 2

    def test_what_each_process_that_is_alive_knew_last(self):
        def server(state):
            return {"alias": "replica1", "condition": state}

        put("a", MINUTE - 60, written=NOW - 12, servers=[server("healthy")])
        put("a", written=NOW - 2, servers=[server("ejected")])
        put("b", written=NOW - 9, servers=[server("healthy")])
        put("dead", written=NOW - 120, servers=[server("healthy")])
        put("blind", written=NOW)
        servers = queries.report(HOUR, NOW).servers
        assert [*servers.items()] == [("a", [server("ejected")]), ("b", [server("healthy")])]

    def test_one_query(self):
        put(statements=[read()])
        with CaptureQueriesContext(connection) as captured:
            queries.report(HOUR, NOW)
            queries.totals()
        statements = [query["sql"].split()[0] for query in captured]
        assert statements.count("SELECT") == 2

    def test_grand_totals_are_what_was_merged_and_what_was_not(self):
        put("", 0, 0, statements=[read(count=1000)], latency=[("default", "replica1", "read", [1000])])
        put("", MINUTE - 60, statements=[read(count=10)])
        put("a", statements=[read(count=2)], events=[("request", "", 7)])
        put("a", MINUTE - 60, statements=[read(count=1)], latency=[("default", "replica1", "read", [0, 1])])
        found = queries.totals()
        assert found.statements == {("default", "replica1", "read", "window", ""): [1003, 300]}
        assert found.events == {("request", ""): 7}
        assert trimmed(found.latency["default", "replica1", "read"]) == [1000, 1]


def test_without_the_table_there_is_nothing_and_no_transaction_is_spoilt(databases):
    with connection.schema_editor() as editor:
        editor.delete_model(RoutingStatistics)
    with transaction.atomic():
        assert queries.report(HOUR, NOW) is None
        assert queries.totals() is None


def test_a_script_without_autocommit_has_a_savepoint_for_the_case_that_the_table_is_not_there(databases):
    transaction.set_autocommit(False)
    try:
        with CaptureQueriesContext(connection) as captured:
            queries.totals()
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    assert captured[0]["sql"].startswith("SAVEPOINT ")


@pytest.mark.parametrize("seconds", [None, float("inf"), float("nan")])
def test_lag_that_is_not_known_is_not_noted(databases, seconds):
    stats.note_lag("replica1", seconds)
    assert recorder._counters.take() == []


def test_servers_are_described_with_each_flush(databases, monkeypatch):
    known = [{"alias": "replica1", "lag": 0.25}]
    monkeypatch.setattr(recorder._flusher, "describe", None)
    stats.describe_servers_with(lambda: known)
    stats.flush()
    assert [*queries.report(HOUR, time.time()).servers.values()] == [known]


def test_servers_that_cannot_be_described_do_not_keep_the_rest_from_being_written(
    databases, monkeypatch, caplog
):
    def fail():
        raise ValueError("never mind")

    monkeypatch.setattr(recorder._flusher, "describe", fail)
    stats.note_event("failover", "replica1", "2013")
    stats.flush()
    assert "The state of the servers is missing" in caplog.text
    assert queries.totals().events == {("failover", "replica1"): 1}
