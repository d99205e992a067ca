"""A page for each way of writing, and the admin, to log in."""

from django.contrib import admin
from django.urls import path

from tests.servers.mariadb import views

urlpatterns = [
    path("admin/", admin.site.urls),
    *(path(f"{name}/", views.page(write)) for name, write in views.WAYS.items()),
    *(path(f"{name}/", views.async_page(write)) for name, write in views.ASYNC_WAYS.items()),
    path("twice/", views.twice),
    path("killed/", views.write_until_killed),
    path("duplicate/", views.write_a_duplicate),
    path("visits/", views.visits),
    path("stream/", views.stream),
]
