"""The URLs of the tests with other packages."""

from importlib.util import find_spec

from django.urls import include, path

urlpatterns = [path("", include("tests.app.urls"))]
if find_spec("rest_framework"):
    urlpatterns.append(path("api/", include("tests.servers.contrib.api")))
if find_spec("prometheus_client"):
    urlpatterns.append(path("", include("tests.servers.contrib.metrics")))
