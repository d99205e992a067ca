"""Asking all servers at once, with connections that are made up."""

import threading

import pytest
from django.db import OperationalError

from django_rwrouter.events import emit
from django_rwrouter.servers import survey as surveys
from django_rwrouter.servers.survey import survey

LONG = 60.0
"""Seconds; nothing here takes so long."""


class FakeConnection:
    def __init__(self, alias):
        self.alias = alias
        self.closed = False

    def ensure_connection(self):
        if self.alias == "down":
            raise OperationalError(2003, "nothing at 10.0.0.1")

    def close(self):
        self.closed = True


@pytest.fixture
def opened(monkeypatch):
    """The connections that were made."""
    made = []

    def own_connection(alias, timeout):
        made.append(FakeConnection(alias))
        return made[-1]

    monkeypatch.setattr(surveys, "own_connection", own_connection)
    return made


@pytest.fixture
def thaw():
    """Whoever is asked as ``frozen`` waits for this."""
    event = threading.Event()
    yield event
    event.set()


def asker(thaw):
    def ask(connection):
        connection.ensure_connection()
        if connection.alias == "broken":
            raise ValueError(connection.alias)
        if connection.alias == "frozen":
            thaw.wait(LONG)
        return f"answer of {connection.alias}"

    return ask


def test_each_server_is_reported_by_its_answer_or_its_error(opened, thaw):
    outcomes = survey(["well", "down", "broken"], asker(thaw), timeout=1, deadline=LONG)
    assert outcomes["well"] == "answer of well"
    assert emit.why(outcomes["down"]) == "OperationalError 2003"
    assert emit.why(outcomes["broken"]) == "ValueError"
    assert len(opened) == 3
    assert all(connection.closed for connection in opened)


def test_one_that_does_not_answer_is_late_and_holds_up_nobody(opened, thaw):
    together, answered = threading.Barrier(2), threading.Event()

    def ask(connection):
        together.wait(LONG)  # They are asked at the same time.
        asker(thaw)(connection)
        answered.set()

    outcomes = survey(["frozen", "well"], ask, timeout=1, deadline=0.01)
    assert isinstance(outcomes["frozen"], TimeoutError)
    assert answered.wait(LONG)  # By the other: the frozen one still is.


def test_of_a_shared_topic_a_frozen_server_costs_one_thread(opened, thaw):
    for _look in range(3):
        outcomes = survey(["frozen"], asker(thaw), timeout=1, deadline=0.01, topic="test")
        assert isinstance(outcomes["frozen"], TimeoutError)
    assert len(opened) == 1
    survey(["frozen"], asker(thaw), timeout=1, deadline=0.01, topic="another")
    assert len(opened) == 2
    thaw.set()
    outcomes = survey(["frozen"], asker(thaw), timeout=1, deadline=LONG, topic="test")
    assert outcomes == {"frozen": "answer of frozen"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_is_ended_is_asked_for_no_more(opened, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)

    def leave(_connection):
        raise GeneratorExit

    with pytest.raises(GeneratorExit):
        survey(["well"], leave, timeout=1, deadline=LONG, topic="leaving")
    assert survey(["well"], lambda _connection: 1, timeout=1, deadline=LONG, topic="leaving") == {"well": 1}
