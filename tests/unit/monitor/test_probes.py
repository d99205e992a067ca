"""What a probe that fails leaves behind, and what becomes of the answers of one that does not."""

import gc
import weakref

from django.db import OperationalError

from django_rwrouter.monitor import probes
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import PrimarySample, ProbeQuestion, take_in


class Attempt:
    """Stands in for libpq's connection, which is closed when nothing refers to it."""


def test_an_attempt_to_connect_that_has_failed_is_not_left_to_the_garbage_collector(monkeypatch):
    attempts = []

    def connect(_prober):
        attempt = Attempt()
        attempts.append(weakref.ref(attempt))
        error = OperationalError("connection timeout expired")  # Its frame refers to it, as in Django.
        raise error

    monkeypatch.setattr(Prober, "_connect", connect)
    gc.disable()
    try:
        assert Prober("default", "default", 1.0).probe(PrimarySample()).failure
        (attempt,) = attempts
        assert attempt() is None
    finally:
        gc.enable()


def test_an_answer_that_one_module_chokes_on_reaches_the_others(monkeypatch):
    answers, errors = [], []
    monkeypatch.setattr(
        probes,
        "QUESTIONS",
        [
            ProbeQuestion(name=name, database=lambda: "default", ask=lambda _connection: None, take_in=module)
            for name, module in {
                "first": lambda answer, _asked_at: int(answer),
                "second": lambda *answer: answers.append(answer),
            }.items()
        ],
    )
    take_in({"first": ("no number", 1.5), "second": ("an answer", 2.5)}, errors.append)
    assert answers == [("an answer", 2.5)]
    assert [type(error) for error in errors] == [ValueError]
