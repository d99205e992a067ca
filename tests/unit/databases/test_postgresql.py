"""PostgreSQL's positions: places in the log, on a timeline."""

import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.databases.postgresql import PostgreSQLDriver, PostgreSQLPosition
from tests.unit.databases import position_properties as properties

LAST = 2**64 - 1
anything = st.builds(PostgreSQLPosition, st.integers(1, 3), st.integers(0, 4))
realistic = st.builds(PostgreSQLPosition, st.integers(1, 2**32 - 1), st.integers(0, LAST))
one_history = st.builds(PostgreSQLPosition, st.just(2), st.integers(0, LAST))


def at(text):
    return PostgreSQLPosition.decode(text)


@given(anything, anything, anything)
def test_covering_is_an_order(a, b, c):
    properties.check_order(a, b, c)


@given(anything, anything, anything)
def test_merging_is_idempotent_commutative_and_associative(a, b, c):
    properties.check_merge(a, b, c)


@given(one_history, one_history, one_history)
def test_of_one_history_the_merged_position_is_the_least_that_covers_both(a, b, other):
    properties.check_least_upper_bound(a, b, other)


@given(one_history, one_history)
def test_of_one_history_any_two_can_be_compared(a, b):
    assert a.covers(b) is (a.lsn >= b.lsn)


@given(realistic)
def test_it_comes_back_as_it_was(position):
    properties.check_round_trip(position)


@given(st.text(alphabet="0123456789ABCDEFabcdef@/ -\n", max_size=24) | st.text(max_size=24))
def test_garbage_is_a_value_error(text):
    properties.check_is_refused(PostgreSQLPosition.decode, text)


