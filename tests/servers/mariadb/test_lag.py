"""Replicas that lag take no `window` read, and the primary not more of them than it can carry."""

import threading
from collections import Counter
from contextlib import suppress

import pytest
from django.db import connections
from django.test import Client

from django_rwrouter import Reason, routing_scope, signals
from django_rwrouter.events import emit
from django_rwrouter.scope.state import RoutingState, this_thread
from django_rwrouter.servers import spill_slots
from django_rwrouter.servers.freshness import knowledge
from django_rwrouter.servers.health import health
from tests.app.models import Book
from tests.servers.mariadb.conftest import sample


@pytest.fixture
def unknown(lagging):
    """As in a new process: no replica has the newest write, and nothing is known of when it had the last."""
    Book.objects.create(title="new")
    knowledge.reset()
    return lagging


def look(routed):
    routed.clear()
    content = Client().get("/orm/").content
    [decision] = routed
    return content, decision.alias, decision.reason


def test_a_replica_that_nobody_has_seen_level_takes_no_read(unknown, routed, administration):
    assert look(routed) == (b"old,new", "default", Reason.SPILLED)
    administration.resume()
    administration.level()
    sample()
    content, alias, reason = look(routed)
    assert (content, reason) == (b"old,new", Reason.WINDOW)
    assert alias != "default"


def test_eventual_reads_stay_on_the_replicas(unknown, routed, rwrouter):
    rwrouter(CONSISTENCY="eventual")
    content, alias, reason = look(routed)
    assert (content, reason) == (b"old", Reason.EVENTUAL)
    assert alias != "default"


def test_more_than_the_limit_are_answered_by_the_replica_that_lags_least(unknown, routed, rwrouter):
    rwrouter(SPILL_LIMIT=1)
    other = RoutingState(safe=True)
    assert spill_slots.take(other, this_thread(), "default", 1)
    content, alias, reason = look(routed)
    assert (content, reason) == (b"old", Reason.DEGRADED)
    assert alias != "default"
    spill_slots.release(other, this_thread(), "default")
    assert look(routed)[1:] == ("default", Reason.SPILLED)


def test_slots_are_given_back_when_statements_have_run_and_when_scopes_end(unknown):
    with routing_scope(safe=True):
        assert list(Book.objects.values_list("title", flat=True)) == ["old", "new"]
        assert spill_slots.taken("default") == 0
        with suppress(ZeroDivisionError), routing_scope(safe=True):
            assert Book.objects.all().db == "default"  # Decided, and never run.
            assert spill_slots.taken("default") == 1
            raise ZeroDivisionError
    assert spill_slots.taken("default") == 0


def test_no_more_than_the_limit_are_on_the_primary_at_once(unknown, rwrouter):
    rwrouter(SPILL_LIMIT=2)
    together = threading.Barrier(6)
    found = Counter()
    most = []

    def read():
        with routing_scope(safe=True):
            together.wait()
            alias = Book.objects.all().db
            most.append(spill_slots.taken("default"))
            found[alias == "default"] += 1
            together.wait()  # Nobody has run its statement before all have decided.
        connections.close_all()

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {True: 2, False: 4}
    assert max(most) == 2


def test_it_is_told(unknown, rwrouter, caplog, monkeypatch):
    monkeypatch.setattr(emit, "_logged", {})  # Nothing was logged lately.
    told = []
    signals.read_spilled.connect(
        lambda **kwargs: told.append(kwargs["cluster"]), weak=False, dispatch_uid="t"
    )
    try:
        Client().get("/orm/")
        rwrouter(SPILL_LIMIT=0)
        Client().get("/orm/")
    finally:
        signals.read_spilled.disconnect(dispatch_uid="t")
    assert told == ["default"]
    levels = {record.levelname for record in caplog.records if "lag more than MAX_LAG" in record.getMessage()}
    assert levels == {"WARNING", "ERROR"}


def test_a_monitor_that_has_found_nothing_yet_leaves_the_asking_to_the_reads(cluster, routed, administration):
    Book.objects.create(title="old")
    administration.level()
    knowledge.reset()
    health.watch(60)
    content, alias, reason = look(routed)
    assert (content, reason) == (b"old", Reason.WINDOW)
    assert alias != "default"


def test_what_a_monitor_has_found_is_not_asked_for_again(unknown, routed):
    sample()
    health.watch(60)
    assert look(routed) == (b"old,new", "default", Reason.SPILLED)
