"""The positions of Galera's nodes, and what a MariaDB server that is one is asked."""

import pytest
from django.db import OperationalError

from django_rwrouter.databases import decode, encode
from django_rwrouter.databases.galera import GaleraPosition
from django_rwrouter.databases.mariadb import MariaDBDriver, MariaDBPosition

HISTORY = "e8625550-ea21-11f1-b6e5-d7c8df7368e8"
OTHER = "6d1f0c4e-0000-4000-8000-000000000001"


def at(sequence, history=HISTORY):
    return GaleraPosition(history, sequence)


class Node:
    """A cursor to a node: ``wsrep_on`` is on, and it has no GTIDs."""

    def __init__(self, committed=7, state="Synced", component="Primary", queue=0):
        self.status = [
            ("wsrep_cluster_state_uuid", HISTORY),
            ("wsrep_cluster_status", component),
            ("wsrep_last_committed", str(committed)),
            ("wsrep_local_recv_queue", str(queue)),
            ("wsrep_local_state_comment", state),
        ]
        self.asked = []

    def execute(self, sql, parameters=()):
        self.asked.append(sql)

    def fetchone(self):
        return (1, "", 0, 2, "host", 3306, "uid") if "server_id" in self.asked[-1] else (1, "0-1-99")

    def fetchall(self):
        return self.status


class NoGalera:
    """A cursor to a server whose build has no ``wsrep_on``."""

    def __init__(self):
        self.asked = []

    def execute(self, sql, parameters=()):
        self.asked.append(sql)
        if "wsrep" in sql:
            raise OperationalError(1193, "Unknown system variable 'wsrep_on'")

    def fetchone(self):
        return (0, "0-1-7")


@pytest.mark.parametrize(
    ("own", "wanted", "covered"),
    [
        (at(5), at(5), True),
        (at(6), at(5), True),
        (at(4), at(5), False),
        (at(500, OTHER), at(5), False),
        (at(5), MariaDBPosition({0: (1, 1)}), False),
    ],
    ids=["the same", "further", "behind", "another history", "a GTID"],
)
def test_what_is_covered(own, wanted, covered):
    assert own.covers(wanted) is covered


def test_it_travels_in_a_token():
    assert encode(at(7)) == f"g{HISTORY}:7"
    assert decode(f"g{HISTORY}:7") == at(7)
    assert at(7).merge(at(9)) == at(9)


@pytest.mark.parametrize(
    "text", ["", HISTORY, f"{HISTORY}:", f"{HISTORY}:-1", "0-1-7", f"{HISTORY.upper()}:1"]
)
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="is not the number of a write set"):
        GaleraPosition.decode(text)


def test_a_node_is_recognised_and_its_gtids_are_not_used():
    assert MariaDBDriver().read_primary(Node()) == at(7)
    reading = MariaDBDriver().read_replica(Node())
    # Each node takes writes: that says nothing of its role.
    assert (reading.server, reading.position, reading.writable) == ("2/host/3306/uid", at(7), None)


@pytest.mark.parametrize(
    "node", [Node(state="Donor/Desynced"), Node(state="Joined"), Node(component="non-Primary")]
)
def test_a_replica_that_is_not_synced_does_not_answer(node):
    with pytest.raises(OperationalError, match="the node is"):
        MariaDBDriver().read_replica(node)
    with pytest.raises(OperationalError, match="the node is"):
        MariaDBDriver().wait(node, at(1), 0)


def test_a_primary_may_be_a_donor_but_not_outside_its_cluster():
    assert MariaDBDriver().read_primary(Node(state="Donor/Desynced")) == at(7)
    with pytest.raises(OperationalError, match="non-Primary"):
        MariaDBDriver().read_primary(Node(component="non-Primary"))


def test_waiting_ends_when_it_is_there_or_the_time_is_over():
    assert MariaDBDriver().wait(Node(), at(7), 0) is True
    assert MariaDBDriver().wait(Node(), at(8), 0) is False
    assert MariaDBDriver().wait(Node(), at(7, OTHER), 0) is False


def test_a_build_without_galera_says_where_it_stands():
    cursor = NoGalera()
    assert MariaDBDriver().read_primary(cursor) == MariaDBPosition({0: (1, 7)})
    assert len(cursor.asked) == 2


def test_the_queue_is_what_was_received_and_not_applied():
    progress = MariaDBDriver().progress(Node(queue=3))
    assert (progress.replayed, progress.received, progress.replays) == (at(7), at(10), True)
    assert progress.received.gap(progress.replayed) == 3
    assert at(9).gap(at(7, OTHER)) is None
    assert not MariaDBDriver().progress(Node(state="Donor/Desynced")).replays
