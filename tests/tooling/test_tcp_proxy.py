"""The network that the tests can break: what clients of the proxy see in each of its modes."""

import socket
import threading
from contextlib import contextmanager

import pytest

from launcher.tcp_proxy import Mode, TcpProxy

SHORT = 0.2
"""Seconds in which a silent connection must stay silent."""
PATIENCE = 10.0


@contextmanager
def echo_server(prefix=b""):
    """Answers with what it gets, after a word of its own. Yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted = []

    def answer(connection):
        try:
            while data := connection.recv(65536):
                connection.sendall(prefix + data)
        except OSError:
            pass
        finally:
            connection.close()

    def serve():
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            accepted.append(connection)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in accepted:
            connection.close()


@pytest.fixture
def server():
    with echo_server() as port:
        yield port


@pytest.fixture
def proxy(server):
    with TcpProxy(server) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    """Open a connection to the proxy."""
    connections = []

    def new():
        connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
        connections.append(connection)
        return connection

    yield new
    for connection in connections:
        connection.close()


def ask(connection, what=b"tea?"):
    connection.sendall(what)
    return connection.recv(100)


def is_silent(connection):
    connection.settimeout(SHORT)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)
    return False


def is_closed(connection):
    """One that the proxy had no time to accept is reset."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_forwards_both_ways(proxy, connect):
    one, two = connect(), connect()
    assert ask(one, b"green") == b"green"
    assert ask(two, b"black") == b"black"
    assert (proxy.connections, proxy.mode) == (2, Mode.FORWARD)


def test_forwards_more_than_fits_into_the_buffers(connect):
    connection = connect()
    sent = bytes(range(256)) * 80_000
    writer = threading.Thread(target=connection.sendall, args=(sent,))
    writer.start()
    received = bytearray()
    while len(received) < len(sent):
        received += connection.recv(1 << 20)
    writer.join()
    assert received == sent


def test_what_one_end_closes_is_closed_at_the_other(proxy, connect):
    connection = connect()
    ask(connection)
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b""
    other = connect()
    ask(other)
    assert proxy.connections == 1


def test_cut(proxy, connect):
    connection = connect()
    ask(connection)
    port = proxy.port
    proxy.cut()
    assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect()
    proxy.forward()
    assert ask(connect()) == b"tea?"
    assert proxy.port == port


def test_reset(proxy, connect):
    connection = connect()
    ask(connection)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        connection.recv(1)
    with pytest.raises(ConnectionResetError):
        ask(connect())
    proxy.forward()
    assert ask(connect()) == b"tea?"


def test_stall(proxy, connect):
    before = connect()
    ask(before)
    proxy.stall()
    before.sendall(b"before")
    during = connect()
    during.sendall(b"during")
    assert is_silent(before)
    assert is_silent(during)
    assert proxy.connections == 2
    proxy.forward()
    assert before.recv(100) == b"before"
    assert during.recv(100) == b"during"


def test_a_stall_may_end_in_a_cut(proxy, connect):
    connection = connect()
    ask(connection)
    proxy.stall()
    during = connect()
    proxy.cut()
    assert connection.recv(1) == b""
    assert is_closed(during)


def test_switch_leaves_open_connections_where_they_are(proxy, connect):
    with echo_server(b"new: ") as other:
        connection = connect()
        ask(connection)
        proxy.switch(other)
        assert ask(connection) == b"tea?"
        assert ask(connect()) == b"new: tea?"
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert ask(connect()) == b"new: tea?"


def test_a_server_that_is_away(connect, proxy):
    with echo_server() as gone:
        pass
    proxy.switch(gone)
    with pytest.raises(ConnectionResetError):
        connect().recv(1)
    assert proxy.connections == 0


def test_the_end_of_the_block_closes_everything(server):
    with TcpProxy(server) as proxy:
        connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
        ask(connection)
    with connection:
        assert connection.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE)
