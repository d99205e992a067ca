"""MySQL's positions: sets of transactions, compared with plain sets of numbers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.databases.mysql import MySQLDriver, MySQLPosition
from tests.unit.databases import position_properties as properties
from tests.unit.databases.test_mariadb import Cursor

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "00000000-0000-4000-8000-00000000000b"
SOURCES = [A, B, f"{A}:audit", f"{B}:_x1"]

models = st.dictionaries(st.sampled_from(SOURCES), st.frozensets(st.integers(1, 12), min_size=1), min_size=1)
"""Transactions by source, one by one."""


def text_of(model, *, hyphens=True):
    """Write a model as a server might, each number by itself."""
    parts = []
    for source, numbers in model.items():
        uuid, _, tag = source.partition(":")
        parts.append(
            ":".join([uuid if hyphens else uuid.replace("-", ""), *filter(None, [tag]), *map(str, numbers)])
        )
    return ",".join(parts)


def made(model):
    return MySQLPosition.decode(text_of(model))


def model_of(position):
    return {
        source: frozenset(number for first, last in intervals for number in range(first, last + 1))
        for source, intervals in position.sources.items()
    }


positions = models.map(made)
large = st.dictionaries(
    st.uuids().map(str),
    st.lists(st.tuples(st.integers(1, 2**62), st.integers(0, 10**6)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
).map(
    lambda sources: MySQLPosition.decode(
        ",".join(
            f"{uuid}:" + ":".join(f"{first}-{first + more}" for first, more in numbers)
            for uuid, numbers in sources.items()
        )
    )
)


@given(models, models)
def test_covering_is_having_all_transactions(one, other):
    has_all = all(numbers <= one.get(source, frozenset()) for source, numbers in other.items())
    assert made(one).covers(made(other)) is has_all


@given(models, models)
def test_merging_is_the_union(one, other):
    union = {
        source: one.get(source, frozenset()) | other.get(source, frozenset()) for source in {*one, *other}
    }
    assert model_of(made(one).merge(made(other))) == union


@given(models)
def test_intervals_are_as_few_as_can_be_and_in_order(model):
    position = made(model)
    assert model_of(position) == model
    for intervals in position.sources.values():
        assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(intervals))


@given(positions, positions, positions)
def test_covering_is_an_order(a, b, c):
    properties.check_order(a, b, c)


@given(positions, positions, positions)
def test_merging_is_idempotent_commutative_and_associative(a, b, c):
    properties.check_merge(a, b, c)


@given(positions, positions, positions)
def test_the_merged_position_is_the_least_that_covers_both(a, b, other):
    properties.check_least_upper_bound(a, b, other)


@given(positions | large)
def test_it_comes_back_as_it_was(position):
    properties.check_round_trip(position)


@given(models)
def test_uuids_may_have_no_hyphens_and_any_case(model):
    assert MySQLPosition.decode(text_of(model, hyphens=False)) == made(model)
    assert MySQLPosition.decode(text_of(model).upper()) == made(model)


@given(models, st.sampled_from([",\n", " , ", ",\r\n", ",\t"]))
def test_the_server_breaks_long_sets_into_lines(model, comma):
    assert MySQLPosition.decode(text_of(model).replace(",", comma)) == made(model)


@given(st.text(alphabet=f"{A[:9]}:-,0123456789 \nx_", max_size=60) | st.text(max_size=30))
def test_garbage_is_a_value_error(text):
    properties.check_is_refused(MySQLPosition.decode, text)


@given(st.sampled_from(SOURCES), st.text(max_size=12))
def test_garbage_behind_a_source_is_a_value_error(source, text):
    properties.check_is_refused(MySQLPosition.decode, f"{source}:{text}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        A,  # no transaction
        f"{A}:",
        f"{A}:0",
        f"{A}:5-4",
        f"{A}:1-2-3",
        f"{A}:-1",
        f"{A}:1,",
        f"{A}:1e3",
        f"{A}:" + "9" * 20,
        f"{A[:-1]}:1",
        f"{A[:-1]}g:1",
        f"{A[:8]}{A[9:]}:1",  # some of the hyphens
        f"{A}:9tag:1",
        f"{A}:{'t' * 33}:1",
        f"{A}:tag:1:",
        f"{A}:\u0663",  # a digit, but not one of MySQL's
        "1-5",
        "0-1-5",
    ],
)
def test_what_is_no_set_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        MySQLPosition.decode(text)


def test_a_tag_belongs_to_the_intervals_that_follow_it():
    position = MySQLPosition.decode(f"{A}:1-5:audit:1-3:7:other:2")
    assert dict(position.sources) == {A: ((1, 5),), f"{A}:audit": ((1, 3), (7, 7)), f"{A}:other": ((2, 2),)}


# Name: (where the replica is, what is asked of it, whether it has that).
COVERED = {
    "the same": (f"{A}:1-5", f"{A}:1-5", True),
    "further": (f"{A}:1-6", f"{A}:1-5", True),
    "behind": (f"{A}:1-4", f"{A}:1-5", False),
    "a gap": (f"{A}:1-3:5-9", f"{A}:1-5", False),
    "across what touches": (f"{A}:1-3:4-9", f"{A}:2-5", True),
    "another source": (f"{B}:1-500", f"{A}:1-5", False),
    "both histories": (f"{A}:1-100,{B}:1-5", f"{A}:1-90,{B}:1-5", True),
    "transactions that a failover lost": (f"{A}:1-100,{B}:1-500", f"{A}:1-120", False),
    "a tag is a source of its own": (f"{A}:1-9", f"{A}:audit:1", False),
    "its own writes besides": (f"{A}:1-5,{B}:1", f"{A}:1-5", True),
}


@pytest.mark.parametrize(("place", "wanted", "covered"), COVERED.values(), ids=COVERED)
def test_what_is_covered(place, wanted, covered):
    assert MySQLPosition.decode(place).covers(MySQLPosition.decode(wanted)) is covered


@given(positions)
def test_another_kind_of_position_is_never_covered(position):
    properties.check_others_are_never_covered(position)


@pytest.mark.parametrize("text", properties.NOT_A_POSITION)
def test_what_is_no_position_at_all_is_refused(text):
    properties.check_registry_refuses(text)


@pytest.mark.parametrize(
    ("text", "at_most"),
    [
        (f"{A}:1-5", 150),
        (",".join(f"{A[:-1]}{digit}:1-123456789012" for digit in "012"), 300),
        (f"{A}:" + ":".join(f"{n}-{n + 3}" for n in range(10**6, 10**6 + 200, 10)), 600),
    ],
    ids=["one source", "after two failovers", "twenty gaps"],
)
def test_a_token_is_short(text, at_most):
    assert properties.token_length(MySQLPosition.decode(text)) <= at_most


# --- the driver -----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [f"{A}:1-5,\n{B}:1", f"{A}:1-5,\n{B}:1".encode()], ids=["text", "bytes"])
def test_the_primary_is_where_its_set_says(answer):
    assert MySQLDriver().read_primary(Cursor(answer, A, 0)) == MySQLPosition.decode(f"{B}:1,{A}:1-5")


def test_without_transactions_there_is_no_position():
    assert MySQLDriver().read_primary(Cursor("", A, 0)) is None
    assert MySQLDriver().read_replica(Cursor("", A, 1)).position is None
    assert MySQLDriver().read_replica(Cursor("", A, 1)).server == A


@pytest.mark.parametrize(("read_only", "writable"), [(0, True), (1, False)])
@pytest.mark.parametrize("ask", ["describe_primary", "read_replica"])
def test_it_says_whether_it_takes_writes(ask, read_only, writable):
    cursor = Cursor(f"{A}:1-5", A, read_only)
    reading = getattr(MySQLDriver(), ask)(cursor)
    assert (reading.writable, reading.position) == (writable, MySQLPosition.decode(f"{A}:1-5"))
    assert len(cursor.asked) == 1


def test_what_is_waited_for_is_written_as_the_server_reads_it():
    cursor = Cursor(0)
    assert MySQLDriver().wait(cursor, MySQLPosition.decode(f"{A}:1-5:7:audit:2,{B}:1"), 0.5) is True
    [(_sql, (text, seconds))] = cursor.asked
    assert MySQLPosition.decode(text) == MySQLPosition.decode(f"{A}:1-5:7:audit:2,{B}:1")
    assert (A in text, seconds) == (True, 0.5)
    assert MySQLDriver().wait(Cursor(1), MySQLPosition.decode(f"{A}:1"), 0.5) is False
