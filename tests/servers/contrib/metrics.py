"""Metrics of a project with several processes: the router's, and one of its own."""

import os

from django.http import HttpResponse
from django.urls import path
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.multiprocess import MultiProcessCollector

from django_rwrouter.contrib.prometheus import RoutingCollector, metrics_view
from tests.app import views

TOKEN = "of the tests"

visits = Counter("visits", "Visits, as the project itself counts them.")


def counted(request):
    visits.inc()
    return views.books(request)


counted.csrf_exempt = True


def worker(request):
    return HttpResponse(str(os.getpid()))


registry = CollectorRegistry()
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    MultiProcessCollector(registry)
registry.register(RoutingCollector())

urlpatterns = [
    path("counted/", counted),
    path("metrics/", metrics_view(token=TOKEN, registry=registry)),
    path("worker/", worker),
]
