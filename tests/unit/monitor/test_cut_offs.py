"""When the monitor ends statements: never those of a primary, nor those that merely run."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest
from django.db import Error, OperationalError

from django_rwrouter.conf.clusters import get_topology
from django_rwrouter.conf.options import MonitorSettings
from django_rwrouter.databases import by_name
from django_rwrouter.monitor import rounds
from django_rwrouter.monitor.rounds import Rounds
from django_rwrouter.monitor.schedule import Turn
from django_rwrouter.servers import in_flight, sockets

REPLICA = SimpleNamespace(alias="replica1", is_primary=False)
PRIMARY = SimpleNamespace(alias="default", is_primary=True)


@pytest.fixture
def cut(monkeypatch):
    aliases = []
    monkeypatch.setattr(rounds, "cut_off", lambda alias, _hung_for: aliases.append(alias))
    return aliases


@pytest.mark.parametrize(
    ("prober", "settings", "ended"),
    [(REPLICA, {}, 1), (PRIMARY, {}, 0), (PRIMARY, {"end_primary_statements": True}, 1)],
)
def test_statements_on_a_primary_are_spared(cut, prober, settings, ended):
    a_round = Rounds(get_topology(), MonitorSettings(**settings), None, None, None)
    a_round._cut_off(prober)
    assert cut == [prober.alias] * ended
    assert list(a_round._cut_off_at) == cut


def test_who_was_silent_before_need_not_be_tried_twice():
    assert Turn(misses=1).is_out_of_reach(unreachable=True)
    assert not Turn(misses=1).is_out_of_reach(unreachable=False)


@pytest.mark.parametrize(
    ("probes", "ended"),
    [([True, True, True], [False, True, True]), ([True, False, True, False, False], [False] * 5)],
    ids=["unreachable twice in a row", "reached in between"],
)
def test_who_cannot_be_reached_is_tried_again_first(probes, ended):
    turn = Turn()
    assert [turn.is_out_of_reach(unreachable=unreachable) for unreachable in probes] == ended


def test_only_what_has_itself_hung_for_longer_is_ended(monkeypatch):
    in_flight.reset()
    sockets.reset()
    severed = []
    monkeypatch.setattr(sockets, "sever", lambda raw: severed.append(raw) or True)
    opened = [
        SimpleNamespaceWithReference(alias="replica1", connection=name) for name in ("old", "young", "idle")
    ]
    for connection in opened:
        sockets.note_opened(connection)
    now = time.perf_counter()
    in_flight.loads["replica1"].running.update(first=(opened[0], now - 100), second=(opened[1], now))
    assert rounds.cut_off("replica1", 50) == 1
    assert severed == ["old", "idle"]
    in_flight.reset()
    sockets.reset()


def test_what_cannot_be_ended_is_not_said_to_be(monkeypatch):
    in_flight.reset()
    sockets.reset()
    connection = SimpleNamespaceWithReference(alias="replica1", connection=object())
    sockets.note_opened(connection)
    in_flight.loads["replica1"].running["only"] = connection, time.perf_counter() - 100
    assert rounds.cut_off("replica1", 50) == 0
    in_flight.reset()
    sockets.reset()


class ConnectionTimeoutError(Exception):
    """What mysql.connector raises."""


def caused_by(cause):
    error = Error(3024, "The Read Operation timed out")
    error.__cause__ = cause
    return error


def test_of_probes_on_an_ejected_replica_those_that_hang_are_ended(monkeypatch):
    in_flight.reset()
    severed = []
    monkeypatch.setattr(sockets, "sever", lambda raw, wanted: severed.append(raw) if wanted() else None)
    load = in_flight.loads["replica1"]
    names = ("old", "young", "statement", "failed over")
    opened = [SimpleNamespace(alias="replica1", connection=name) for name in names]
    with (
        in_flight.registered(opened[0]),
        in_flight.registered(opened[1]),
        in_flight.registered(opened[3], probe=False),
    ):
        load.running["statement"] = opened[2], 0.0
        for key, (connection, began) in load.running.items():
            load.running[key] = connection, began - (0 if connection is opened[1] else 100)
        rounds.end_hung_probes("replica1", 50)
    assert severed == ["old"]
    in_flight.reset()


class SimpleNamespaceWithReference(SimpleNamespace):
    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("vendor", "error", "never"),
    [
        ("mysql", OperationalError(2002, "Can't connect"), True),
        ("mysql", OperationalError(2003, "Can't connect"), True),
        ("mysql", OperationalError(2013, "at 'handshake: reading initial communication packet'"), True),
        ("mysql", OperationalError(2013, "Lost connection to server during query"), False),
        ("mysql", OperationalError(1040, "Too many connections"), False),
        ("mysql", caused_by(ConnectionTimeoutError()), True),
        ("mysql", caused_by(None), False),
        (
            "postgresql",
            OperationalError("server login has been failing, try again later (server_login_retry)"),
            True,
        ),
        (
            "postgresql",
            OperationalError(
                "server login has been failing, cached error: connect failed (server_login_retry)"
            ),
            True,
        ),
        (
            "postgresql",
            OperationalError("... cached error: sorry, too many clients already (server_login_retry)"),
            False,
        ),
        ("postgresql", OperationalError("connection timeout expired"), False),
    ],
)
def test_whether_a_server_has_said_a_word(vendor, error, never):
    assert by_name(vendor).errors.was_never_reached(error) is never


@pytest.mark.parametrize("answers", [True, False])
def test_a_bare_connection_wants_a_byte(answers):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            accepted, _ = server.accept()
            accepted.recv(8)
            accepted.sendall(b"N")
            accepted.close()

        if answers:
            threading.Thread(target=serve, daemon=True).start()
        client = socket.create_connection(server.getsockname())
        peer = sockets.peer_of(client)
        client.close()
        if answers:  # The first was for the address alone.
            threading.Thread(target=serve, daemon=True).start()
        assert peer is not None
        assert peer.answers(b"01234567", 5.0 if answers else 0.1) is answers


def test_a_server_that_is_gone_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = sockets.Peer(server.family, server.getsockname())
    assert not peer.answers(b"", 5.0)
    assert sockets.peer_of(object()) is None
