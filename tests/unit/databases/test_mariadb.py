"""MariaDB's positions: a GTID for each domain."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.databases.mariadb import MariaDBDriver, MariaDBPosition
from django_rwrouter.databases.mysql_family import is_mariadb
from tests.unit.databases import position_properties as properties

numbers = st.integers(0, 2**32 - 1)
sequences = st.integers(0, 2**64 - 1)
anything = st.dictionaries(
    st.integers(0, 3), st.tuples(st.integers(1, 2), st.integers(0, 4)), min_size=1, max_size=3
).map(MariaDBPosition)
realistic = st.dictionaries(numbers, st.tuples(numbers, sequences), min_size=1).map(MariaDBPosition)
one_history = st.dictionaries(
    st.integers(0, 3), st.tuples(st.just(1), st.integers(0, 4)), min_size=1, max_size=3
).map(MariaDBPosition)


def at(text):
    return MariaDBPosition.decode(text)


@given(anything, anything, anything)
def test_covering_is_an_order(a, b, c):
    properties.check_order(a, b, c)


@given(anything, anything, anything)
def test_merging_is_idempotent_commutative_and_associative(a, b, c):
    properties.check_merge(a, b, c)


@given(one_history, one_history, one_history)
def test_of_one_history_the_merged_position_is_the_least_that_covers_both(a, b, other):
    properties.check_least_upper_bound(a, b, other)


@given(realistic)
def test_it_comes_back_as_it_was(position):
    properties.check_round_trip(position)


@given(st.text(alphabet="0123456789-, x\n٣", max_size=30) | st.text(max_size=30))
def test_garbage_is_a_value_error(text):
    properties.check_is_refused(MariaDBPosition.decode, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "0-1",
        "0-1-",
        "0-1-1,",
        "-1-1-1",
        "0-1-1-1",
        "0-1-+1",
        "0-1-1 0-1-2",
        "99999999999-1-1",
        "0-1-" + "1" * 21,
    ],
)
def test_what_is_no_gtid_is_refused(text):
    with pytest.raises(ValueError, match="is not a GTID"):
        at(text)


@pytest.mark.parametrize("text", properties.NOT_A_POSITION)
def test_what_is_no_position_at_all_is_refused(text):
    properties.check_registry_refuses(text)


# Name: (where the replica is, what is asked of it, whether it has that).
COVERED = {
    "the same": ("0-1-5", "0-1-5", True),
    "further": ("0-1-6", "0-1-5", True),
    "behind": ("0-1-4", "0-1-5", False),
    "numbers, not texts": ("0-1-10", "0-1-9", True),
    "more domains": ("0-1-5,1-1-1", "0-1-5", True),
    "a domain is missing": ("0-1-5", "0-1-5,1-1-1", False),
    "a domain is behind": ("0-1-6,1-1-1", "0-1-5,1-1-2", False),
    "each domain": ("0-1-6,1-2-3", "1-2-3,0-1-5", True),
    "spaces and lines, as the server prints long ones": ("0-1-6,\n1-2-3", " 0-1-6 , 1-2-3 ", True),
    "the largest number": ("0-1-18446744073709551615", "0-1-18446744073709551614", True),
    # The server's id is the epoch.
    "another server went on": ("0-2-6", "0-1-5", False),
    "another server has the same number": ("0-2-5", "0-1-5", False),
    "another server is far ahead": ("0-2-500000", "0-1-5", False),
    "the former server is ahead": ("0-1-500000", "0-2-6", False),
    "another server in one of two domains": ("0-1-6,1-2-9", "0-1-5,1-1-3", False),
}


@pytest.mark.parametrize(("place", "wanted", "covered"), COVERED.values(), ids=COVERED)
def test_what_is_covered(place, wanted, covered):
    assert at(place).covers(at(wanted)) is covered


@given(anything, st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_numbers_of_another_server_never_count(position, domain, sequence):
    foreign = MariaDBPosition({domain: (99, sequence)})
    assert not position.covers(foreign)
    assert not foreign.covers(position)


@given(anything)
def test_another_kind_of_position_is_never_covered(position):
    properties.check_others_are_never_covered(position)


@pytest.mark.parametrize(
    ("text", "at_most"),
    [
        ("0-1-1", 110),
        ("0-4294967295-18446744073709551615", 140),
        (",".join(f"{domain}-4294967295-18446744073709551615" for domain in range(8)), 500),
    ],
    ids=["the first", "the longest of one domain", "the longest of eight domains"],
)
def test_a_token_is_short(text, at_most):
    assert properties.token_length(at(text)) <= at_most


# --- the driver -----------------------------------------------------------------------------------


class Cursor:
    """Answers with one row, whatever is asked."""

    def __init__(self, *row):
        self.row = row
        self.asked = []

    def execute(self, sql, parameters=()):
        self.asked.append((sql, parameters))

    def fetchone(self):
        return self.row


def test_without_a_binary_log_the_primary_has_no_position():
    assert MariaDBDriver().read_primary(Cursor(0, "")) is None
    assert MariaDBDriver().read_primary(Cursor(0, "0-1-7")) == at("0-1-7")


def test_a_server_that_follows_none_has_no_position_but_a_name():
    reading = MariaDBDriver().read_replica(Cursor(0, "", 1, 2, "host", 3306, "uid"))
    assert (reading.server, reading.position, reading.tentative) == ("2/host/3306/uid", None, False)


def test_two_servers_with_one_id_are_told_apart():
    """A replica that was copied from another, with its settings."""
    driver = MariaDBDriver()
    names = {
        driver.read_replica(Cursor(0, "0-1-1", 1, *who)).server
        for who in [(2, "a", 3306, "u"), (2, "b", 3306, "u"), (2, "a", 3307, "u"), (2, "a", 3306, "v")]
    }
    assert len(names) == 4


@pytest.mark.parametrize(
    ("read_only", "writable"), [(0, True), (1, False), ("OFF", True), ("READ_ONLY_NO_LOCK", False)]
)
@pytest.mark.parametrize("ask", ["describe_primary", "read_replica"])
def test_it_says_whether_it_takes_writes(ask, read_only, writable):
    cursor = Cursor(0, "0-1-7", read_only, 2, "host", 3306, "uid")
    reading = getattr(MariaDBDriver(), ask)(cursor)
    assert (reading.writable, reading.position) == (writable, at("0-1-7"))
    assert len(cursor.asked) == 1


def test_waiting_is_one_statement_in_the_server():
    cursor = Cursor(0)
    assert MariaDBDriver().wait(cursor, at("0-1-7"), 0.05) is True
    assert cursor.asked == [("SELECT MASTER_GTID_WAIT(%s, %s)", ("0-1-7", 0.05))]
    assert MariaDBDriver().wait(Cursor(-1), at("0-1-7"), 0.05) is False


@pytest.mark.parametrize(
    ("raw", "kept", "is_one"),
    [
        ("open", {"mysql_server_info": "10.11.14-MariaDB-log"}, True),
        ("open", {"mysql_server_info": "9.7.0"}, False),
        (None, {"mysql_server_info": "10.11.14-MariaDB-log"}, True),
        (None, {}, False),
    ],
    ids=["MariaDB", "MySQL", "was open before", "was never open"],
)
def test_a_server_is_known_by_its_version_and_never_asked(raw, kept, is_one):
    """What a backend says besides is not looked at: that of mysql.connector takes all servers for MySQL."""
    connection = SimpleNamespace(vendor="mysql", connection=raw, mysql_is_mariadb=not is_one, **kept)
    assert is_mariadb(connection) is is_one


def test_a_connection_that_is_being_opened_is_not_asked():
    """Its first statement may just have failed, and would be sent again and again."""

    class Opening:
        vendor, connection = "mysql", object()

        @property
        def mysql_server_info(self):
            raise AssertionError("asked")

    assert not is_mariadb(Opening())
