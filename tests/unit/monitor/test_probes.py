"""What a probe that fails leaves behind."""

import gc
import weakref

from django.db import OperationalError

from django_rwrouter.monitor.probes import PrimarySample, Prober


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
