"""What many reads or writes meet one after another is counted each time, and logged now and then."""

from __future__ import annotations

import logging

import pytest

from django_rwrouter import signals, stats
from django_rwrouter.events import emit
from django_rwrouter.events.emit import event
from django_rwrouter.events.kinds import EventKind

CONDITIONS = {
    "position_unknown": lambda: event(EventKind.POSITION_UNKNOWN, "default", alias="default", why="gone"),
    "primary_read_only": lambda: event(EventKind.PRIMARY_READ_ONLY, "default", why="OperationalError 1290"),
    "read_degraded": lambda: event(EventKind.READ_DEGRADED, "default"),
    "read_spilled": lambda: event(EventKind.READ_SPILLED, "default"),
    "session_differs": lambda: event(EventKind.SESSION_DIFFERS, "replica1", what="role"),
    "sync_timeout": lambda: event(EventKind.SYNC_TIMEOUT, "default", replicas=1, seconds=2.0),
    "late_write": lambda: event(EventKind.LATE_WRITE, "default"),
    "only_on_primary": lambda: emit.only_on_primary("replica1"),
}


@pytest.fixture
def counted(monkeypatch):
    """The names of the events counted, once for each."""
    names = []
    for function in ("count_event", "note_event"):
        monkeypatch.setattr(stats, function, lambda name, *_args: names.append(name))
    return names


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_met_again_and_again_is_logged_once_in_a_while(condition, caplog, counted, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(emit, "monotonic", lambda: now)
    with caplog.at_level(logging.WARNING, "django_rwrouter"):
        for _ in range(50):
            CONDITIONS[condition]()
        assert len(caplog.records) == 1
        assert caplog.records[0].cluster == "default"
        now += emit.REPEAT_SECONDS
        CONDITIONS[condition]()
    assert len(caplog.records) == 2
    assert counted == ([] if condition == "only_on_primary" else [condition] * 51)


def test_the_place_in_the_log_is_where_the_event_was_met(caplog, counted):
    def serve_a_read():
        event(EventKind.READ_DEGRADED, "default")
        emit.only_on_primary("replica1")

    with caplog.at_level(logging.WARNING, "django_rwrouter"):
        serve_a_read()
    assert [record.funcName for record in caplog.records] == ["serve_a_read"] * 2


def test_each_spilled_read_sends_its_signal(counted):
    clusters = []

    def receive(cluster, **_kwargs):
        clusters.append(cluster)

    signals.read_spilled.connect(receive)
    try:
        event(EventKind.READ_SPILLED, "default")
        event(EventKind.READ_SPILLED, "default")
    finally:
        signals.read_spilled.disconnect(receive)
    assert clusters == ["default"] * 2
