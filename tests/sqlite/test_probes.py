"""Probes on connections that are real."""

import threading

import pytest
from django.db import OperationalError

from django_rwrouter.databases.base import Reading
from django_rwrouter.monitor import probes
from django_rwrouter.monitor.prober import Prober
from django_rwrouter.monitor.probes import PrimarySample

pytestmark = pytest.mark.usefixtures("databases")


def test_replicas_wait_until_a_primary_whose_kept_connection_was_ended_is_asked_anew(monkeypatch):
    sample, seen = PrimarySample(), []

    class Driver:
        def describe_primary(self, _cursor):
            seen.append(sample.done.is_set())
            if len(seen) == 2:
                raise OperationalError("gone away")
            return Reading("server", None)

    monkeypatch.setattr(probes, "get_driver", lambda _connection: Driver())

    def probe():
        prober = Prober("default", "default", 1.0)
        prober.probe(PrimarySample())
        prober.probe(sample)
        prober.close()

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join()
    assert seen == [False, False, False]
    assert sample.done.is_set()
