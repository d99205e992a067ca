"""Incidents: what many processes noted of one outage is one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_rwrouter.events.incidents import ENDED_BY, GAP, incidents
from django_rwrouter.stats.sums import Happening

EJECTED, RESTORED = "replica_ejected", "replica_restored"


def log(*entries):
    """Return a log from ``"SECOND PROCESS eject|restore [DETAIL]"``."""
    words = (entry.split(maxsplit=3) for entry in entries)
    return [
        Happening(
            float(when), {"eject": EJECTED, "restore": RESTORED}[what], "replica1", *(detail or [""]), process
        )
        for when, process, what, *detail in words
    ]


def brief(log, holders=()):
    """Return begin, end, and who saw it, of each incident."""
    return [
        (incident.begin, "goes on" if incident.goes_on else incident.end, "".join(sorted(incident.processes)))
        for incident in incidents(log, {"replica1": holders})
    ]


@pytest.mark.parametrize(
    ("entries", "holders", "expected"),
    [
        (["0 a eject", "9 a restore"], "", [(0, 9, "a")]),
        (["0 a eject", "1 b eject", "8 b restore", "9 a restore"], "", [(0, 9, "ab")]),
        # The second sees it when the first has restored it already.
        (["0 a eject", "9 a restore", "40 b eject", "50 b restore"], "", [(0, 50, "ab")]),
        (["0 a eject", "9 a restore", "10 a eject", "12 a restore"], "", [(0, 12, "a")]),
        (["0 a eject", "9 a restore", "70 a eject", "80 a restore"], "", [(70, 80, "a"), (0, 9, "a")]),
        (["0 a eject"], "a", [(0, "goes on", "a")]),
        (["0 a eject", "1 b eject", "9 b restore"], "a", [(0, "goes on", "ab")]),
        # What goes on comes first.
        (["0 a eject", "200 b eject", "201 b restore"], "a", [(0, "goes on", "ab")]),
        # The process has ended.
        (["0 a eject"], "", [(0, None, "a")]),
        (["0 a eject", "1 b eject", "9 b restore"], "", [(0, 9, "ab")]),
        (["0 a eject", "500 b eject", "509 b restore"], "", [(500, 509, "b"), (0, None, "a")]),
        # Another process of its host has taken over the watch.
        (["0 a eject", "500 b restore"], "", [(0, 500, "a")]),
        (["0 a eject", "500 b eject"], "c", [(500, "goes on", "b"), (0, None, "a")]),
        # Its restoration was not noted.
        (["0 a eject", "500 a eject", "509 a restore"], "", [(500, 509, "a"), (0, None, "a")]),
        (["9 a restore"], "", []),
        ([], "", []),
    ],
)
def test_one_outage_is_one_incident(entries, holders, expected):
    assert brief(log(*entries), holders) == expected
    assert brief(log(*reversed(entries)), holders) == expected


def test_causes_come_with_the_most_frequent_first():
    entries = log("0 a eject timeout", "1 b eject slow", "2 c eject slow", "9 a restore 9.0 s")
    [incident] = incidents(entries, {})
    assert incident.details == ("slow", "timeout")


def test_each_server_has_incidents_of_its_own():
    other = [entry._replace(subject="replica2") for entry in log("0 a eject", "9 a restore")]
    happened = incidents([*log("0 a eject", "9 a restore"), *other], {})
    assert {incident.subject for incident in happened} == {"replica1", "replica2"}


def test_what_is_over_at_once_is_put_together_by_what_was_noted():
    def failover(when, detail):
        return Happening(when, "failover", "replica1", detail, "a")

    entries = [failover(0.0, "x"), failover(GAP, "x"), failover(3 * GAP, "x"), failover(0.0, "y")]
    happened = [(each.begin, each.end, each.details) for each in incidents(entries, {})]
    assert sorted(happened) == [(0.0, 0.0, ("y",)), (0.0, GAP, ("x",)), (3 * GAP, 3 * GAP, ("x",))]


OFFSETS = st.lists(st.floats(0.001, 400, allow_subnormal=False), min_size=2, max_size=6, unique=True)


@st.composite
def outage(draw, begin, processes):
    """Draw what processes note of one outage: each ejects within a minute, and may come and go."""
    entries = []
    for process in processes:
        times = sorted(draw(OFFSETS))
        times = [begin + draw(st.floats(0, GAP)), *(begin + GAP + time for time in times)]
        # An even number of changes, none of them after more than a minute in which all was well.
        for eject, restore in zip(times[::2], times[1::2], strict=False):
            entries += [
                Happening(eject, EJECTED, "replica1", "timeout", process),
                Happening(restore, RESTORED, "replica1", "1.0 s", process),
            ]
    return entries


@given(st.data(), st.integers(1, 8), st.randoms())
def test_any_interleaving_of_one_outage_is_one_incident(data, count, random):
    processes = [f"p{number}" for number in range(count)]
    entries = data.draw(outage(1000.0, processes))
    ends = sorted(entry.when for entry in entries)
    if any(later - earlier > GAP for earlier, later in pairwise(ends)):
        # Somebody has it ejected all the time.
        entries += [
            Happening(ends[0], EJECTED, "replica1", "timeout", "all along"),
            Happening(ends[-1], RESTORED, "replica1", "1.0 s", "all along"),
        ]
    random.shuffle(entries)
    [incident] = incidents(entries, {})
    assert (incident.begin, incident.end, incident.goes_on) == (ends[0], ends[-1], False)
    assert incident.processes >= set(processes)


@given(st.data(), st.integers(1, 5), st.randoms())
def test_two_outages_are_two_incidents(data, count, random):
    processes = [f"p{number}" for number in range(count)]
    entries = [
        Happening(when, name, "replica1", "", process)
        for begin in (0.0, 10_000.0)
        for process in processes
        for when, name in (
            (begin + data.draw(st.floats(0, GAP)), EJECTED),
            (begin + GAP + data.draw(st.floats(0.001, GAP)), RESTORED),
        )
    ]
    random.shuffle(entries)
    assert [incident.processes for incident in incidents(entries, {})] == [frozenset(processes)] * 2


@given(
    st.lists(
        st.builds(
            Happening,
            st.integers(0, 500).map(float),
            st.sampled_from([*ENDED_BY, *ENDED_BY.values(), "failover"]),
            st.sampled_from(["replica1", "replica2"]),
            st.just(""),
            st.sampled_from("abc"),
        ),
        max_size=30,
    ),
    st.randoms(),
)
def test_whatever_was_noted_the_order_of_writing_does_not_matter(entries, random):
    holders = {"replica1": {"a"}}
    happened = incidents(entries, holders)
    assert incidents(random.sample(entries, len(entries)), holders) == happened
    begun = {(entry.name, entry.subject) for entry in entries if entry.name not in ENDED_BY.values()}
    assert {(incident.name, incident.subject) for incident in happened} == begun
    assert all(incident.end is None or incident.begin <= incident.end for incident in happened)
