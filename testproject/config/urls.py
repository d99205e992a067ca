"""All addresses: the board at the root, ``/lab/``, ``/admin/`` and, on demand, ``/api/``."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("board.urls")),
    path("lab/", include("lab.urls")),
    path("admin/", admin.site.urls),
]
if settings.LOAD_TEST_API:
    urlpatterns.append(path("api/", include("board.load_test_urls")))
