"""What is known is known of a server, and only as long as nothing speaks against it."""

import math
from types import SimpleNamespace

import pytest

from django_rwrouter.servers import freshness as module
from django_rwrouter.servers.freshness import TRUST_SECONDS, Knowledge
from django_rwrouter.servers.identity import server_of, set_server


class At(int):
    """A position on a line."""

    def covers(self, other):
        return self >= other


@pytest.fixture
def now(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def known(now):
    return Knowledge()


def test_nothing_is_known_of_a_server_that_was_never_asked(known):
    assert known.position("s1") is None
    assert known.position(None) is None
    assert not known.reached("s1", At(0))
    assert not known.reached(None, At(0))
    assert known.last_server("replica1") is None
    assert known.staleness("shop", "s1") == math.inf


def test_a_server_is_where_it_was_last_found(known):
    known.learn_replica("replica1", "s1", At(5), 98.0)
    assert known.last_server("replica1") == "s1"
    assert (known.reached("s1", At(5)), known.reached("s1", At(6))) == (True, False)
    known.learn_replica("replica1", "s1", At(6), 99.0)
    assert known.reached("s1", At(6))


def test_two_servers_behind_one_alias_are_two(known):
    known.learn_replica("replica1", "s1", At(9), 98.0)
    known.learn_replica("replica1", "s2", At(3), 99.0)
    assert known.last_server("replica1") == "s2"
    assert (known.reached("s1", At(9)), known.reached("s2", At(9))) == (True, False)


def test_two_aliases_of_one_server_share_what_is_known(known):
    known.learn_replica("replica1", "s1", At(9), 98.0)
    known.learn_replica("replica2", "s1", At(10), 99.0)
    assert known.reached(known.last_server("replica1"), At(10))


def test_a_server_that_went_back_is_where_it_says(known):
    """Restored from a backup."""
    known.learn_replica("replica1", "s1", At(9), 98.0)
    known.learn_replica("replica1", "s1", At(3), 99.0)
    assert not known.reached("s1", At(4))


def test_a_server_that_says_nothing_any_more_is_not_known(known):
    """Promoted, or its replication was removed."""
    known.learn_replica("replica1", "s1", At(9), 98.0)
    known.learn_replica("replica1", "s1", None, 99.0)
    assert known.position("s1") is None


def test_an_answer_that_comes_late_changes_nothing(known):
    known.learn_replica("replica1", "s1", At(3), 99.0)
    known.learn_replica("replica1", "s1", At(9), 98.0)  # Asked before the server was restored.
    assert known.position("s1") == 3


def test_there_is_a_limit(known):
    for number in range(2000):
        known.learn_replica("replica1", f"s{number}", At(1), float(number))
    assert known.position("s1999") == 1
    assert known.position("s0") is None
    assert len(known._servers) <= 512


# --- freshness ----------------------------------------------------------------------------------


def test_staleness_is_the_age_of_the_newest_sample_that_was_reached(known, now):
    known.learn_primary("shop", At(1), 90.0)
    known.learn_primary("shop", At(5), 95.0)
    known.learn_primary("shop", At(9), 99.0)
    known.learn_replica("replica1", "s1", At(6), 99.5)
    assert known.staleness("shop", "s1") == 5.0
    now.now = 103.0  # It grows while nobody asks.
    assert known.staleness("shop", "s1") == 8.0
    known.learn_replica("replica1", "s1", At(9), 102.0)
    assert known.staleness("shop", "s1") == 4.0


def test_a_server_behind_all_samples_is_not_known_to_be_fresh(known):
    known.learn_primary("shop", At(5), 95.0)
    known.learn_replica("replica1", "s1", At(4), 99.0)
    assert known.staleness("shop", "s1") == math.inf
    assert known.staleness("blog", "s1") == math.inf


def test_a_frozen_primary_makes_nobody_fresh(known, now):
    """Its last sample ages, whatever the replicas say."""
    known.learn_primary("shop", At(5), 95.0)
    now.now = 200.0
    known.learn_replica("replica1", "s1", At(5), 199.0)
    assert known.staleness("shop", "s1") == 105.0


def test_samples_of_another_history_are_dropped(known):
    known.learn_primary("shop", At(50), 95.0)
    known.learn_primary("shop", At(9), 99.0)  # A failover has lost some.
    known.learn_replica("replica1", "s1", At(9), 99.5)
    assert known.staleness("shop", "s1") == 1.0


def test_samples_are_kept_at_intervals_and_not_without_end(known):
    for number in range(5000):
        known.learn_primary("shop", At(number), 90.0 + number / 1000)
    assert len(known._samples["shop"]) <= 512
    gaps = [
        b.at - a.at for a, b in zip(known._samples["shop"], list(known._samples["shop"])[1:], strict=False)
    ]
    assert min(gaps) >= 0.0199


def test_a_recent_answer_of_the_primary_is_one_of_the_last_seconds(known, now):
    assert known.recent_primary("shop", 60) is None
    known.learn_primary("shop", At(5), 99.0)
    assert known.recent_primary("shop", 2.0) == 5
    assert known.recent_primary("shop", 0.5) is None


def test_forgetting_is_complete(known):
    known.learn_primary("shop", At(5), 99.0)
    known.learn_replica("replica1", "s1", At(5), 99.0)
    known.reset()
    assert known.position("s1") is None
    assert known.last_server("replica1") is None
    assert known.recent_primary("shop", 60) is None


def test_a_connection_carries_the_name_of_its_server():
    connection = SimpleNamespace()
    assert server_of(connection) is None
    set_server(connection, "s1")
    assert server_of(connection) == "s1"
    set_server(connection, None)
    assert server_of(connection) is None


def test_an_answer_is_trusted_for_a_while_only(known, now):
    """A server may be set back to an older copy under connections that stay open."""
    known.learn_replica("replica1", "s1", At(5), now.now)
    now.now += TRUST_SECONDS - 1
    assert known.reached("s1", At(5))
    now.now += 1
    assert not known.reached("s1", At(5))


def test_one_answer_without_a_position_does_not_take_a_level_away(known, now):
    known.learn_primary("shop", At(5), 99.0)
    known.learn_primary("shop", None, 100.0)
    assert known.has_positions("shop", ["replica1"])
    now.now += TRUST_SECONDS
    known.learn_primary("shop", None, now.now)
    assert not known.has_positions("shop", ["replica1"])
    assert known.has_positions("blog", ["replica1"])
    now.now += TRUST_SECONDS
    assert known.has_positions("shop", ["replica1"])  # Somebody may ask again.


def test_a_replica_that_tells_is_enough(known):
    known.learn_replica("replica1", "s1", At(5), 98.0)
    known.learn_refusal("replica1", 99.0)
    assert known.position("s1") is None
    assert known.has_positions("shop", ["replica1", "replica2"])
    known.learn_refusal("replica2", 99.0)
    assert not known.has_positions("shop", ["replica1", "replica2"])
