"""What many reads or writes meet one after another is counted each time, and logged now and then."""

from __future__ import annotations

import logging

import pytest

from django_rwrouter import signals, stats
from django_rwrouter.events import emit

CONDITIONS = {
    "position_unknown": lambda: emit.position_unknown("default", "default", "OperationalError 2013"),
    "primary_read_only": lambda: emit.primary_read_only("default", "OperationalError 1290"),
    "read_degraded": lambda: emit.read_degraded("default"),
    "read_spilled": lambda: emit.read_spilled("default"),
    "session_differs": lambda: emit.session_differs("replica1", "role"),
    "sync_timeout": lambda: emit.sync_timed_out("default", 1, 2.0),
    "late_write": lambda: emit.write_too_late("default"),
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


def test_the_place_in_the_log_is_that_of_the_event(caplog, counted):
    with caplog.at_level(logging.WARNING, "django_rwrouter"):
        emit.read_degraded("default")
        emit.only_on_primary("replica1")
    assert [record.funcName for record in caplog.records] == ["read_degraded", "only_on_primary"]


def test_each_spilled_read_sends_its_signal(counted):
    clusters = []

    def receive(cluster, **_kwargs):
        clusters.append(cluster)

    signals.read_spilled.connect(receive)
    try:
        emit.read_spilled("default")
        emit.read_spilled("default")
    finally:
        signals.read_spilled.disconnect(receive)
    assert clusters == ["default"] * 2
