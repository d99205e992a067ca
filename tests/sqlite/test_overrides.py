"""Drained replicas and the kill switch: rows on the primary, applied by each process."""

import logging
import math
import time
from contextlib import closing

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_rwrouter import drain, process, routing_scope, undrain
from django_rwrouter.operations import overrides
from django_rwrouter.operations.override_table import MAX_REASON, OverrideKind, RoutingOverride
from django_rwrouter.operations.overrides import Override, switch_off, switch_on
from django_rwrouter.scope.context import current_state
from django_rwrouter.servers.health import health
from django_rwrouter.servers.server_state import Condition
from django_rwrouter.signals import replica_drained, replica_undrained
from django_rwrouter.stats import recorder
from django_rwrouter.stores.exchange import issue
from tests.sqlite.conftest import ask

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

CLUSTERS = {
    "main": {"REPLICAS": ["replica1", "replica2"]},
    "apart": {"PRIMARY": "other", "MODELS": ["django_rwrouter"]},
}


@pytest.fixture(autouse=True)
def _databases(databases):
    """Each test changes them."""


@pytest.fixture
def own_connection():
    """Such as the monitor has."""
    with closing(connections.create_connection("default")) as own:
        own.ensure_connection()
        yield own


@pytest.fixture
def no_table(monkeypatch):
    """As before ``manage.py migrate``."""
    monkeypatch.setattr(overrides, "_missing_until", 0.0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE django_rwrouter_routingoverride")


def alias_of_a_read():
    with routing_scope(safe=True):
        return ask().alias


def deeds():
    return [event for row in recorder._counters.take() for event in row.data["events"]]


def test_a_drained_replica_takes_no_reads_from_now_on():
    drain("replica1", "a new disk", "kim")
    assert {alias_of_a_read() for _ in range(40)} == {"replica2"}
    standing = health.standing("replica1")
    assert (standing.condition, standing.why) == (Condition.DRAINED, "a new disk (kim)")
    assert abs(standing.since - time.time()) < 60


def test_and_again_when_it_is_put_back():
    drain("replica1")
    assert undrain("replica1") is True
    assert {alias_of_a_read() for _ in range(40)} == {"replica1", "replica2"}
    assert undrain("replica1") is False


def test_a_scope_that_runs_follows_at_its_next_read():
    with routing_scope(safe=True):
        ask()
        used = ask().alias  # What was decided once may be remembered.
        drain(used)
        other = ask().alias
        assert {used, other} == {"replica1", "replica2"}
        switch_off("default")
        assert ask().alias == "default"


def test_what_is_in_force_can_be_read_over_a_connection_of_ones_own(own_connection):
    assert overrides.load(own_connection) == []
    drain("replica2", "why", "who")
    switch_off("default", "all of it", "kim")
    drained, off = overrides.load(own_connection)
    assert drained == Override(
        kind=OverrideKind.DRAIN, target="replica2", reason="why", by="who", at=drained.at
    )
    assert off.kind is OverrideKind.PRIMARY_ONLY
    assert (off.target, off.why) == ("default", "all of it (kim)")
    assert overrides.in_force() == [drained, off]


def test_it_takes_one_statement_that_nobody_sees(own_connection):
    drain("replica2")
    with CaptureQueriesContext(own_connection) as queries:
        assert len(overrides.load(own_connection)) == 1
    assert len(queries) == 0


def test_what_is_kept_of_it_is_what_the_table_has():
    """PostgreSQL refuses a null character in the statistics, too, and with it all that is written there."""
    drain("replica1", "f\udcfcr \0", "kim\0")
    undrain("replica1", "kim\0")
    written = [happening for row in recorder._counters.take() for happening in row.data["log"]]
    assert [happening[3] for happening in written] == ["f?r ? (kim?)", "kim?"]


def test_a_monitor_that_read_before_undoes_nothing(own_connection):
    """It may be another process's, which publishes what it has read with each probe, however old it is."""
    before, asked_at = overrides.load(own_connection), time.monotonic()
    drain("replica1")
    overrides.take_in(before, asked_at)
    assert health.standing("replica1").condition is Condition.DRAINED


def test_a_monitor_that_read_afterwards_is_followed_at_once(own_connection):
    before = overrides.load(own_connection)
    drain("replica1")
    overrides.take_in(before, time.monotonic())
    assert health.standing("replica1").condition is Condition.HEALTHY


def test_a_monitor_whose_clock_cannot_be_compared_is_followed(own_connection):
    drain("replica1")
    answer = overrides.load(own_connection)
    process.reset()
    overrides.take_in(answer, -math.inf)
    assert health.standing("replica1").condition is Condition.DRAINED


def test_to_do_it_again_changes_who_and_why():
    drain("replica1", "first", "kim")
    drain("replica1", "second", "lee")
    [override] = overrides.in_force()
    assert override.why == "second (lee)"


def test_the_kill_switch_of_a_cluster_can_be_thrown_and_put_back():
    switch_off("default", "too many stale reads", "kim")
    assert health.off == {"default"}
    assert alias_of_a_read() == "default"
    assert switch_on("default") is True
    assert alias_of_a_read() != "default"
    assert health.off == frozenset()
    assert switch_on("default") is False


def test_it_pins_nobody():
    with routing_scope():
        drain("replica1")
        undrain("replica1")
        assert not current_state().scope("default").wrote
        assert issue(current_state()).marks == {}
    assert [row.data["statements"] for row in recorder._counters.take()] == [[]]


def test_what_was_done_is_written_down_once_by_whoever_did_it(own_connection):
    drain("replica1", "a new disk", "kim")
    overrides.apply(overrides.load(own_connection))
    health.reset()  # As in a process that starts.
    overrides.apply(overrides.load(own_connection))
    undrain("replica1")
    switch_off("default")
    switch_on("default")
    assert deeds() == [
        ("replica_drained", "replica1", 1),
        ("replica_undrained", "replica1", 1),
        ("switched_off", "default", 1),
        ("switched_on", "default", 1),
    ]


def test_each_process_tells_when_it_takes_effect_there(own_connection, caplog):
    caplog.set_level(logging.WARNING, "django_rwrouter")
    told = []

    def listen(**kwargs):
        told.append((kwargs["signal"], kwargs["alias"], kwargs["cluster"]))

    replica_drained.connect(listen)
    replica_undrained.connect(listen)
    drain("replica1", "a new disk")
    switch_off("default", "enough")
    overrides.apply(overrides.load(own_connection))  # Nothing new.
    undrain("replica1")
    switch_on("default")
    assert told == [(replica_drained, "replica1", "default"), (replica_undrained, "replica1", "default")]
    assert [record.getMessage() for record in caplog.records] == [
        "The replica 'replica1' is drained.",
        "All reads of the cluster 'default' go to its primary: its kill switch was thrown.",
        "The replica 'replica1' is no longer drained.",
        "The reads of the cluster 'default' are routed again.",
    ]


def test_inside_a_transaction_it_is_in_force_at_the_commit():
    with transaction.atomic():
        drain("replica1")
        assert health.standing("replica1").condition is Condition.HEALTHY
    assert health.standing("replica1").condition is Condition.DRAINED


def test_and_not_at_all_if_that_is_rolled_back():
    with transaction.atomic():
        drain("replica1")
        transaction.set_rollback(True)
    assert health.standing("replica1").condition is Condition.HEALTHY
    assert overrides.in_force() == []


@pytest.mark.parametrize(
    ("act", "message"),
    [
        pytest.param(
            lambda: drain("replica1x"), r"no replica 'replica1x' .* mean 'replica1'\?", id="misspelt"
        ),
        pytest.param(
            lambda: drain("zzz"), "The replicas are: 'replica1', 'replica2'", id="unlike any replica"
        ),
        pytest.param(lambda: drain("other"), "no replica 'other'", id="a database that is not ours"),
        pytest.param(lambda: drain("default"), "is the primary of the cluster 'default'", id="the primary"),
        pytest.param(lambda: undrain("replica3"), "no replica 'replica3'", id="undrain something unknown"),
        pytest.param(lambda: switch_off("defualt"), r"no cluster .* mean 'default'\?", id="cluster"),
        pytest.param(lambda: switch_on("zzz"), "The clusters are: 'default'", id="unlike any cluster"),
    ],
)
def test_what_is_not_known_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
    assert overrides.in_force() == []


def test_an_override_of_what_the_settings_have_lost_has_no_effect_and_can_be_ended(settings):
    drain("replica2")
    switch_off("default")
    settings.RWROUTER = {"CLUSTERS": {"main": {"REPLICAS": ["replica1"]}}}
    health.reset()
    overrides.apply(overrides.in_force())
    assert health.unusable() == ()
    assert health.off == frozenset()
    assert undrain("replica2") is True
    assert switch_on("default") is True
    assert overrides.in_force() == []


def test_a_kind_that_this_version_does_not_know_is_passed_over():
    RoutingOverride.objects.on_primary().create(kind="freeze", target="replica1", made_at=0)
    assert overrides.in_force() == []


def test_the_table_is_on_the_primary_of_the_cluster_that_takes_this_app(settings):
    settings.RWROUTER = {"CLUSTERS": CLUSTERS}
    assert overrides.database() == "other"
    drain("replica1")
    assert RoutingOverride.objects.using("other").count() == 1
    assert RoutingOverride.objects.using("default").count() == 0
    assert health.standing("replica1").condition is Condition.DRAINED


def test_a_long_reason_is_cut():
    drain("replica1", "x" * (MAX_REASON + 1), "y" * 1000)
    [override] = overrides.in_force()
    assert override.reason == "x" * MAX_REASON


# --- before manage.py migrate --------------------------------------------------------------------


@pytest.mark.parametrize(
    "act", [lambda: drain("replica1"), lambda: undrain("replica1"), lambda: switch_off("default")]
)
def test_without_the_table_it_says_what_to_do(no_table, act):
    with pytest.raises(ImproperlyConfigured, match=r"run `manage\.py migrate django_rwrouter`"):
        act()


def test_without_the_table_nothing_is_in_force(no_table, own_connection):
    assert overrides.load(own_connection) == []
    assert overrides.in_force() == []


def test_a_missing_table_is_not_asked_for_at_each_tick(no_table, own_connection, monkeypatch):
    asked = []
    select = overrides._select

    def counted(connection, **kwargs):
        asked.append(connection)
        return select(connection, **kwargs)

    monkeypatch.setattr(overrides, "_select", counted)
    for _ in range(5):
        overrides.load(own_connection)
    assert len(asked) == 1
    monkeypatch.setattr(overrides, "_missing_until", time.monotonic())
    overrides.load(own_connection)
    assert len(asked) == 2


def test_any_other_error_is_raised(own_connection, monkeypatch):
    own_connection.connection.close()
    with pytest.raises(DatabaseError):
        overrides.load(own_connection)
