"""Rows of many processes, added up."""

import pytest

from django_rwrouter.stats.summary import Summary, percent

MINUTES = [60 * n for n in range(100, 103)]
ALIASES = {
    "default": ("main", True),
    "replica1": ("main", False),
    "replica2": ("main", False),
    "books": ("second", True),
}


def read(alias, reason="window", count=1, microseconds=0, would_be="", cluster="main"):
    return [cluster, alias, "read", reason, would_be, count, microseconds]


def minutes(found):
    return {step.start: step.reads for step in found.steps}


def summary(*statements, events=(), start=MINUTES[-1]):
    row = (start, {"statements": list(statements), "events": list(events)})
    return Summary([row], steps=MINUTES, aliases=ALIASES)


def test_nothing_counted_is_empty_and_divides_by_nothing():
    nothing = Summary([], steps=MINUTES, aliases=ALIASES)
    assert nothing.is_empty
    assert nothing.replica_share == 0
    assert [each.share for each in nothing.databases] == [0] * 4
    assert minutes(nothing) == {minute: {} for minute in MINUTES}


@pytest.mark.parametrize(
    "found",
    [
        summary(read("default")),
        summary(["main", "default", "write", "write", "", 1, 5]),
        summary(events=[["request", "", 1]]),
    ],
    ids=["a read", "a write", "an event"],
)
def test_anything_counted_is_not_empty(found):
    assert not found.is_empty


def test_processes_and_minutes_are_added_up():
    row = {"statements": [read("replica1", count=2, microseconds=3000)], "events": [["e", "s", 2]]}
    found = Summary([(MINUTES[0], row), (MINUTES[0], row), (MINUTES[2], row)], steps=MINUTES, aliases=ALIASES)
    replica = found.databases[1]
    assert (replica.reads.count, replica.reads.mean_milliseconds) == (6, 1.5)
    assert minutes(found) == {6000: {"replica1": 4}, 6060: {}, 6120: {"replica1": 2}}
    assert found.events == {"e": {"s": 6}}
    assert found.total("e") == 6
    assert found.total("another") == 0


def test_databases_come_in_the_order_of_the_settings_with_their_share_of_the_clusters_reads():
    found = summary(
        read("replica2", count=1),
        read("default", "pinned", count=2),
        read("replica1", count=5),
        read("books", count=4, cluster="second"),
    )
    assert [(each.alias, each.is_primary, each.share) for each in found.databases] == [
        ("default", True, 25.0),
        ("replica1", False, 62.5),
        ("replica2", False, 12.5),
        ("books", True, 100.0),
    ]
    assert (found.reads, found.replica_share) == (12, 50.0)


def test_writes_are_no_reads():
    found = summary(["main", "default", "write", "write", "", 3, 1500], read("replica1"))
    assert (found.reads, found.writes) == (1, 3)
    assert found.databases[0].writes.mean_milliseconds == 0.5
    assert found.databases[0].reads.mean_milliseconds is None
    assert minutes(found)[MINUTES[-1]] == {"replica1": 1}
    assert [cause.reason for cause in found.causes] == ["window"]


def test_reasons_for_the_primary_come_first_the_most_frequent_first():
    found = summary(
        read("replica1", "window", 70),
        read("replica2", "eventual", 9),
        read("default", "pinned", 5),
        read("default", "wrote_in_scope", 10),
        read("default", "explicit", 2),
        read("replica1", "explicit", 4),
    )
    assert [(each.reason, each.primary, each.replicas, each.share) for each in found.causes] == [
        ("wrote_in_scope", 10, 0, 10.0),
        ("explicit", 2, 4, 6.0),
        ("pinned", 5, 0, 5.0),
        ("window", 0, 70, 70.0),
        ("eventual", 0, 9, 9.0),
    ]


def test_under_shadow_the_share_is_what_was_and_the_would_be_share_what_would_have_been():
    found = summary(
        read("default", "window", 3, would_be="replica1"),
        read("default", "pinned", 1),
    )
    default, replica1, *_others = found.databases
    assert (default.share, default.would_be_share) == (100.0, 25.0)
    assert (replica1.share, replica1.would_be_share) == (0.0, 75.0)
    assert found.shadow_reads == 3
    assert found.replica_share == 75.0
    assert minutes(found)[MINUTES[-1]] == {"replica1": 3, "default": 1}
    assert [(each.reason, each.primary, each.replicas) for each in found.causes] == [
        ("pinned", 1, 0),
        ("window", 0, 3),
    ]


def test_a_database_that_is_not_configured_any_more_is_still_counted():
    found = summary(read("old", count=3), read("older", cluster="gone"), read("default"))
    assert [
        (each.cluster, each.alias, each.is_configured, each.is_primary, each.share)
        for each in found.databases
        if each.reads.count
    ] == [
        ("main", "default", True, True, 25.0),
        ("main", "old", False, False, 75.0),
        ("gone", "older", False, False, 100.0),
    ]


def test_what_is_older_than_the_first_minute_counts_towards_it():
    """After an outage of the primary, minutes were put together."""
    found = summary(read("default"), start=MINUTES[0] - 600)
    assert minutes(found)[MINUTES[0]] == {"default": 1}


def test_what_a_newer_version_adds_is_skipped():
    row = {
        "statements": [[*read("default"), "more"]],
        "events": [["e", "", 1, "more"]],
        "gauges": [1],
    }
    found = Summary([(MINUTES[0], row), (MINUTES[1], {})], steps=MINUTES, aliases=ALIASES)
    assert (found.reads, found.total("e")) == (1, 1)


def test_a_step_adds_up_what_a_database_took_under_two_names_of_its_cluster():
    times = [["default", "replica1", "read", [2]], ["main", "replica1", "read", [0] * 13 + [8]]]
    rows = [(MINUTES[0], {"statements": [read("default")], "latency": [time]}) for time in times]
    [step] = Summary(rows, steps=MINUTES[:1], aliases=ALIASES).steps
    assert step.milliseconds("replica1", 0.05) < 1 < step.milliseconds("replica1", 0.9)


@pytest.mark.parametrize(("count", "whole", "expected"), [(1, 4, 25.0), (0, 4, 0), (0, 0, 0)])
def test_percent(count, whole, expected):
    assert percent(count, whole) == expected
