"""What is process-wide; tests/sqlite/test_stats_processes.py has real processes that end."""

import asyncio
import atexit
import multiprocessing.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core.signals import setting_changed

from django_rwrouter import process
from django_rwrouter.balancers import get_balancer
from django_rwrouter.conf import clusters
from django_rwrouter.process import call_at_exit
from django_rwrouter.servers.health import health
from django_rwrouter.stores import cookie, exchange


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


def test_a_child_can_take_every_lock_that_was_held_when_its_parent_forked():
    script = Path(__file__).parent / "locks_in_children.py"
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def registry(monkeypatch):
    """Register for this test alone."""
    for name in ("_resets", "_in_child", "_on_change"):
        monkeypatch.setattr(process, name, [])


def test_state_is_reset_with_the_process_in_a_child_and_with_its_settings(registry):
    calls = []
    process.owns(lambda: calls.append("reset"), settings=["RWROUTER"])
    process.owns(lambda: calls.append("other"), in_child=lambda: calls.append("child"))
    process.derives(lambda: calls.append("forget"), ["CACHES"])

    process.reset()
    assert calls == ["reset", "other", "forget"]
    calls.clear()
    for callback in process._in_child:
        callback()
    assert calls == ["reset", "child"]
    calls.clear()
    process.changed(setting="CACHES")
    process.changed(setting="RWROUTER")
    process.changed(setting="DEBUG")
    assert calls == ["forget", "reset"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="not for this system, which does not fork")
def test_an_error_while_a_fork_waits_leaves_no_lock_held(monkeypatch):
    def alarm(*_args):
        raise TimeoutError

    first, second = threading.Lock(), threading.Lock()
    monkeypatch.setattr(process, "_at_work", [lambda: [first, second]])
    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with second:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(TimeoutError):
                process._hold_up()
            assert first.locked()
    finally:
        signal.signal(signal.SIGALRM, before)
    process._go_on()  # As Python calls it all the same.
    assert not first.locked()


def caches():
    """Return what is cached now, by the name of the cache."""
    return {
        f"{module.__name__}.{name}": value.cache_info().currsize
        for module in list(sys.modules.values())
        if module is not None and module.__name__.startswith("django_rwrouter.")
        for name, value in vars(module).items()
        if hasattr(value, "cache_info") and name not in OF_NO_SETTING
    }


OF_NO_SETTING = {
    "_warn_once",  # Of places in the code.
    "_content_type_lookups",  # Of Django's code.
    "_followers",
    "_bounds",  # Of numbers.
    "has_tenants",  # Of classes.
    "_signer",  # Of SECRET_KEY.
    "_verified",
    "_derived",
    "_load",  # Of code.
    "_make",
    "routed_task",
    "routed_backend",
    "_watched",
}


def test_no_cache_outlives_a_change_of_the_settings():
    exchange.in_use()
    cookie._attributes()
    get_balancer("random")
    clusters.get_topology()
    assert all(caches().values()), caches()
    version = health.version
    setting_changed.send(sender=None, setting="RWROUTER", value={}, enter=True)
    assert not any(caches().values()), caches()
    assert health.version > version  # Decisions are cached in scopes, and compare this.
