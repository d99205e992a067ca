"""A token that a host wrote whose clock is hours ahead, in every place that carries one."""

import time

import pytest
from django.core.cache import cache

from django_rwrouter import current_token, routing_scope
from tests.app.models import Book
from tests.sqlite.conftest import reason
from tests.sqlite.test_sessions import AFTER_SESSIONS

HOURS = 3 * 3600


@pytest.fixture
def clock(monkeypatch):
    """Set this host's clock: ``clock(60)`` is a minute from now."""
    real = time.time

    def at(seconds):
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return at


def write(_request=None):
    Book.objects.create(title="new")


@pytest.mark.parametrize("store", ["cookie", "header", "session", "cache"])
def test_it_pins_for_the_window_from_when_it_was_first_seen(site, settings, clock, store):
    cache.clear()
    settings.RWROUTER = {**settings.RWROUTER, "STORE": store}
    if store == "session":
        settings.MIDDLEWARE = AFTER_SESSIONS
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    headers = {"Authorization": "Bearer key"} if store == "cache" else {}
    clock(HOURS)
    response = site.post(write, **headers)
    if store == "header":
        headers = {"X-Read-Your-Writes": response["X-Read-Your-Writes"]}

    def read_at(seconds):
        clock(seconds)
        return site.get(lambda _request: reason(), **headers).text

    assert [read_at(second) for second in (0, 4, 6, 60, HOURS - 1, HOURS + 1)] == ["pinned"] * 2 + [
        "window"
    ] * 4


def test_a_task_s_token_does_so_too(databases, clock):
    clock(HOURS)
    with routing_scope():
        write()
        value = current_token()

    def read_at(seconds):
        clock(seconds)
        with routing_scope(safe=True, token=value):
            return reason()

    assert [read_at(second) for second in (0, 4, 6, HOURS - 1)] == ["pinned"] * 2 + ["window"] * 2


def test_a_clock_that_is_put_back_twice_pins_for_no_longer(databases, clock):
    clock(HOURS)
    with routing_scope():
        write()
        value = current_token()

    def read_at(seconds):
        clock(seconds)
        with routing_scope(safe=True, token=value):
            return reason()

    assert [read_at(second) for second in (HOURS / 2, 0, 6, 1)] == ["pinned", "pinned", "window", "pinned"]
