"""Shutting down connections under drivers that wait on them."""

import os
import socket
import threading
from types import SimpleNamespace

import pytest

from django_rwrouter.servers import sockets


class ProgrammingError(Exception):
    """What mysqlclient raises while another thread waits."""


class Raw:
    """A driver's connection."""

    def __init__(self):
        self.socket, self.server = socket.socketpair()
        self.in_use = False

    def fileno(self):
        if self.socket is None:
            raise OSError("closed")
        if self.in_use:
            raise ProgrammingError("already in use from another thread")
        return self.socket.fileno()

    def read(self):
        return self.socket.recv(1)

    def close(self):
        self.socket.close()
        self.socket = None


@pytest.fixture
def raw():
    raw = Raw()
    sockets.remember(raw)
    yield raw
    raw.server.close()
    if raw.socket is not None:
        raw.socket.close()


@pytest.mark.parametrize("in_use", [False, True])
def test_a_thread_that_waits_is_freed(raw, in_use):
    got = []
    thread = threading.Thread(target=lambda: got.append(raw.read()))
    thread.start()
    raw.in_use = in_use
    assert sockets.sever(raw)
    thread.join(30)
    assert got == [b""]


def test_a_closed_connection_is_left_alone(raw):
    raw.close()
    other = socket.socketpair()  # It takes the number.
    assert not sockets.sever(raw)
    other[0].send(b"x")
    assert other[1].recv(1) == b"x"
    for each in other:
        each.close()


def test_whoever_got_the_number_meanwhile_is_left_alone(raw, monkeypatch):
    """The connection is closed, and another opened, just before the number is doubled."""
    other = []

    def close_and_open(number, double=os.dup):
        raw.close()
        other.extend(socket.socketpair())
        assert number in {each.fileno() for each in other}
        return double(number)

    monkeypatch.setattr(os, "dup", close_and_open)
    assert not sockets.sever(raw)
    other[0].send(b"x")
    assert other[1].recv(1) == b"x"
    for each in other:
        each.close()


def test_it_is_asked_at_last_whether_that_is_wanted(raw):
    assert not sockets.sever(raw, lambda: False)
    raw.server.send(b"x")
    assert raw.read() == b"x"


def test_a_connection_without_a_socket_cannot_be_shut_down():
    sockets.remember(object())
    assert not sockets.sever(object())


def test_a_driver_written_in_python_is_shut_down_by_the_socket_that_it_holds(raw):
    connection, driver = SimpleNamespace(_sock=raw.socket), SimpleNamespace(stream=None, sock=raw.socket)
    assert sockets._number(connection) == sockets._number(SimpleNamespace(_socket=driver)) == raw.fileno()
    assert sockets.sever(connection)
    assert raw.server.recv(1) == b""
    driver.sock = None
    assert not sockets.sever(SimpleNamespace(_socket=driver))


def test_a_disarmed_connection_leads_nowhere(raw):
    sockets.disarm(raw)
    os.write(raw.socket.fileno(), b"goodbye")
    raw.server.settimeout(0)
    # The only end has been taken away.
    assert raw.server.recv(7) == b""
