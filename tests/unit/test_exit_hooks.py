"""Hooks at the end of a process; tests/django/test_stats_processes.py has real processes."""

import asyncio
import atexit
import multiprocessing.util
import signal
import threading

import pytest

from django_rwrouter.exit_hooks import call_at_exit


class Server:
    """What is needed of a server that handles signals."""

    def __init__(self):
        self.log = []

    def handle_exit(self, signum, frame):
        """Stop."""

    async def shutdown(self, sockets=None):
        self.log.append(("shutdown", sockets))


class UvicornServer(Server):
    __module__ = "uvicorn.server"


class OwnServer(UvicornServer):
    """Made from uvicorn's by somebody."""

    __module__ = "somebody.server"


@pytest.fixture(autouse=True)
def undone(monkeypatch):
    """Register nothing for good."""
    registered = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(multiprocessing.util, "Finalize", lambda *_args, **_kwargs: None)
    handler = signal.getsignal(signal.SIGTERM)
    yield registered
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize("kind", [UvicornServer, OwnServer])
def test_uvicorn_calls_back_when_it_has_shut_down(kind):
    server = kind()
    signal.signal(signal.SIGTERM, server.handle_exit)

    def callback():
        assert threading.current_thread() is not threading.main_thread()
        server.log.append("called")

    call_at_exit(callback)
    asyncio.run(server.shutdown(sockets=[]))
    assert server.log == [("shutdown", []), "called"]


def test_another_server_is_left_alone():
    server = Server()
    signal.signal(signal.SIGTERM, server.handle_exit)
    call_at_exit(list)
    assert "shutdown" not in vars(server)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, lambda *_: None])
def test_any_other_handler_will_do(handler):
    signal.signal(signal.SIGTERM, handler)
    call_at_exit(list)
    assert signal.getsignal(signal.SIGTERM) == handler


def test_it_is_called_once_at_a_plain_exit_however_often_it_was_asked_for(undone, monkeypatch):
    monkeypatch.setattr(atexit, "unregister", undone.remove)
    undone.append(list)
    call_at_exit(list)
    call_at_exit(list)
    assert undone == [list]