@pytest.mark.parametrize(
    "text", ["", "1@", "@0/0", "1@0", "1@0/", "1@/0", "0/0", "1@0/0 ", "-1@0/0", "1@123456789/0", "1@0/g"]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(ValueError, match="is not a place in a log"):
        at(text)


@pytest.mark.parametrize("text", properties.NOT_A_POSITION)
def test_what_is_no_position_at_all_is_refused(text):
    properties.check_registry_refuses(text)


# Name: (where the standby is, what is asked of it, whether it has that).
COVERED = {
    "the same": ("1@0/30001A8", "1@0/30001A8", True),
    "further": ("1@0/30001A9", "1@0/30001A8", True),
    "behind": ("1@0/30001A7", "1@0/30001A8", False),
    "numbers, not texts": ("1@0/10000000", "1@0/9000000", True),
    "the next file of the log": ("1@1/0", "1@0/FFFFFFFF", True),
    # The timeline is the epoch, whichever is the later one.
    "a later timeline": ("2@0/FFFFFF", "1@0/5", False),
    "an earlier timeline, and ahead": ("1@0/FFFFFF", "2@0/5", False),
}


@pytest.mark.parametrize(("place", "wanted", "covered"), COVERED.values(), ids=COVERED)
def test_what_is_covered(place, wanted, covered):
    assert at(place).covers(at(wanted)) is covered


@given(realistic, st.integers(0, LAST))
def test_numbers_of_another_timeline_never_count(position, lsn):
    elsewhere = PostgreSQLPosition(position.timeline + 1, lsn)
    assert not position.covers(elsewhere)
    assert not elsewhere.covers(position)
    assert position.merge(elsewhere) == elsewhere


@given(realistic)
def test_another_kind_of_position_is_never_covered(position):
    properties.check_others_are_never_covered(position)


def test_a_token_is_short():
    assert properties.token_length(at("1@0/30001A8")) <= 120
    assert properties.token_length(PostgreSQLPosition(2**32 - 1, LAST)) <= 140


# --- the driver -----------------------------------------------------------------------------------


class Cursor:
    """Answers with the given rows, one after another; the last one again and again."""

    def __init__(self, *rows, version=150000, transaction=0):
        self.rows = list(rows)
        self.asked = 0
        self.statement = ""
        self.connection = SimpleNamespace(
            info=SimpleNamespace(server_version=version, transaction_status=transaction)
        )

    def execute(self, sql, parameters=()):
        self.asked += 1
        self.statement = sql

    def fetchone(self):
        return self.rows.pop(0) if len(self.rows) > 1 else self.rows[0]


def standby(lsn="0/5", *, recovering=True, timeline=None, receiver=None, started="now", subscribes=False):
    row = (lsn, recovering, "127.0.0.1", 5432, started, timeline, receiver)
    return PostgreSQLDriver().read_replica(Cursor(row, (subscribes,)))


def test_the_primary_is_where_it_has_flushed_to_on_its_timeline():
    assert PostgreSQLDriver().read_primary(Cursor(("0/30001A8", "0000001F"))) == at("1F@0/30001A8")


@pytest.mark.parametrize(
    ("lsn", "timeline", "position", "writable"),
    [("0/30001A8", "0000001F", at("1F@0/30001A8"), True), (None, None, None, False)],
    ids=["primary", "standby"],
)
def test_a_server_that_should_be_the_primary_says_whether_it_is(lsn, timeline, position, writable):
    reading = PostgreSQLDriver().describe_primary(Cursor((lsn, timeline, "127.0.0.1", 5432, "monday")))
    assert (reading.position, reading.writable) == (position, writable)
    assert reading.server == "127.0.0.1/5432/monday"


def test_a_server_that_is_no_standby_has_no_position():
    """A promoted one: its last replayed place is of the past."""
    assert (standby(recovering=False).position, standby(recovering=False).writable) == (None, True)
    assert standby(recovering=False, subscribes=True).writable is None, "a subscriber is no primary"
    assert standby(lsn=None).position is None
    assert not standby(lsn=None).writable
    assert not standby().writable


def test_a_restarted_server_is_another_one():
    assert standby(started="yesterday").server != standby(started="today").server


def test_who_may_see_the_timeline_knows_the_position():
    reading = standby(timeline=3, receiver=17)
    assert (reading.position, reading.tentative) == (PostgreSQLPosition(3, 5), False)


# Name: (what the standby says of its receiver, the primary's position, what becomes of "0/5").
PLACED = {
    "one timeline only, streaming": ({"receiver": 17}, "1@0/1", "1@0/5"),
    "one timeline only, disconnected": ({}, "1@0/1", "1@0/5"),
    "after a failover, streaming": ({"receiver": 17}, "2@0/1", "2@0/5"),
    "after a failover, disconnected: perhaps a former primary": ({}, "2@0/1", None),
    "the primary is not known": ({"receiver": 17}, None, None),
}


@pytest.mark.parametrize(("says", "primary", "placed"), PLACED.values(), ids=PLACED)
def test_without_the_privilege_the_primary_tells_the_timeline(says, primary, placed):
    reading = standby(**says)
    assert reading.tentative
    found = PostgreSQLDriver().place(reading.position, primary and at(primary))
    assert found == (placed and at(placed))


def test_waiting_ends_as_soon_as_it_is_reached():
    cursor = Cursor(("0/4",), (None,), ("0/5",))
    assert PostgreSQLDriver().wait(cursor, at("1@0/5"), 60.0) is True
    assert cursor.asked == 3


def test_waiting_ends_when_the_time_is_over():
    began = time.monotonic()
    assert PostgreSQLDriver().wait(Cursor(("0/4",)), at("1@0/5"), 0.02) is False
    assert time.monotonic() - began >= 0.02


@pytest.mark.parametrize(
    ("status", "reached"), [("success", True), ("timeout", False), ("not in recovery", False)]
)
def test_from_version_19_on_the_server_waits(status, reached):
    cursor = Cursor((status,), version=190000)
    assert PostgreSQLDriver().wait(cursor, at("1@A/5"), 0.05) is reached
    assert (cursor.asked, cursor.statement) == (1, "WAIT FOR LSN 'A/5' WITH (TIMEOUT '50ms', NO_THROW)")


def test_the_server_never_waits_for_ever():
    """As it does with a timeout of 0."""
    cursor = Cursor(("timeout",), version=190000)
    PostgreSQLDriver().wait(cursor, at("1@0/5"), 0.0001)
    assert "'1ms'" in cursor.statement


def test_in_a_transaction_the_server_does_not_wait():
    """It refuses to where a snapshot is held, and the refusal ends the transaction."""
    cursor = Cursor(("0/5",), version=190000, transaction=2)
    assert PostgreSQLDriver().wait(cursor, at("1@0/5"), 1.0) is True
    assert "WAIT" not in cursor.statement


def test_with_no_time_to_wait_it_asks_once():
    cursor = Cursor(("0/4",))
    assert PostgreSQLDriver().wait(cursor, at("1@0/5"), 0.0) is False
    assert cursor.asked == 1
